"""OpenVINO: exp(NaN) is infinity, so a NaN is lost on its way."""

import numpy as np
import one_node
import openvino

x = np.array([0.0, np.nan, 1.0, np.nan, 2.0, -np.inf, np.inf, np.nan], np.float32)
y = one_node.openvino(one_node.model("Exp", {"x": x}, {"y": np.float32}), {"x": x})[0]
one_node.told(not np.isnan(y[[1, 3, 7]]).all(), f"openvino {openvino.__version__}", y[[1, 3, 7]], "NaN")
