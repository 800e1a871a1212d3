"""ONNX Runtime: Attention refuses a mask that broadcasts over the queries, which ONNX allows."""

import sys

import numpy as np
import one_node
import onnxruntime as ort

q, k, v = (np.random.default_rng(seed).standard_normal((1, 2, 4, 8), np.float32) for seed in range(3))
mask = np.array([True, True, False, True]).reshape(1, 1, 1, 4)
given = {"q": q, "k": k, "v": v, "mask": mask}
made = one_node.model("Attention", given, {"y": np.float32}, opset=23)
score = np.where(mask, q @ k.transpose(0, 1, 3, 2) / 8**0.5, -np.inf)
weight = np.exp(score - score.max(-1, keepdims=True))
right = weight / weight.sum(-1, keepdims=True) @ v
try:
    off = float(np.abs(one_node.onnxruntime(made, given)[0] - right).max())
    there, says = off > 1e-5, f"off by {off:.1e}"
except Exception as error:
    there, says = True, str(error).strip().splitlines()[0][-120:]
print(f"onnxruntime {ort.__version__}: {'DEFECT' if there else 'as expected'}: {says}")
sys.exit(1 if there else 0)
