"""tinygrad: ReduceMax drops NaN, so a broken row looks whole."""

from importlib import metadata

import numpy as np
import one_node

x = np.ones((3, 130), np.float32)
x[0, 0] = x[1, 64] = x[2, 129] = np.nan
inputs = {"x": x, "axes": np.array([1])}
made = one_node.model("ReduceMax", inputs, {"y": np.float32}, constants=("axes",), keepdims=0)
y = one_node.tinygrad(made, inputs)[0]
one_node.told(not np.isnan(y).all(), f"tinygrad {metadata.version('tinygrad')}", y, "NaN in each row")
