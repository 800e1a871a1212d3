"""Elementary functions in float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dougong.backends.dtypes import limits
from dougong.backends.port import Array, Call

_ERF = np.frompyfunc(math.erf, 1, 1)
_ERFC = np.frompyfunc(math.erfc, 1, 1)


def erf(x: Array) -> Array:
    """Error function; numpy has none."""
    return np.asarray(_ERF(x), np.float64)


def erfc(x: Array) -> Array:
    """One minus the error function, without cancellation."""
    return np.asarray(_ERFC(x), np.float64)


def sigmoid(x: Array) -> Array:
    """``1 / (1 + e ** -x)``, exact to the last places on both sides."""
    return np.exp(-np.logaddexp(0.0, -x))


def _reciprocal_root(x: Array) -> Array:
    return 1.0 / np.sqrt(x)


_UNARY: dict[str, Callable[[Array], Array]] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log": np.log,
    "log2": np.log2,
    "log1p": np.log1p,
    "sin": np.sin,
    "cos": np.cos,
    "tanh": np.tanh,
    "erf": erf,
    "sqrt": np.sqrt,
    "rsqrt": _reciprocal_root,
    "reciprocal": np.reciprocal,
    "softplus": lambda x: np.logaddexp(0.0, x),
    "sigmoid": sigmoid,
}

_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "multiply": np.multiply,
    "divide": np.divide,
    "power": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
}

_IGNORING: dict[str, Callable[[Array, Array], Array]] = {"maximum": np.fmax, "minimum": np.fmin}


def function(name: str, x: Array) -> Array:
    """Return a function of one operand, in float64."""
    with np.errstate(all="ignore"):
        return np.asarray(_UNARY[name](np.asarray(x, np.float64)))


def _flushed(call: Call, value: Array, dtype: np.dtype[Any]) -> Array:
    """Make subnormals zeros, where that is the semantics asked for."""
    if call.answer_to("subnormals") == "kept":
        return value
    small = np.abs(value) < limits(dtype)[0]
    return np.where(small, np.copysign(0.0, value), value)


def _unary(call: Call) -> dict[str, Array]:
    x = call.inputs["x"]
    return {"y": _flushed(call, function(call.op, _flushed(call, x.astype(np.float64), x.dtype)), x.dtype)}


def _binary(call: Call) -> dict[str, Array]:
    x, other = (_flushed(call, each.astype(np.float64), each.dtype) for each in call.inputs.values())
    name = call.op
    if name in _IGNORING and call.answer_to("nan_in_max") == "ignored":
        return {"y": _IGNORING[name](x, other)}
    with np.errstate(all="ignore"):
        return {"y": _flushed(call, np.asarray(_BINARY[name](x, other)), call.inputs["x"].dtype)}


def clamp(call: Call) -> dict[str, Array]:
    """``min(max(x, low), high)``; NaN stays, or comes out as the lower bound."""
    low, high = call.get("low", -1.0), call.get("high", 1.0)
    x = call.inputs["x"].astype(np.float64)
    if call.answer_to("nan_in_clamp") == "bound":
        x = np.where(np.isnan(x), low, x)
    return {"y": np.minimum(np.maximum(x, low), high)}


FORMULAS: dict[str, Callable[[Call], dict[str, Array]]] = {
    **dict.fromkeys(_UNARY, _unary),
    **dict.fromkeys(_BINARY, _binary),
    "clamp": clamp,
}
