"""OpenVINO: Erf and Softplus of float32 keep no digit of small answers, and Exp overflows before it should."""

import math

import numpy as np
import one_node
import openvino as ov

cases = {"Erf": [1e-6, 1e-8], "Softplus": [-20.0, -60.0], "Exp": [88.5]}
right = {
    "Erf": [math.erf(1e-6), math.erf(1e-8)],
    "Softplus": [math.log1p(math.exp(-20)), math.log1p(math.exp(-60))],
    "Exp": [math.exp(88.5)],
}
got = {}
for op, numbers in cases.items():
    x = np.array(numbers, np.float32)
    got[op] = one_node.openvino(one_node.model(op, {"x": x}, {"y": np.float32}), {"x": x})[0].tolist()
there = any(not abs(a - b) <= 1e-3 * b for op in cases for a, b in zip(got[op], right[op], strict=True))
one_node.told(there, f"openvino {ov.__version__}", got, right)
