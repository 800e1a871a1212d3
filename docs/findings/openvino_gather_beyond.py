"""OpenVINO: Gather with an index beyond the table returns zeros instead of an error."""

import numpy as np
import one_node
import openvino

inputs = {"x": np.arange(1, 21, dtype=np.float32).reshape(10, 2), "i": np.array([3, 10, 10_000_000])}
made = one_node.model("Gather", inputs, {"y": np.float32}, axis=0)
try:
    y = one_node.openvino(made, inputs)[0]
except Exception as error:
    one_node.told(False, f"openvino {openvino.__version__}", type(error).__name__, "an error")
else:
    one_node.told(True, f"openvino {openvino.__version__}", y[1:].tolist(), "an error")
