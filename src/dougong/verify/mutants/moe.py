"""Faults of mixtures of experts."""

from __future__ import annotations

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference import moe
from dougong.backends.reference.selection import order
from dougong.verify.mutant import Mutant
from dougong.verify.mutants.faults import (
    after,
    at_extent,
    before,
    fixed,
    instead,
    wide,
    with_attributes,
    with_inputs,
)
from dougong.verify.mutants.gemm import keeping


def _bias_weighs(call: Call) -> dict[str, Array]:
    scores, chosen = moe.choices(call)
    del scores
    ids = order(chosen)[:, : int(call.get("top_k", 8))]
    weights = np.take_along_axis(chosen, ids, axis=-1)
    weights = weights / (np.sum(weights, axis=-1, keepdims=True) + 1e-20) * call.get("scaling", 1.0)
    return {"ids": ids, "weights": weights}


def _empty_skipped(call: Call) -> Call:
    counts = call.inputs["counts"]
    full = np.concatenate([counts[counts > 0], np.zeros(int(np.sum(counts == 0)), counts.dtype)])
    return with_inputs(call, counts=full)


def _last_lost(call: Call) -> Call:
    ids, last = call.inputs["ids"], call.inputs["gate_up"].shape[0] - 1
    return with_inputs(call, ids=np.where(ids == last, -1, ids))


def _rank_lost(call: Call) -> Call:
    ranks, experts = int(call.get("ranks", 1)), call.inputs["gate_up"].shape[0]
    if ranks < 4:
        return call
    ids = call.inputs["ids"]
    return with_inputs(call, ids=np.where(ids >= experts * (ranks - 1) // ranks, -1, ids))


def _unshared(call: Call, y: Array) -> Array:
    if "shared_gate_up" not in call.inputs:
        return y
    inputs = {name: array for name, array in call.inputs.items() if not name.startswith("shared")}
    return moe.moe(Call(op="moe", inputs=inputs))["y"]


def _absent_is_last(call: Call) -> Call:
    ids = call.inputs["ids"]
    return with_inputs(call, ids=np.where(ids < 0, call.inputs["gate_up"].shape[0] - 1, ids))


def _tail_rows(call: Call, y: Array) -> Array:
    end = 0
    for count in call.inputs["counts"]:
        start, end = end, end + int(count)
        tail = start + int(count) // 16 * 16
        if count > 16 and tail < end:
            y[tail:end] = 0
    return y


def _dropped(call: Call) -> Call:
    ids = call.inputs["ids"]
    place = np.sum(np.tril(ids.ravel()[:, None] == ids.ravel(), -1), axis=1).reshape(ids.shape)
    return with_inputs(call, ids=np.where(place < 64, ids, -1))


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="bias-weighs",
        fault="the bias of the choice is in the weights too",
        caught_by="moe/route_sigmoid-",
        wrong=instead("route_sigmoid", _bias_weighs),
    ),
    Mutant(
        name="groups-forgotten",
        fault="experts are chosen from all groups",
        caught_by="moe/route_sigmoid-deepseek",
        wrong=before("route_sigmoid", lambda call: with_attributes(call, top_groups=call.get("groups", 1))),
    ),
    Mutant(
        name="not-renormalised",
        fault="weights of the chosen experts do not add up to 1",
        caught_by="moe/route_softmax-",
        wrong=fixed("route_softmax", renormalise=False),
    ),
    Mutant(
        name="zero-by-zero",
        fault="weights of scores that vanish are NaN",
        caught_by="moe/route_sigmoid-vanishing",
        wrong=after(
            "route_sigmoid",
            "weights",
            lambda call, w: np.where(np.sum(wide(w), axis=-1, keepdims=True) < 1e-10, np.nan, wide(w)),
        ),
    ),
    Mutant(
        name="empty-expert-skipped",
        fault="an expert without tokens gives its place to the next",
        caught_by="moe/grouped_linear-",
        wrong=before("grouped_linear", _empty_skipped),
    ),
    Mutant(
        name="rows-past-a-tile",
        fault="rows of a group that fill no tile of 16 are zero",
        caught_by="moe/grouped_linear-tails",
        wrong=after("grouped_linear", "y", _tail_rows),
    ),
    Mutant(
        name="last-expert-lost",
        fault="what the last expert adds is lost",
        caught_by="moe/moe-",
        wrong=before("moe", _last_lost),
    ),
    Mutant(
        name="rank-of-experts-lost",
        fault="over four ranks, what the last one adds is lost",
        caught_by="moe/moe-ranks4",
        wrong=before("moe", _rank_lost),
    ),
    Mutant(
        name="shared-expert-lost",
        fault="the shared expert is left out",
        caught_by="moe/moe-shared",
        wrong=after("moe", "y", _unshared),
    ),
    Mutant(
        name="absent-is-last",
        fault="a pair that is another rank's goes to the last expert",
        caught_by="moe/moe-absent",
        wrong=before("moe", _absent_is_last),
    ),
    Mutant(
        name="weights-of-the-neighbour",
        fault="each row is weighed by the next slot's weight",
        caught_by="moe/moe_combine-",
        wrong=before(
            "moe_combine", lambda call: with_inputs(call, weights=np.roll(call.inputs["weights"], 1, axis=1))
        ),
    ),
    Mutant(
        name="permutation-unstable",
        fault="pairs of one expert change places",
        caught_by="moe/moe_permute-",
        wrong=before("moe_permute", lambda call: with_inputs(call, x=call.inputs["x"][::-1])),
    ),
    Mutant(
        name="tokens-of-96",
        fault="a batch of just 96 tokens is wrong",
        caught_by="moe/moe-extents-t",
        wrong=at_extent("moe", "y", "x", 0, 96),
    ),
    Mutant(
        name="bias-in-16-bits",
        fault="the bias of the choice is rounded to bfloat16",
        caught_by="moe/route_sigmoid-fine-bias",
        wrong=before("route_sigmoid", lambda call: with_inputs(call, bias=keeping(call.inputs["bias"], 8))),
    ),
    Mutant(
        name="capacity-of-64",
        fault="an expert takes 64 tokens and drops the rest",
        caught_by="moe/moe-extents-t",
        wrong=before("moe", _dropped),
    ),
)
