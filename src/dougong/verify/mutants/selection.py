"""Faults of top-k, sort and argmax."""

from __future__ import annotations

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.mutant import Mutant
from dougong.verify.mutants.faults import after, before, fixed, instead, wide, with_inputs


def _reversed_ties(call: Call) -> dict[str, Array]:
    x = wide(call.inputs["x"])
    n, descending = x.shape[-1], bool(call.get("descending", True))
    backwards = np.argsort((-x if descending else x)[..., ::-1], axis=-1, kind="stable")
    indices = n - 1 - backwards
    if call.op == "argmax":
        return {"index": indices[..., 0]}
    indices = indices[..., : int(call.get("k", n))] if call.op == "top_k" else indices
    return {"indices": indices, "values": np.take_along_axis(x, indices, axis=-1)}


def _without(x: Array, at: slice) -> Array:
    x = x.copy()
    if x.shape[-1] > 2:
        x[..., at] = -np.inf
    return x


def _unsorted(call: Call, values: Array) -> Array:
    return values[..., ::-1]


def _without_place(call: Call) -> Call:
    x = call.inputs["x"].copy()
    x[:, 384:385] = -np.inf
    return with_inputs(call, x=x)


def _compared_narrow(call: Call) -> Call:
    x = call.inputs["x"]
    return with_inputs(call, x=x.astype(np.float16)) if x.dtype == np.float32 else call


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="ties-reversed",
        fault="equal values come out from the last to the first",
        caught_by="selection/sort-ties",
        wrong=instead("sort", _reversed_ties),
    ),
    Mutant(
        name="last-not-looked-at",
        fault="the last value is never the largest",
        caught_by="selection/argmax-ends",
        wrong=before(
            "argmax top_k", lambda call: with_inputs(call, x=_without(call.inputs["x"], slice(-1, None)))
        ),
    ),
    Mutant(
        name="seam-of-a-tile",
        fault="the value at the seam of a tile of 1,024 is lost",
        caught_by="selection/",
        wrong=before(
            "argmax top_k",
            lambda call: with_inputs(call, x=_without(call.inputs["x"], slice(1023, None, 1024))),
        ),
    ),
    Mutant(
        name="argmax-ignores-nan",
        fault="NaN is never the largest",
        caught_by="selection/argmax-nan",
        wrong=before(
            "argmax",
            lambda call: with_inputs(
                call, x=np.where(np.isnan(wide(call.inputs["x"])), -np.inf, wide(call.inputs["x"]))
            ),
        ),
        provenance=("microsoft/onnxruntime#10514",),
    ),
    Mutant(
        name="smallest-first",
        fault="the k largest come out from the smallest up",
        caught_by="selection/top_k-distinct",
        wrong=after("top_k", "values", _unsorted),
    ),
    Mutant(
        name="indices-in-16-bits",
        fault="indices beyond 65,535 wrap",
        caught_by="selection/argmax-",
        wrong=after("argmax", "index", lambda call, index: index % 65_536),
    ),
    Mutant(
        name="one-index-twice",
        fault="the second of equal values has the index of the first",
        caught_by="selection/top_k-ties",
        wrong=after(
            "top_k",
            "indices",
            lambda call, indices: (
                np.concatenate([indices[..., :1], indices[..., :1], indices[..., 2:]], axis=-1)
                if indices.shape[-1] > 1
                else indices
            ),
        ),
    ),
    Mutant(
        name="place-384",
        fault="the value at place 384 is never the largest",
        caught_by="selection/argmax-places",
        wrong=before("argmax", _without_place),
    ),
    Mutant(
        name="compared-in-16-bits",
        fault="float32 is compared as float16",
        caught_by="selection/argmax-close",
        wrong=before("argmax top_k sort", _compared_narrow),
    ),
    Mutant(
        name="always-descending",
        fault="a sort from the smallest up comes from the largest down",
        caught_by="selection/sort-ascending",
        wrong=fixed("sort", descending=True),
    ),
)
