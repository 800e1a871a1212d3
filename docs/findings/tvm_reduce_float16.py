"""Apache TVM: ReduceSum and ReduceMean of float16 sum in float16: 65,536 halves are 1,024, a mean of 300s infinite."""

import numpy as np
import one_node
import tvm

found = []
for op, value, count in (("ReduceSum", 0.5, 65536), ("ReduceMean", 300.0, 4096)):
    inputs = {"x": np.full((1, count), value, np.float16), "axes": np.array([1])}
    made = one_node.model(op, inputs, {"y": np.float16}, constants=("axes",), keepdims=0)
    found.append(float(one_node.tvm(made, inputs)[0][0]))
one_node.told(found != [32768.0, 300.0], f"tvm {tvm.__version__}", found, [32768.0, 300.0])
