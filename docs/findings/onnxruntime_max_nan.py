"""ONNX Runtime: whether ReduceMax returns NaN depends on where the NaN stands."""

import numpy as np
import one_node
import onnxruntime

x = np.ones((3, 130), np.float32)
x[0, 0] = x[1, 64] = x[2, 129] = np.nan
inputs = {"x": x, "axes": np.array([1])}
made = one_node.model("ReduceMax", inputs, {"y": np.float32}, constants=("axes",), keepdims=0)
y = one_node.onnxruntime(made, inputs)[0]
one_node.told(
    len(set(np.isnan(y))) > 1, f"onnxruntime {onnxruntime.__version__}", y, "NaN in each row, or in none"
)
