"""ONNX Runtime: ReduceLogSumExp adds a vocabulary up one by one in float32: 2e-4 of a log-probability is lost."""

import numpy as np
import one_node
import onnxruntime as ort

x = np.random.default_rng(0).standard_normal((2, 151936)).astype(np.float32) * 3
given = {"x": x, "axes": np.array([-1])}
made = one_node.model("ReduceLogSumExp", given, {"y": np.float32}, constants=("axes",), keepdims=0)
y = one_node.onnxruntime(made, given)[0]
wide = x.astype(np.float64)
top = wide.max(-1)
right = np.log(np.exp(wide - top[:, None]).sum(-1)) + top
off = np.abs(y - right)
one_node.told(bool((off > 2e-5).any()), f"onnxruntime {ort.__version__}", y.tolist(), right.tolist())
