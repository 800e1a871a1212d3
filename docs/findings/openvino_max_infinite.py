"""OpenVINO: ReduceMax of a row of -infinity is -3.4e38, and ReduceMin of one of infinity 3.4e38."""

import numpy as np
import one_node
import openvino as ov

x = np.full((1, 40), -np.inf, np.float32)
y = [
    one_node.openvino(
        one_node.model(op, {"x": sign * x, "axes": np.array([-1])}, {"y": np.float32}, constants=("axes",)),
        {"x": sign * x},
    )[0].item()
    for op, sign in (("ReduceMax", np.float32(1)), ("ReduceMin", np.float32(-1)))
]
one_node.told(y != [-np.inf, np.inf], f"openvino {ov.__version__}", y, [-np.inf, np.inf])
