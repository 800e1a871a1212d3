"""tinygrad: cos of float32 is wrong at large angles, those of rotary embeddings in long contexts among them."""

from importlib import metadata

import numpy as np
import one_node

x = np.array([1e3, 131072.5, 1e6 + 0.5, 3e7], np.float32)
y = one_node.tinygrad(one_node.model("Cos", {"x": x}, {"y": np.float32}), {"x": x})[0]
right = np.cos(x.astype(np.float64))
one_node.told(
    not np.allclose(y, right, atol=1e-5), f"tinygrad {metadata.version('tinygrad')}", y, right.round(6)
)
