"""OpenVINO: int64 is kept in 32 bits on its CPU plugin, so that even Transpose and Where return other numbers."""

import numpy as np
import one_node
import openvino as ov

x = np.array([[1, 2**31, 2**40 + 3], [-(2**31) - 1, 5, 2**62]])
y = one_node.openvino(one_node.model("Transpose", {"x": x}, {"y": np.int64}, perm=[1, 0]), {"x": x})[0]
one_node.told(not np.array_equal(y, x.T), f"openvino {ov.__version__}", y.T.tolist(), x.tolist())
