"""OpenVINO: a cast of integers to bfloat16 truncates, where one of float32 rounds to nearest."""

import ml_dtypes
import numpy as np
import one_node
import openvino as ov

x = np.array([257, 515, 1031, 525811421, -191373225], np.int32)
y = one_node.openvino(one_node.model("Cast", {"x": x}, {"y": ml_dtypes.bfloat16}, to=16), {"x": x})[0]
right = x.astype(np.float32).astype(ml_dtypes.bfloat16)
one_node.told(
    bool((y != right).any()),
    f"openvino {ov.__version__}",
    y.astype(np.float64).tolist(),
    right.astype(np.float64).tolist(),
)
