"""OpenVINO: CumSum of int64 is computed in int32 and wraps."""

import numpy as np
import one_node
import openvino

inputs = {"x": np.full(4, 2**30, np.int64), "axis": np.array(0)}
made = one_node.model("CumSum", inputs, {"y": np.int64}, constants=("axis",))
y, right = one_node.openvino(made, inputs)[0].tolist(), np.cumsum(inputs["x"]).tolist()
one_node.told(y != right, f"openvino {openvino.__version__}", y, right)
