"""Selections are exact; where any order of equal values conforms, the indices are held by a rule."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dougong.backends import Array, Call
from dougong.verify.bound import Bound, Rule


def _in_range(indices: Array, n: int) -> NDArray[np.bool_]:
    return (indices >= 0) & (indices < n)


def argmax(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound | Rule]:
    """Any of the equal largest, where that conforms."""
    if call.answer_to("tie_order") != "any":
        return {}
    x = call.inputs["x"].astype(np.float64)
    best = np.take_along_axis(x, exact["index"][..., None], axis=-1)

    def holds(outputs: Mapping[str, Array]) -> NDArray[np.bool_]:
        index = np.asarray(outputs["index"], np.int64)[..., None]
        inside = _in_range(index, x.shape[-1])
        got = np.take_along_axis(x, np.where(inside, index, 0), axis=-1)
        return (inside & ((got == best) | (np.isnan(got) & np.isnan(best))))[..., 0]

    return {"index": Rule(holds=holds, says="the value at that index is not the largest")}


def top_k(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound | Rule]:
    """Indices of equal values in any order, where that conforms: each in range, none twice, each with its value."""
    if call.answer_to("tie_order") != "any":
        return {}
    x = call.inputs["x"].astype(np.float64)
    wanted = exact["values"]

    def holds(outputs: Mapping[str, Array]) -> NDArray[np.bool_]:
        indices = np.asarray(outputs["indices"], np.int64)
        inside = _in_range(indices, x.shape[-1])
        got = np.take_along_axis(x, np.where(inside, indices, 0), axis=-1)
        ranked = np.sort(indices, axis=-1)
        once = np.all(ranked[..., 1:] != ranked[..., :-1], axis=-1, keepdims=True)
        return inside & once & ((got == wanted) | (np.isnan(got) & np.isnan(wanted)))

    return {"indices": Rule(holds=holds, says="the value at that index is another, or the index comes twice")}


BOUNDS = {"argmax": argmax, "top_k": top_k}
