"""tinygrad: tanh of bfloat16 near 0 is 0, because it is taken as 2 sigmoid(2 x) - 1 in bfloat16."""

from importlib import metadata

import ml_dtypes
import numpy as np
import one_node

x = np.array([-0.0027313, 0.001, 0.01], np.float32).astype(ml_dtypes.bfloat16)
y = one_node.tinygrad(one_node.model("Tanh", {"x": x}, {"y": x.dtype}), {"x": x})[0]
one_node.told(
    bool((y[:2] == 0).any()),
    f"tinygrad {metadata.version('tinygrad')}",
    y.tolist(),
    np.tanh(x.astype(np.float64)).round(5).tolist(),
)
