"""OpenVINO: MatMulInteger, whose answer is int32 and exact, is computed in float32 and saturates pairs of u8 and s8."""

import numpy as np
import one_node
import openvino

inputs = {"a": np.full((1, 28673), 255, np.uint8), "b": np.full((28673, 1), 127, np.int8)}
made = one_node.model("MatMulInteger", inputs, {"y": np.int32})
y, right = int(one_node.openvino(made, inputs)[0][0, 0]), 28673 * 255 * 127
one_node.told(y != right, f"openvino {openvino.__version__}", y, right)
