"""Apache TVM: TopK of bfloat16 returns values that are not the largest."""

import ml_dtypes
import numpy as np
import one_node
import tvm

x = np.random.default_rng(0).normal(size=(1, 257)).astype(np.float32).astype(ml_dtypes.bfloat16)
inputs = {"x": x, "k": np.array([5])}
made = one_node.model("TopK", inputs, {"v": ml_dtypes.bfloat16, "i": np.int64}, constants=("k",))
values = np.asarray(one_node.tvm(made, inputs)[0], np.float32)[0]
right = np.sort(x.astype(np.float32)[0])[::-1][:5]
one_node.told(not np.array_equal(values, right), f"tvm {tvm.__version__}", values.tolist(), right.tolist())
