"""Faults of quantisation at run time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dougong.backends import Answer, Array, Call
from dougong.backends.reference.dynamic_quant import LARGEST
from dougong.verify.mutant import Mutant, Run
from dougong.verify.mutants.faults import after, wide, with_inputs


def _least(call: Call, q: Array) -> Array:
    q[np.all(wide(call.inputs["x"]) == 0, axis=1)] = -128 if q.dtype == np.int8 else 0
    return q


def _first_part(call: Call, run: Run) -> Answer:
    """The maximum of the first 4,096 values of a token."""
    x = wide(call.inputs["x"])
    if call.op != "dynamic_quant" or call.get("group", 0) or x.shape[1] <= 4096:
        return run(call)
    most = np.abs(x[:, :4096]).max(1, keepdims=True)
    seen = with_inputs(call, x=np.clip(x, -most, most))
    return run(seen)


def _cut(call: Call, q: Array) -> Array:
    if q.dtype != np.int8 or call.get("group", 0):
        return q
    x = wide(call.inputs["x"])
    most = np.abs(x).max(1, keepdims=True)
    return np.where(most > 0, np.nan_to_num(np.trunc(x / np.where(most > 0, most, 1.0) * 127)), 0.0)


def _one_scale(call: Call, run: Run) -> Answer:
    """One scale for all tokens."""
    answer = run(call)
    if call.op != "dynamic_quant" or call.get("group", 0):
        return answer
    x, to = wide(call.inputs["x"]), str(call.get("to", "int8"))
    scale = np.full_like(answer.outputs["scale"], np.max(np.abs(x)) / LARGEST[to])
    with np.errstate(all="ignore"):
        q = np.nan_to_num(np.round(x / np.where(scale > 0, scale, 1.0)), nan=0.0, posinf=0.0, neginf=0.0)
    return replace(answer, outputs={"q": q.astype(answer.outputs["q"].dtype), "scale": scale})


def _next(call: Call, scale: Array) -> Array:
    return np.roll(scale, 1, axis=1) if scale.shape[1] > 1 else scale


def _wrapped(call: Call, q: Array) -> Array:
    if q.dtype != np.int8:
        return q
    ratio = np.round(wide(call.inputs["x"]) / wide(call.inputs["scale"]))
    return (ratio.astype(np.int64) + 128) % 256 - 128


def _away(call: Call, q: Array) -> Array:
    if q.dtype != np.int8:
        return q
    ratio = wide(call.inputs["x"]) / wide(call.inputs["scale"])
    return np.clip(np.copysign(np.floor(np.abs(ratio) + 0.5), ratio), -128, 127)


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="zero-token",
        fault="a token of zeros is quantised to -128",
        caught_by="dynamic_quant/zero-token-to-int8",
        wrong=after("dynamic_quant", "q", _least),
    ),
    Mutant(
        name="maximum-of-4096",
        fault="the maximum of a token leaves out what is past 4,096",
        caught_by="dynamic_quant/token-m17",
        wrong=_first_part,
    ),
    Mutant(
        name="quant-truncates",
        fault="ratios are cut instead of rounded",
        caught_by="dynamic_quant/token-m17",
        wrong=after("dynamic_quant", "q", _cut),
    ),
    Mutant(
        name="one-scale-for-all",
        fault="every token has the scale of the largest, or of the one with NaN",
        caught_by="dynamic_quant/token-m17",
        wrong=_one_scale,
    ),
    Mutant(
        name="scale-of-next-group",
        fault="scales of groups come out one place on",
        caught_by="dynamic_quant/group128",
        wrong=after("dynamic_quant", "scale", _next),
    ),
    Mutant(
        name="static-quant-wraps",
        fault="what is beyond 127 wraps instead of saturating",
        caught_by="dynamic_quant/static-ties",
        wrong=after("static_quant", "q", _wrapped),
    ),
    Mutant(
        name="integer-ties-away",
        fault="halves are quantised away from zero",
        caught_by="dynamic_quant/static-ties",
        wrong=after("static_quant", "q", _away),
    ),
)
