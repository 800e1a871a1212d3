"""Measures this machine: memory bandwidth, GEMM by shape and format, launch overhead. Start at ``run.probe``.

Each library is measured in a child process of its own (``child``), so that a crash or a thread setting stays there:
``numpy_ops`` (always), ``ggml_ops`` (where ``xllamacpp`` is installed), ``torch_ops`` (where asked for). ``fit`` turns
rows into parameters of :mod:`dougong.calibration`, ``records`` writes them as catalog files.
"""
