"""Apache TVM: Gather with an index beyond the table returns whatever memory lies there."""

import numpy as np
import one_node
import tvm

inputs = {"x": np.arange(1, 21, dtype=np.float32).reshape(10, 2), "i": np.array([10, 11, 12, 13])}
try:
    y = one_node.tvm(one_node.model("Gather", inputs, {"y": np.float32}, axis=0), inputs)[0]
except Exception as error:
    one_node.told(False, f"tvm {tvm.__version__}", type(error).__name__, "an error")
else:
    one_node.told(True, f"tvm {tvm.__version__}", y.ravel().tolist(), "an error")
