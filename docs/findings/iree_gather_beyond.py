"""IREE: Gather with an index beyond the table reads past it; far beyond, the process dies."""

from importlib import metadata

import numpy as np
import one_node

inputs = {"x": np.arange(1, 21, dtype=np.float32).reshape(10, 2), "i": np.array([10, 11, 12, 13])}
try:
    y = one_node.iree(one_node.model("Gather", inputs, {"y": np.float32}, axis=0), inputs)[0]
except Exception as error:
    one_node.told(False, f"iree {metadata.version('iree-base-compiler')}", type(error).__name__, "an error")
else:
    one_node.told(True, f"iree {metadata.version('iree-base-compiler')}", y.ravel().tolist(), "an error")
