"""OpenVINO: TopK of equal values returns them out of order; ONNX wants the lower index first."""

import numpy as np
import one_node
import openvino

inputs = {"x": (np.arange(300) % 2).astype(np.float32)[None], "k": np.array([300])}
made = one_node.model("TopK", inputs, {"v": np.float32, "i": np.int64}, constants=("k",))
index = one_node.openvino(made, inputs)[1][0]
right = np.concatenate((np.arange(1, 300, 2), np.arange(0, 300, 2)))
one_node.told(
    not np.array_equal(index, right), f"openvino {openvino.__version__}", f"{index[:5]} …", f"{right[:5]} …"
)
