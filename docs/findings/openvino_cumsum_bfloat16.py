"""OpenVINO: CumSum of bfloat16 sums in bfloat16 even where float32 is asked for: 4,096 ones come to 256."""

import ml_dtypes
import numpy as np
import one_node
import openvino

inputs = {"x": np.ones(4096, ml_dtypes.bfloat16), "axis": np.array(0)}
made = one_node.model("CumSum", inputs, {"y": ml_dtypes.bfloat16}, constants=("axis",))
made.opset_import[0].version = 14
y = one_node.openvino(made, inputs)[0].view(ml_dtypes.bfloat16).astype(np.float32)
one_node.told(y[-1] != 4096, f"openvino {openvino.__version__}", y[-1], 4096)
