"""Activations in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dougong.backends.port import Array, Call
from dougong.backends.reference.elementary import erfc, sigmoid


def silu(x: Array) -> Array:
    """``x / (1 + e ** -x)``."""
    return x * sigmoid(x)


def gelu_erf(x: Array) -> Array:
    """``x`` times the normal distribution function."""
    return 0.5 * x * erfc(-x / np.sqrt(2.0))


def gelu_tanh(x: Array) -> Array:
    """``x (1 + tanh z) / 2``, which is ``x sigmoid(2 z)``."""
    with np.errstate(invalid="ignore"):
        return x * sigmoid(2.0 * gelu_argument(x))


def gelu_argument(x: Array) -> Array:
    """Argument of the hyperbolic tangent in GELU."""
    with np.errstate(over="ignore"):
        return np.sqrt(2.0 / np.pi) * x * (1.0 + 0.044715 * x * x)


_PLAIN: dict[str, Callable[[Array], Array]] = {
    "silu": silu,
    "gelu_erf": gelu_erf,
    "gelu_tanh": gelu_tanh,
    "relu": lambda x: np.maximum(x, 0.0),
    "relu_squared": lambda x: np.maximum(x, 0.0) ** 2,
}


def halves(call: Call) -> tuple[Array, Array]:
    """Gate and up projections of packed columns, in float64."""
    x = call.inputs["x"].astype(np.float64)
    if call.get("interleaved", call.op == "swiglu_clamped"):
        return x[..., ::2], x[..., 1::2]
    half = x.shape[-1] // 2
    return x[..., :half], x[..., half:]


def clamped(call: Call) -> tuple[Array, Array]:
    """Gate and up projections behind their clamps."""
    gate, up = halves(call)
    limit = call.get("limit", 7.0)
    return np.minimum(gate, limit), np.clip(up, -limit, limit)


def _plain(call: Call) -> dict[str, Array]:
    x = call.inputs["x"].astype(np.float64)
    with np.errstate(invalid="ignore"):
        y = _PLAIN[call.op](x)
    if not call.op.startswith("relu"):
        y = np.where(x == -np.inf, -0.0 if call.answer_to("activation_limit") == "limit" else np.nan, y)
    return {"y": y}


def _gated(call: Call) -> dict[str, Array]:
    gate, up = halves(call)
    return {"y": (silu if call.op == "swiglu" else gelu_tanh)(gate) * up}


def swiglu_clamped(call: Call) -> dict[str, Array]:
    """The gate and up projections of gpt-oss."""
    gate, up = clamped(call)
    return {"y": gate * sigmoid(call.get("alpha", 1.702) * gate) * (up + 1.0)}


FORMULAS = {
    **dict.fromkeys(_PLAIN, _plain),
    "swiglu": _gated,
    "geglu_tanh": _gated,
    "swiglu_clamped": swiglu_clamped,
}
