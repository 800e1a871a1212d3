"""Faults of rotary embedding."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.rope import angles, attention_factor
from dougong.verify.mutant import Mutant
from dougong.verify.mutants.faults import (
    as_if_packed,
    at_extent,
    before,
    fixed,
    instead,
    with_attributes,
    with_inputs,
)


def _shifted_cosine(call: Call) -> dict[str, Array]:
    angle = angles(call, call.inputs["positions"]).astype(np.float32)
    factor = attention_factor(call)
    return {"cos": np.sin(np.float32(math.pi / 2) - angle) * factor, "sin": np.sin(angle) * factor}


def _narrow_angle(call: Call) -> dict[str, Array]:
    angle = angles(call, call.inputs["positions"]).astype(ml_dtypes.bfloat16).astype(np.float64)
    factor = attention_factor(call)
    return {"cos": np.cos(angle) * factor, "sin": np.sin(angle) * factor}


def _narrow_positions(call: Call) -> Call:
    return with_inputs(
        call,
        **{
            name: array.astype(ml_dtypes.bfloat16)
            for name, array in call.inputs.items()
            if name.endswith("positions")
        },
    )


def _other_style(call: Call) -> Call:
    style = "neox" if call.get("style", "neox") == "interleaved" else "interleaved"
    return with_attributes(call, style=style)


def _unscaled(call: Call) -> Call:
    return with_attributes(call, scaling={})


def _unblended(call: Call) -> Call:
    scaling = dict(call.get("scaling") or {})
    if scaling.get("type") == "yarn":
        scaling["slow"] = 2 * scaling["slow"]
    return with_attributes(call, scaling=scaling)


def _short_positions(call: Call) -> Call:
    return with_inputs(call, positions=call.inputs["positions"] % 65_536)


def _sections(call: Call) -> Call:
    return with_inputs(call, positions=call.inputs["positions"][[0, 2, 1]])


def _packed_ids(call: Call) -> Call:
    return with_inputs(call, positions=as_if_packed(call.inputs["positions"]))


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="cosine-by-shifted-sine",
        fault="cos x is sin(pi / 2 - x) in float32",
        caught_by="rope/rope-angles-qwen3-32b",
        wrong=instead("rope_angles", _shifted_cosine),
    ),
    Mutant(
        name="bf16-angle",
        fault="the angle is rounded to bfloat16",
        caught_by="rope/rope-angles-qwen3-32b",
        wrong=instead("rope_angles", _narrow_angle),
    ),
    Mutant(
        name="bf16-positions",
        fault="positions are rounded to bfloat16",
        caught_by="rope/rope-scores-shift",
        wrong=before("rope rope_scores", _narrow_positions),
    ),
    Mutant(
        name="halves-for-pairs",
        fault="neighbours are turned where halves should be, and the other way round",
        caught_by="rope/rope-",
        wrong=before("rope rope_cached", _other_style),
    ),
    Mutant(
        name="whole-head-turned",
        fault="the part of a head that is to stay is turned too",
        caught_by="rope/rope-glm-4.5",
        wrong=fixed("rope", dim=0),
    ),
    Mutant(
        name="scaling-ignored",
        fault="the scaling of a long-context model is left out",
        caught_by="rope/rope-llama-3.1-8b",
        wrong=before("rope", _unscaled),
    ),
    Mutant(
        name="yarn-ramp",
        fault="the ramp of YaRN ends one octave early",
        caught_by="rope/rope-angles-deepseek-r1",
        wrong=before("rope_angles", _unblended),
    ),
    Mutant(
        name="positions-in-16-bits",
        fault="positions wrap at 65,536",
        caught_by="rope/rope-",
        wrong=before("rope", _short_positions),
    ),
    Mutant(
        name="height-for-width",
        fault="the second and third position of a token are swapped",
        caught_by="rope/mrope",
        wrong=before("mrope", _sections),
    ),
    Mutant(
        name="ids-read-packed",
        fault="ids of every other place are read one after the other",
        caught_by="rope/rope-cached-neox-every-other",
        wrong=before("rope_cached", _packed_ids),
        provenance=("flagos-ai/vllm-plugin-FL",),
    ),
    Mutant(
        name="rope-of-64-tokens",
        fault="a batch of just 64 tokens is wrong",
        caught_by="rope/rope-extents-t",
        wrong=at_extent("rope", "y", "x", 0, 64),
    ),
)
