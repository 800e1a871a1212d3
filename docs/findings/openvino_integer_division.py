"""OpenVINO: Div and Mod of int32 are computed in float32, so slots and blocks of a large cache come out wrong."""

import numpy as np
import one_node
import openvino

inputs = {"x": np.array([2**30 + 1, 2**31 - 1, 1_900_000_001], np.int32), "n": np.full(3, 16, np.int32)}
found = [
    one_node.openvino(one_node.model(op, inputs, {"y": np.int32}), inputs)[0].tolist()
    for op in ("Div", "Mod")
]
right = [(inputs["x"] // 16).tolist(), (inputs["x"] % 16).tolist()]
one_node.told(found != right, f"openvino {openvino.__version__}", found, right)
