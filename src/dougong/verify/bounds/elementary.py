r"""Bounds of elementary functions.

Notes
-----
A composite function carries the units of its parts through its condition. With :math:`e = e^{-|x|}` known to
:math:`\epsilon = 3` units and :math:`|x| u` for a rounded argument, :math:`\sigma = 1/(1+e)` has the relative error
:math:`(1-\sigma)\epsilon` plus a sum (half a unit) and a division (2.5 units); :math:`\ln(1+e^x)` the absolute error
:math:`\sigma(x)\epsilon` plus a logarithm (2 units).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.elementary import sigmoid
from dougong.verify.bound import Bound
from dougong.verify.bounds.functions import ULPS, UNDERFLOW, computed, ulps

Bounder = Callable[[Call, Mapping[str, Array]], dict[str, Bound]]


def _stated(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    return {"y": computed(ulps(ULPS[call.op], exact["y"]))}


def _once(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """One IEEE operation: correctly rounded where it is computed, then rounded to the output."""
    y = np.abs(exact["y"])
    return {"y": computed(np.where(np.isfinite(y), y, 0.0))}


def exponential_error(x: Array) -> Array:
    """Relative error of ``e ** x`` inside another function [unit roundoffs]: 3 units, and the rounded argument."""
    return 2.0 * ULPS["exp"] + np.where(np.isfinite(x), np.abs(x), 0.0)


def sigmoid_error(x: Array) -> Array:
    """Relative error of ``sigmoid(x)`` [unit roundoffs]."""
    return (1.0 - sigmoid(x)) * exponential_error(x) + 1.0 + 2.0 * ULPS["divide"]


def _sigmoid(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    x = call.inputs["x"].astype(np.float64)
    return {"y": computed(exact["y"] * sigmoid_error(x), UNDERFLOW)}


def _softplus(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    x = call.inputs["x"].astype(np.float64)
    y = np.where(np.isfinite(exact["y"]), exact["y"], 0.0)
    return {"y": computed(sigmoid(x) * exponential_error(x) + 2.0 * ULPS["log1p"] * y, UNDERFLOW)}


BOUNDS: dict[str, Bounder] = {
    **dict.fromkeys(ULPS, _stated),
    **dict.fromkeys(("add", "multiply"), _once),
    "sigmoid": _sigmoid,
    "softplus": _softplus,
}
