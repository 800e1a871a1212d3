"""tinygrad: RMSNormalization of float16 returns float32; ONNX says the dtype of the input."""

from importlib import metadata

import numpy as np
import one_node

inputs = {"x": np.ones((2, 16), np.float16), "w": np.ones(16, np.float16)}
made = one_node.model("RMSNormalization", inputs, {"y": np.float16}, opset=23)
y = one_node.tinygrad(made, inputs)[0]
one_node.told(y.dtype != np.float16, f"tinygrad {metadata.version('tinygrad')}", y.dtype.name, "float16")
