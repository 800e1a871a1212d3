"""Any device that PyTorch knows, by its device string (``torch-cpu``, ``torch-cuda``, ``torch-npu``)."""
