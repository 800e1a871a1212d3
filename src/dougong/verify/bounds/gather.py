"""Reads and writes are exact; a scattered sum is bounded as a sum, in the precision of the table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dougong.backends import Array, Call
from dougong.backends.reference.gather import resolved
from dougong.verify.bound import UNIT_ROUNDOFF, Bound, Rule, summation


def index_put(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound | Rule]:
    """Each row whole, from one of its writers, where any of them conforms."""
    if call.answer_to("duplicate_write") != "any":
        return {}
    x, values = call.inputs["x"], call.inputs["values"]
    place, held = resolved(call, call.inputs["index"], x.shape[0])

    def holds(outputs: Mapping[str, Array]) -> NDArray[np.bool_]:
        y = outputs["y"]
        right = np.zeros((x.shape[0], 1), np.bool_)
        written = np.zeros(x.shape[0], np.bool_)
        for t in np.flatnonzero(held):
            written[place[t]] = True
            right[place[t]] |= bool(np.array_equal(y[place[t]].view(np.uint8), values[t].view(np.uint8)))
        kept = np.all(y.view(np.uint8) == x.view(np.uint8), axis=-1, keepdims=True)
        return np.where(written[:, None], right, kept)

    return {"y": Rule(holds=holds, says="a row is neither kept nor what one of its writers wrote")}


def index_add(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound | Rule]:
    """As many terms as fall on a row; each addition may be rounded to the dtype of the table."""
    size, squares = (np.abs(call.inputs["x"].astype(np.float64)) ** power for power in (1, 2))
    values = np.abs(call.inputs["values"].astype(np.float64))
    place, held = resolved(call, call.inputs["index"], size.shape[0])
    np.add.at(size, place[held], values[held])
    np.add.at(squares, place[held], values[held] ** 2)
    counts = np.bincount(place[held], minlength=size.shape[0])[:, None].astype(np.float64)
    # Atomic additions go to memory one by one: count - 1 roundings of partial sums before the last.
    roundoff = UNIT_ROUNDOFF[call.inputs["x"].dtype.name]
    typical = roundoff * np.sqrt(counts) * np.maximum(np.sqrt(squares), np.abs(exact["y"]))
    bound = summation(
        int(counts.max(initial=0.0)) + 1, size, np.sqrt(squares), exact["y"], floor=roundoff * counts * size,
        floor_rms=typical,
    )  # fmt: skip
    return {"y": bound}


BOUNDS = {"index_put": index_put, "index_add": index_add}
