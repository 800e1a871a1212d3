"""Softmax in float64."""

from __future__ import annotations

import numpy as np

from dougong.backends.port import Array, Call


def shifted(x: Array) -> Array:
    """Rows less their largest finite value; infinities and NaN stay."""
    top = np.max(np.where(np.isfinite(x), x, -np.inf), axis=-1, keepdims=True)
    return x - np.where(np.isfinite(top), top, 0.0)


def probabilities(x: Array) -> Array:
    """Softmax over the last axis of finite values and -inf."""
    with np.errstate(invalid="ignore", over="ignore"):
        weights = np.exp(shifted(x))
        return weights / np.sum(weights, axis=-1, keepdims=True)


def _infinite(call: Call, x: Array, y: Array) -> Array:
    """Settle rows that hold +inf, or nothing but -inf, or NaN."""
    up, nothing = np.isposinf(x), np.max(x, axis=-1, keepdims=True) == -np.inf
    some = np.max(x, axis=-1, keepdims=True) == np.inf
    answer = call.answer_to("softmax_inf")
    if answer == "nan":
        y = np.where(some | nothing, np.nan, y)
    elif answer == "limit":
        y = np.where(some, up / np.maximum(np.sum(up, axis=-1, keepdims=True), 1), y)
        y = np.where(nothing, 1.0 / x.shape[-1], y)
    else:
        y = np.where(some | nothing, 0.0, y)
    row = np.isnan(np.max(x, axis=-1, keepdims=True))
    if call.answer_to("softmax_nan") == "row":
        return np.where(row, np.nan, y)
    return np.where(row, np.where(np.isnan(x), np.nan, 0.0), y)


def softmax(call: Call) -> dict[str, Array]:
    """``e ** (scale x)`` over its sum."""
    x = call.inputs["x"].astype(np.float64) * call.get("scale", 1.0)
    return {"y": _infinite(call, x, probabilities(x))}


def log_softmax(call: Call) -> dict[str, Array]:
    """``x`` less the logarithm of the sum of ``e ** x``."""
    x = call.inputs["x"].astype(np.float64)
    with np.errstate(all="ignore"):
        s = shifted(x)
        y = s - np.log(np.sum(np.exp(s), axis=-1, keepdims=True))
        special = ~np.all(np.isfinite(x) | np.isneginf(x), axis=-1) | np.all(np.isneginf(x), axis=-1)
        if np.any(special):
            y[special] = np.log(_infinite(call, x, probabilities(x))[special])
    return {"y": y}


def lse(x: Array, axis: int = -1) -> Array:
    """Logarithm of the sum of exponentials over an axis; -inf where there is nothing."""
    top = np.max(x, axis=axis, keepdims=True)
    anchor = np.where(np.isfinite(top), top, 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        total = np.log(np.sum(np.exp(x - anchor), axis=axis, keepdims=True)) + anchor
    return np.squeeze(total, axis=axis)


def logsumexp(call: Call) -> dict[str, Array]:
    """Logarithm of the sum of ``e ** x``."""
    return {"y": lse(call.inputs["x"].astype(np.float64))}


def softmax_merge(call: Call) -> dict[str, Array]:
    """Parts of one attention, each normalised by itself, to the whole."""
    values, parts = (call.inputs[name].astype(np.float64) for name in ("values", "lse"))
    total = lse(parts, axis=0)
    with np.errstate(invalid="ignore"):
        weights = np.where(np.isneginf(parts), 0.0, np.exp(parts - total))
    return {"y": np.einsum("sm,smd->md", weights, values), "total": total}


FORMULAS = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": logsumexp,
    "softmax_merge": softmax_merge,
}
