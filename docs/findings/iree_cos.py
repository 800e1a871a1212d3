"""IREE: Cos of float32 leaves [-1, 1] for large arguments, and is off by 0.03 at angles of long contexts."""

from importlib import metadata

import numpy as np
import one_node

x = np.array([1e3, 131072.5, 1e6 + 0.5, 1e9, 1e20], np.float32)
y = one_node.iree(one_node.model("Cos", {"x": x}, {"y": np.float32}), {"x": x})[0]
right = np.cos(x.astype(np.float64))
one_node.told(
    not np.allclose(y, right, atol=1e-5), f"iree {metadata.version('iree-base-compiler')}", y, right.round(6)
)
