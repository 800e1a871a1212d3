"""Matrix products in float64."""

from __future__ import annotations

import numpy as np

from dougong.backends.port import Array, Call


def linear(call: Call) -> dict[str, Array]:
    """``y[m, n] = sum_k x[m, k] weight[n, k] + bias[n]``."""
    x, weight = (call.inputs[name].astype(np.float64) for name in ("x", "weight"))
    y = x @ weight.T
    if "bias" in call.inputs:
        y = y + call.inputs["bias"].astype(np.float64)
    return {"y": y}


FORMULAS = {"linear": linear}
