"""Reductions and scans in float64."""

from __future__ import annotations

import numpy as np

from dougong.backends.port import Array, Call


def _wide(call: Call) -> tuple[Array, int]:
    return call.inputs["x"].astype(np.float64), int(call.get("axis", -1))


def total(call: Call) -> dict[str, Array]:
    """``sum_n x``."""
    x, axis = _wide(call)
    return {"y": np.sum(x, axis=axis)}


def mean(call: Call) -> dict[str, Array]:
    """``sum_n x / n``."""
    x, axis = _wide(call)
    return {"y": np.sum(x, axis=axis) / x.shape[axis]}


def vector_norm(call: Call) -> dict[str, Array]:
    """Root of the sum of squares."""
    x, axis = _wide(call)
    return {"y": np.sqrt(np.sum(x * x, axis=axis))}


def extreme(call: Call) -> dict[str, Array]:
    """Largest or smallest, with or without regard to NaN."""
    x, axis = _wide(call)
    ignored = call.answer_to("nan_in_max") == "ignored"
    if call.op == "max":
        return {"y": np.fmax.reduce(x, axis=axis) if ignored else np.max(x, axis=axis)}
    return {"y": np.fmin.reduce(x, axis=axis) if ignored else np.min(x, axis=axis)}


def cumsum(call: Call) -> dict[str, Array]:
    """Running sums."""
    x, axis = _wide(call)
    return {"y": np.cumsum(x, axis=axis)}


def sum_integers(call: Call) -> dict[str, Array]:
    """``sum_n x`` in 64 bits."""
    return {"y": np.asarray(np.sum(call.inputs["x"], axis=int(call.get("axis", -1)), dtype=np.int64))}


def cumsum_integers(call: Call) -> dict[str, Array]:
    """Running sums in 64 bits."""
    return {"y": np.cumsum(call.inputs["x"], axis=int(call.get("axis", -1)), dtype=np.int64)}


FORMULAS = {
    "sum": total,
    "mean": mean,
    "vector_norm": vector_norm,
    "max": extreme,
    "min": extreme,
    "cumsum": cumsum,
    "sum_integers": sum_integers,
    "cumsum_integers": cumsum_integers,
}
