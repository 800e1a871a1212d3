"""Faults of collectives."""

from __future__ import annotations

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.mutant import Mutant
from dougong.verify.mutants.faults import after, before, wide, with_inputs


def _last_rank_lost(call: Call) -> Call:
    ranks = int(call.get("ranks", 2))
    if ranks != 4:
        return call
    x = call.inputs["x"].copy()
    x[:, x.shape[1] * 3 // 4 :] = 0
    return with_inputs(call, x=x)


def _tail(call: Call, y: Array) -> Array:
    n = y.shape[-1]
    tail = n // 8 * 8
    y[:, tail:] = call.inputs["x"][:, tail:]
    return y


def _doubled(call: Call) -> Call:
    x = call.inputs["x"].copy()
    if call.get("reduce", "sum") == "sum":
        x[0] = (2 * wide(x[0])).astype(x.dtype)
    return with_inputs(call, x=x)


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="tp4-partial-sum-lost",
        fault="over four ranks, the last one's partial sum is lost",
        caught_by="collective/row-parallel-linear-4",
        wrong=before("row_parallel_linear", _last_rank_lost),
        provenance=("baidu/vLLM-Kunlun#366",),
    ),
    Mutant(
        name="parts-not-exchanged",
        fault="an all-to-all leaves every part where it is",
        caught_by="collective/all-to-all-",
        wrong=after("all_to_all", "y", lambda call, y: call.inputs["x"]),
    ),
    Mutant(
        name="odd-end-not-reduced",
        fault="what is left of a vector of eight stays each rank's own",
        caught_by="collective/all-reduce-",
        wrong=after("all_reduce", "y", _tail),
    ),
    Mutant(
        name="rank-counted-twice",
        fault="the first rank is added twice",
        caught_by="collective/all-reduce-",
        wrong=before("all_reduce", _doubled),
    ),
    Mutant(
        name="one-rank-behind",
        fault="one rank keeps its own vector",
        caught_by="collective/all-reduce-",
        wrong=after(
            "all_reduce", "y", lambda call, y: np.concatenate([y[:-1], call.inputs["x"][-1:].astype(y.dtype)])
        ),
        provenance=("ROCm/aiter#4855",),
    ),
    Mutant(
        name="root-is-zero",
        fault="a broadcast is always the first rank's",
        caught_by="collective/broadcast-",
        wrong=after("broadcast", "y", lambda call, y: np.repeat(call.inputs["x"][:1], len(y), axis=0)),
    ),
)
