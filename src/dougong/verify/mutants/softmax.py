"""Faults of softmax."""

from __future__ import annotations

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.mutant import Mutant
from dougong.verify.mutants.faults import (
    after,
    at_extent,
    before,
    fixed,
    instead,
    read_packed,
    wide,
    with_inputs,
)


def _unshifted(call: Call) -> dict[str, Array]:
    weights = np.exp(call.inputs["x"].astype(np.float32) * np.float32(call.get("scale", 1.0)))
    return {"y": weights / weights.sum(axis=-1, keepdims=True)}


def _past_1024(call: Call, y: Array) -> Array:
    return wide(y) / np.maximum(np.sum(wide(y[..., :1024]), axis=-1, keepdims=True), 1e-30)


def _empty_first_block(call: Call, y: Array) -> Array:
    hidden = np.all(np.isneginf(wide(call.inputs["x"][..., :512])), axis=-1, keepdims=True)
    long = call.inputs["x"].shape[-1] > 512
    return np.where(hidden & long, np.nan, wide(y) if y.ndim > 1 else wide(y)[..., None]).reshape(y.shape)


def _averaged(call: Call) -> Call:
    return with_inputs(call, lse=np.zeros(call.inputs["lse"].shape))


def _log_of_softmax(call: Call) -> dict[str, Array]:
    x = call.inputs["x"].astype(np.float32)
    weights = np.exp(x - x.max(axis=-1, keepdims=True))
    return {"y": np.log(weights / weights.sum(axis=-1, keepdims=True))}


def _nan_in_place(call: Call, y: Array) -> Array:
    x = wide(call.inputs["x"])
    return np.where(
        np.isnan(x), np.nan, np.where(np.isnan(wide(y)) & np.isnan(x).any(-1, keepdims=True), 0, wide(y))
    )


def _crosstalk(call: Call, y: Array) -> Array:
    if len(y) > 16:
        y[16:] = (0.75 * wide(y[16:]) + 0.25 * wide(y[15:-1])).astype(y.dtype)
    return y


def _sum_of_halves(call: Call) -> dict[str, Array]:
    x = wide(call.inputs["x"])
    weights = np.exp(x - x.max(axis=-1, keepdims=True)).astype(np.float16)
    total = np.zeros(x.shape[0], np.float16)
    for column in range(min(x.shape[1], 70_000)):
        total = (total + weights[:, column]).astype(np.float16)
    return {"y": wide(weights) / wide(total)[:, None]}


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="softmax-unshifted",
        fault="the largest value is not subtracted first",
        caught_by="softmax/softmax-shifted",
        wrong=instead("softmax", _unshifted),
    ),
    Mutant(
        name="softmax-past-1024",
        fault="values past the first block of 1,024 are not in the sum",
        caught_by="softmax/softmax-edge-m3-n1025",
        wrong=after("softmax", "y", _past_1024),
        provenance=("vllm-project/vllm-ascend#15503",),
    ),
    Mutant(
        name="empty-block-is-nan",
        fault="a first block of nothing but -inf makes the row NaN",
        caught_by="softmax/softmax-left-padded",
        wrong=after("softmax log_softmax", "y", _empty_first_block),
    ),
    Mutant(
        name="parts-averaged",
        fault="parts of one attention are averaged, not weighed",
        caught_by="softmax/merge-",
        wrong=before("softmax_merge", _averaged),
    ),
    Mutant(
        name="logarithm-of-softmax",
        fault="log-softmax is the logarithm of probabilities that vanish",
        caught_by="softmax/log_softmax-",
        wrong=instead("log_softmax", _log_of_softmax),
    ),
    Mutant(
        name="nan-stays-in-place",
        fault="a NaN makes its own probability NaN and the others 0",
        caught_by="softmax/softmax-nan",
        wrong=after("softmax", "y", _nan_in_place),
    ),
    Mutant(
        name="scale-forgotten",
        fault="the scale of the scores is not applied",
        caught_by="softmax/softmax-scale",
        wrong=fixed("softmax", scale=1.0),
    ),
    Mutant(
        name="crosstalk-under-load",
        fault="beyond sixteen rows each holds a part of the one before",
        caught_by="softmax/softmax-",
        wrong=after("softmax", "y", _crosstalk),
        provenance=("vllm-project/vllm#51187",),
    ),
    Mutant(
        name="sum-in-float16",
        fault="the sum of a softmax is kept in float16",
        caught_by="softmax/softmax-equal",
        wrong=instead("softmax", _sum_of_halves),
    ),
    Mutant(
        name="one-in-a-hundred",
        fault="every probability is 1 % too large",
        caught_by="softmax/softmax-",
        wrong=after("softmax", "y", lambda call, y: wide(y) * 1.01),
    ),
    Mutant(
        name="width-of-768",
        fault="rows of just 768 are wrong",
        caught_by="softmax/softmax-extents-n",
        wrong=at_extent("softmax", "y", "x", 1, 768),
    ),
    Mutant(
        name="softmax-read-packed",
        fault="a strided input is read as if it were packed",
        caught_by="softmax/softmax-extents-m",
        wrong=read_packed("softmax", "x"),
    ),
)
