"""Faults of embedding, gather and scatter."""

from __future__ import annotations

import numpy as np

from dougong.backends import Answer, Array, Call, Refused
from dougong.verify.mutant import Mutant, Run
from dougong.verify.mutants.faults import after, as_if_packed, before, wide, with_inputs


def _next_row(call: Call) -> Call:
    ids, rows = call.inputs["ids"], call.inputs["weight"].shape[0]
    return with_inputs(call, ids=np.where((ids > 65_536) & (ids < rows - 1), ids + 1, ids))


def _even_ids(call: Call) -> Call:
    large = call.inputs["weight"].shape[0] > 65_536
    return with_inputs(call, ids=call.inputs["ids"] // 2 * 2) if large else call


def _garbage(call: Call, run: Run) -> Answer:
    try:
        return run(call)
    except Refused:
        ids = call.inputs["ids"] if call.op == "embedding" else call.inputs["index"]
        table = "weight" if call.op == "embedding" else "x"
        name = "ids" if call.op == "embedding" else "index"
        extent = call.inputs[table].shape[0]
        return run(with_inputs(call, **{name: np.where((ids >= extent) | (ids < 0), 3, ids)}))


def _inclusive(call: Call) -> Call:
    first, v = int(call.get("first", 0)), call.inputs["weight"].shape[0]
    ids = call.inputs["ids"]
    return with_inputs(call, ids=np.where(ids == first + v, first + v - 1, ids))


def _packed_ids(call: Call) -> Call:
    packed = as_if_packed(call.inputs["ids"])
    return with_inputs(call, ids=packed % call.inputs["weight"].shape[0])


def _last_wins(call: Call, y: Array) -> Array:
    y = call.inputs["x"].copy()
    for t, place in enumerate(call.inputs["index"]):
        y[place] = (wide(call.inputs["x"][place]) + wide(call.inputs["values"][t])).astype(y.dtype)
    return y


def _torn(call: Call, y: Array) -> Array:
    index, values = call.inputs["index"], call.inputs["values"]
    for t in range(1, len(index)):
        earlier = np.flatnonzero(index[:t] == index[t])
        if len(earlier) and y.shape[1] > 1:
            y[index[t], : y.shape[1] // 2] = values[earlier[0], : y.shape[1] // 2]
    return y


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="gather-off-by-one",
        fault="ids beyond 65,536 read the next row",
        caught_by="gather/embedding-",
        wrong=before("embedding", _next_row),
    ),
    Mutant(
        name="gather-reads-on",
        fault="an id outside the table returns what happens to be there",
        caught_by="gather/embedding-one-beyond",
        wrong=_garbage,
    ),
    Mutant(
        name="shard-holds-one-more",
        fault="a rank takes the first id of the next for its own",
        caught_by="gather/embedding_shard-",
        wrong=before("embedding_shard", _inclusive),
        provenance=("baidu/vLLM-Kunlun#366",),
    ),
    Mutant(
        name="index-read-packed",
        fault="ids with a stride are read as if they had none",
        caught_by="gather/embedding-loose-index",
        wrong=before("embedding", _packed_ids),
    ),
    Mutant(
        name="additions-lost",
        fault="of several additions to one row the last stays",
        caught_by="gather/index_add-",
        wrong=after("index_add", "y", _last_wins),
    ),
    Mutant(
        name="rows-torn",
        fault="a row written twice is half of one writer and half of the other",
        caught_by="gather/index_put-duplicate",
        wrong=after("index_put", "y", _torn),
    ),
    Mutant(
        name="last-bit-of-large-ids",
        fault="ids of large tables lose their last bit",
        caught_by="gather/embedding-",
        wrong=before("embedding", _even_ids),
    ),
)
