"""Apache TVM: 0 in float8 widens to 0.0078125, and what float32 is too large for float8_e4m3fn wraps or is NaN."""

import ml_dtypes
import numpy as np
import one_node
import tvm

zeros = {"x": np.zeros(2, ml_dtypes.float8_e4m3fn)}
widened = one_node.tvm(one_node.model("Cast", zeros, {"y": np.float32}, to=1), zeros)[0].tolist()
large = {"x": np.array([0.0, 1000.0, -1000.0], np.float32)}
made = one_node.model("Cast", large, {"y": ml_dtypes.float8_e4m3fn}, to=17)
narrowed = one_node.tvm(made, large)[0].astype(np.float32).tolist()
there = widened != [0.0, 0.0] or narrowed[1:] != [448.0, -448.0]
one_node.told(there, f"tvm {tvm.__version__}", (widened, narrowed), ([0.0, 0.0], [0.0, 448.0, -448.0]))
