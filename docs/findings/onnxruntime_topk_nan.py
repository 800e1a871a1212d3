"""ONNX Runtime: TopK with a NaN among the values leaves out finite values that belong to the answer."""

import numpy as np
import one_node
import onnxruntime

x = np.random.default_rng(0).permutation(500).astype(np.float32).reshape(5, 100)
for row, at in enumerate((0, 25, 50, 75, 99)):
    x[row, at] = np.nan
inputs = {"x": x, "k": np.array([100])}
made = one_node.model("TopK", inputs, {"v": np.float32, "i": np.int64}, constants=("k",))
values = one_node.onnxruntime(made, inputs)[0]
disorder = [int((np.diff(row[np.isfinite(row)]) > 0).sum()) for row in values]
one_node.told(
    any(disorder),
    f"onnxruntime {onnxruntime.__version__}",
    f"{disorder} finite values out of order in five rows",
    "none, wherever NaN stands",
)
