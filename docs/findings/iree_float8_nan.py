"""IREE: a NaN of float8_e4m3fn widens to -480, a number that this dtype does not have."""

from importlib import metadata

import ml_dtypes
import numpy as np
import one_node

x = np.array([1.0, np.nan, -448.0], np.float32).astype(ml_dtypes.float8_e4m3fn)
x = np.concatenate((x, np.array([0x7F, 0xFF], np.uint8).view(x.dtype)))
made = one_node.model("Cast", {"x": x}, {"y": ml_dtypes.bfloat16}, to=16)
y = one_node.iree(made, {"x": x})[0].view(ml_dtypes.bfloat16).astype(np.float32)
one_node.told(
    not np.isnan(y[[1, 3, 4]]).all(),
    f"iree {metadata.version('iree-base-compiler')}",
    y.tolist(),
    "[1, nan, -448, nan, nan]",
)
