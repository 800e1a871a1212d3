"""Bounds of matrix products."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.bound import Bound, summation


def linear(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """Sum over ``k`` of ``x[m, k] weight[n, k]``, and the bias as one more term."""
    x, weight = (np.abs(call.inputs[name].astype(np.float64)) for name in ("x", "weight"))
    l1, l2 = x @ weight.T, (x * x) @ (weight * weight).T
    length = x.shape[-1]
    if "bias" in call.inputs:
        bias = np.abs(call.inputs["bias"].astype(np.float64))
        l1, l2, length = l1 + bias, l2 + bias * bias, length + 1
    return {"y": summation(length, l1, np.sqrt(l2), exact["y"])}


BOUNDS = {"linear": linear}
