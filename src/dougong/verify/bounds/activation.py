r"""Bounds of activations.

Notes
-----
``silu``: a sigmoid (:func:`dougong.verify.bounds.elementary.sigmoid_error`) and a product. ``gelu_erf`` computes
:math:`1 + \mathrm{erf}` with 16 units of the error function, which for negative ``x`` cancels: the error is absolute,
:math:`|x| / 2` times that of the sum. ``gelu_tanh`` likewise with 5 units of the hyperbolic tangent, whose argument
has an error of six roundings times :math:`|z| (1 - \tanh^2 z)`.

A gated activation may be computed in one kernel or in two, with the activation rounded to the dtype between: the
floor carries that one rounding, and for ``swiglu_clamped`` one for each of its three intermediate steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.activation import clamped, gelu_argument, halves, silu
from dougong.backends.reference.elementary import erf, sigmoid
from dougong.verify.bound import UNIT_ROUNDOFF, Bound
from dougong.verify.bounds.elementary import exponential_error, sigmoid_error
from dougong.verify.bounds.functions import ULPS, UNDERFLOW, computed

Bounder = Callable[[Call, Mapping[str, Array]], dict[str, Bound]]


def _finite(x: Array) -> Array:
    return np.where(np.isfinite(x), x, 0.0)


def _silu_error(x: Array) -> Array:
    return np.abs(silu(x)) * (sigmoid_error(x) + 1.0)


def _gelu_erf_error(x: Array) -> Array:
    # In 1 + erf the units of the sum count: near 0 an error function right to so many of those is right enough.
    step = np.maximum(np.abs(erf(x / np.sqrt(2.0))), 0.5)
    # The rounded argument x / 2**0.5 moves erf by 2 |z| e**(-z*z) / pi**0.5.
    argument = 2.0 * np.abs(x) * np.exp(-x * x / 2.0) * np.sqrt(2.0 / np.pi)
    return 0.5 * np.abs(x) * (2.0 * ULPS["erf"] * step + argument + 2.0) + 2.0 * np.abs(x)


def _gelu_tanh_error(x: Array) -> Array:
    z = gelu_argument(x)
    step = np.abs(np.tanh(z))
    # 1 - tanh(z)**2, without cancellation.
    slope = 4.0 * sigmoid(2.0 * z) * sigmoid(-2.0 * z)
    return 0.5 * np.abs(x) * (2.0 * ULPS["tanh"] * step + 6.0 * np.abs(z) * slope + 2.0) + 2.0 * np.abs(x)


_ERRORS: dict[str, Callable[[Array], Array]] = {
    "silu": _silu_error,
    "gelu_erf": _gelu_erf_error,
    "gelu_tanh": _gelu_tanh_error,
    "relu_squared": lambda x: np.maximum(x, 0.0) ** 2,
}


def _plain(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    x = _finite(call.inputs["x"].astype(np.float64))
    return {"y": computed(_ERRORS[call.op](x), np.abs(x) * UNDERFLOW)}


def _between(call: Call) -> float:
    return UNIT_ROUNDOFF[call.inputs["x"].dtype.name]


def _gated(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    gate, up = (_finite(each) for each in halves(call))
    y = np.abs(_finite(exact["y"]))
    error = _silu_error if call.op == "swiglu" else _gelu_tanh_error
    # The rounding between is half a unit of a narrow dtype, which subnormal activations of float16 lose earlier.
    lost = _between(call) * np.maximum(y, np.abs(up) * _least(call))
    return {"y": computed(error(gate) * np.abs(up) + y, lost + np.abs(gate * up) * UNDERFLOW)}


def _least(call: Call) -> float:
    return 2.0**-14 if call.inputs["x"].dtype.name == "float16" else UNDERFLOW


def _swiglu_clamped(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    gate, up = (_finite(each) for each in clamped(call))
    alpha = call.get("alpha", 1.702)
    step = sigmoid(alpha * gate)
    y = np.abs(gate * step * (up + 1.0))
    # alpha gate rounded, then the sigmoid, the sum and two products; alpha itself is not a number of the dtype.
    argument = np.abs(alpha * gate) * (1.0 - step)
    error = y * ((1.0 - step) * exponential_error(alpha * gate) + 2.0 * ULPS["divide"] + 4.0 + 2.0 * argument)
    rounded = _between(call) * (y * (2.0 * argument + 3.0) + np.abs(gate * (up + 1.0)) * _least(call))
    return {"y": computed(error, rounded + np.abs(gate * (up + 1.0)) * UNDERFLOW)}


BOUNDS: dict[str, Bounder] = {
    **dict.fromkeys(_ERRORS, _plain),
    "swiglu": _gated,
    "geglu_tanh": _gated,
    "swiglu_clamped": _swiglu_clamped,
}
