"""Apache TVM: Sigmoid of float16 below -11.09 is 0, because its exponential is taken in float16 and overflows."""

import numpy as np
import one_node
import tvm

x = np.array([-11.0, -11.25, -12.0, -14.0], np.float16)
y = one_node.tvm(one_node.model("Sigmoid", {"x": x}, {"y": np.float16}), {"x": x})[0]
right = (1 / (1 + np.exp(-x.astype(np.float64)))).astype(np.float16)
one_node.told((y[1:] == 0).any(), f"tvm {tvm.__version__}", y.tolist(), right.tolist())
