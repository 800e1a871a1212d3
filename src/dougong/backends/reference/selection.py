"""Top-k, sort and argmax, exact."""

from __future__ import annotations

import numpy as np

from dougong.backends.port import Array, Call


def order(x: Array, *, descending: bool = True, nan_greatest: bool = True) -> Array:
    """Stable order of the last axis; NaN above +inf or below -inf."""
    missing = np.isnan(x)
    key = np.where(missing, 0.0, -x if descending else x)
    if not missing.any():
        return np.argsort(key, axis=-1, kind="stable")
    above = missing if nan_greatest else ~missing
    return np.lexsort((key, ~above if descending else above), axis=-1)


def sort(call: Call) -> dict[str, Array]:
    """Values and where they stood."""
    x = call.inputs["x"].astype(np.float64)
    greatest = call.answer_to("nan_in_order") == "first"
    indices = order(x, descending=bool(call.get("descending", True)), nan_greatest=greatest)
    return {"values": np.take_along_axis(x, indices, axis=-1), "indices": indices}


def top_k(call: Call) -> dict[str, Array]:
    """The first ``k`` of a stable descending order."""
    x, k = call.inputs["x"].astype(np.float64), int(call.get("k", 1))
    greatest = call.answer_to("nan_in_order") == "first"
    if k * 8 < x.shape[-1]:
        # Whatever is below the k-th value cannot be picked: only the rest is sorted.
        rank = np.where(np.isnan(x), np.inf if greatest else -np.inf, x)
        least = np.partition(rank, x.shape[-1] - k, axis=-1)[..., -k]
        indices = np.stack(
            [_picked(row, ranks, low, k, greatest) for row, ranks, low in zip(x, rank, least, strict=True)]
        )
    else:
        indices = order(x, nan_greatest=greatest)[..., :k]
    return {"values": np.take_along_axis(x, indices, axis=-1), "indices": indices}


def _picked(row: Array, rank: Array, least: float, k: int, greatest: bool) -> Array:
    candidates = np.flatnonzero(rank >= least)
    return candidates[order(row[candidates], nan_greatest=greatest)[:k]]


def argmax(call: Call) -> dict[str, Array]:
    """The first of the largest; a NaN counts as the largest, or not at all."""
    x = call.inputs["x"].astype(np.float64)
    rank = np.where(np.isnan(x), np.inf if call.answer_to("nan_in_argmax") == "first_nan" else -np.inf, x)
    if call.answer_to("nan_in_argmax") == "first_nan":
        some = np.any(np.isnan(x), axis=-1, keepdims=True)
        rank = np.where(some, np.isnan(x).astype(np.float64), rank)
    return {"index": np.argmax(rank, axis=-1)}


FORMULAS = {"argmax": argmax, "top_k": top_k, "sort": sort}
