"""OpenVINO: Softmax of a row that holds a NaN is NaN in one place and 0 elsewhere: a broken row looks whole."""

import numpy as np
import one_node
import openvino

x = np.zeros((1, 64), np.float32)
x[0, 5] = np.nan
y = one_node.openvino(one_node.model("Softmax", {"x": x}, {"y": np.float32}, axis=-1), {"x": x})[0]
count = int(np.isnan(y).sum())
one_node.told(count != 64, f"openvino {openvino.__version__}", f"NaN in {count} of 64", "NaN in 64 of 64")
