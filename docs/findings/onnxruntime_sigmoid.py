"""ONNX Runtime: Sigmoid of float32 has no correct digit where the answer is small; SiLU inherits it."""

import numpy as np
import one_node
import onnxruntime

x = np.linspace(-17.9, -15, 64, dtype=np.float32)
y = one_node.onnxruntime(one_node.model("Sigmoid", {"x": x}, {"y": np.float32}), {"x": x})[0]
right = 1 / (1 + np.exp(-x.astype(np.float64)))
worst = np.max(np.abs(y - right) / right)
one_node.told(
    worst > 1e-3, f"onnxruntime {onnxruntime.__version__}", f"relative error {worst:.2g}", "about 1e-7"
)
