"""Apache TVM: ArgMax of bfloat16 does not compile; of float16 it does."""

import sys

import ml_dtypes
import numpy as np
import one_node
import tvm

says = {}
for dtype in (np.float16, ml_dtypes.bfloat16):
    x = np.array([[1.0, 3.0, 2.0]], dtype)
    made = one_node.model("ArgMax", {"x": x}, {"y": np.int64}, axis=-1, keepdims=0)
    try:
        says[np.dtype(dtype).name] = one_node.tvm(made, {"x": x})[0].tolist()
    except Exception as error:
        says[np.dtype(dtype).name] = type(error).__name__
there = says["bfloat16"] != [1]
print(f"tvm {tvm.__version__}: {'DEFECT' if there else 'as expected'}: {says}")
sys.exit(1 if there else 0)
