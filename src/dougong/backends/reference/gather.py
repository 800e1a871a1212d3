"""Embedding, gather and scatter: copies bit for bit, sums in float64."""

from __future__ import annotations

import numpy as np

from dougong.backends.port import Array, Call, Refused


def resolved(call: Call, index: Array, extent: int) -> tuple[Array, Array]:
    """Settle indices outside the table.

    Returns
    -------
    place, held
        Where to read or write; where nothing is to be read (zeros come out) or written, ``held`` is False.

    Raises
    ------
    Refused
        Where an error is the answer.
    """
    index = np.asarray(index, np.int64)
    beyond, negative = (index >= extent) | (index < -extent), (index < 0) & (index >= -extent)
    held = np.ones(index.shape, np.bool_)
    if np.any(negative):
        answer = call.answer_to("negative_id")
        if answer == "raises":
            raise Refused("an index is negative")
        if answer == "from_the_end":
            index = np.where(negative, index + extent, index)
        else:
            held &= ~negative
    if np.any(beyond):
        answer = call.answer_to("out_of_range_id")
        if answer == "raises":
            raise Refused("an index is beyond its table")
        if answer != "clamped":
            held &= ~beyond
    return np.clip(index, 0, max(extent - 1, 0)), held


def embedding(call: Call) -> dict[str, Array]:
    """Rows of a table."""
    weight = call.inputs["weight"]
    place, held = resolved(call, call.inputs["ids"], weight.shape[0])
    y = weight[place]
    y[~held] = 0
    return {"y": y}


def embedding_shard(call: Call) -> dict[str, Array]:
    """Rows of one rank's part of a table, zeros for the other ranks' ids."""
    weight = call.inputs["weight"]
    place = call.inputs["ids"].astype(np.int64) - int(call.get("first", 0))
    held = (place >= 0) & (place < weight.shape[0])
    y = weight[np.where(held, place, 0)]
    y[~held] = 0
    return {"y": y}


def gather(call: Call) -> dict[str, Array]:
    """Elements along one axis."""
    x, axis = call.inputs["x"], int(call.get("axis", 1))
    place, held = resolved(call, call.inputs["index"], x.shape[axis])
    y = np.take_along_axis(x, place, axis=axis)
    y[~held] = 0
    return {"y": y}


def index_put(call: Call) -> dict[str, Array]:
    """Rows written in order; of several writes to one row the last, or the first, stays."""
    y, values = call.inputs["x"].copy(), call.inputs["values"]
    place, held = resolved(call, call.inputs["index"], y.shape[0])
    writes = [t for t in range(len(place)) if held[t]]
    for t in reversed(writes) if call.answer_to("duplicate_write") == "first" else writes:
        y[place[t]] = values[t]
    return {"y": y}


def index_add(call: Call) -> dict[str, Array]:
    """Rows added where they belong."""
    y = call.inputs["x"].astype(np.float64)
    place, held = resolved(call, call.inputs["index"], y.shape[0])
    np.add.at(y, place[held], call.inputs["values"][held].astype(np.float64))
    return {"y": y}


FORMULAS = {
    "embedding": embedding,
    "embedding_shard": embedding_shard,
    "gather": gather,
    "index_put": index_put,
    "index_add": index_add,
}
