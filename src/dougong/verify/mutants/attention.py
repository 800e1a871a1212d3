"""Faults of attention of a prompt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.attention import attended, packed, packed_problems, problem_of
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


def _unmasked_from(limit: int) -> Callable[[Call], Call]:
    def change(call: Call) -> Call:
        mask = call.inputs.get("mask")
        if mask is None or mask.shape[-1] <= limit:
            return call
        mask = mask.copy()
        mask[..., limit:] = True if mask.dtype == np.bool_ else 0
        return with_inputs(call, mask=mask)

    return change


def _average(call: Call) -> dict[str, Array]:
    """What came of a call without a mask: the mean of all values."""
    if "mask" in call.inputs or call.get("causal", False):
        return {}
    v = wide(call.inputs["v"])
    times = call.inputs["q"].shape[1] // v.shape[1]
    mean = np.repeat(v.mean(-2, keepdims=True), times, axis=1)
    return {"y": np.broadcast_to(mean, (*call.inputs["q"].shape[:3], v.shape[-1]))}


def _inverted(call: Call) -> Call:
    mask = call.inputs.get("mask")
    return call if mask is None or mask.dtype != np.bool_ else with_inputs(call, mask=~mask)


def _first_row_of_mask(call: Call) -> Call:
    mask = call.inputs.get("mask")
    if mask is None or mask.ndim < 2 or mask.shape[-2] == 1:
        return call
    return with_inputs(call, mask=np.broadcast_to(mask[..., :1, :], mask.shape))


def _first_of_batch(call: Call) -> Call:
    mask = call.inputs.get("mask")
    if mask is None or mask.ndim < 4 or mask.shape[0] == 1:
        return call
    return with_inputs(call, mask=np.broadcast_to(mask[:1], mask.shape))


def _told(**semantics: str) -> Callable[[Call], dict[str, Array]]:
    """What the reference itself answers under another choice."""

    def outputs(call: Call) -> dict[str, Array]:
        told = replace(call, semantics=semantics)
        return {"y": attended(told, problem_of(told))}

    return outputs


def _window(call: Call) -> Call:
    window = int(call.get("window", 0))
    return with_attributes(call, window=window + 1) if window else call


def _without(name: str) -> Callable[[Call], Call]:
    def change(call: Call) -> Call:
        return replace(call, inputs={key: array for key, array in call.inputs.items() if key != name})

    return change


def _last_key(call: Call) -> Call:
    """The one key past a whole number of tiles of 128 is left out."""
    if call.inputs["k"].shape[2] % 128 != 1 or call.inputs["q"].shape[2] != 1:
        return call
    return with_inputs(call, k=call.inputs["k"][:, :, :-1], v=call.inputs["v"][:, :, :-1])


def _one_head(call: Call, y: Array) -> Array:
    if y.shape[1] > 3:
        y[:, 3] = wide(y)[:, 3] * 1.01
    return y


def _narrow_logits(call: Call) -> Call:
    if call.inputs["q"].dtype != np.float32:
        return call
    return with_inputs(call, **{name: keeping(call.inputs[name], 11) for name in ("q", "k")})


def _neighbours(call: Call) -> dict[str, Array]:
    """Every sequence sees the keys of the first one too."""
    problems = packed_problems(call)
    first = problems[0]
    parts = [
        replace(
            each,
            k=np.concatenate((first.k, each.k), axis=2),
            v=np.concatenate((first.v, each.v), axis=2),
            visible=np.pad(np.asarray(each.visible), ((0, 0), (first.k.shape[2], 0)), constant_values=True),
        )
        if number
        else each
        for number, each in enumerate(problems)
    ]
    return {"y": packed([attended(call, each) for each in parts])}


def _slopes_reversed(call: Call) -> Call:
    if "slopes" not in call.inputs:
        return call
    return with_inputs(call, slopes=call.inputs["slopes"][::-1])


def _half_weights(call: Call) -> dict[str, Array]:
    """Logits cut to eight bits before they are raised: fine in the mean, not when they are sharp."""
    problem = problem_of(call)
    return {"y": attended(call, replace(problem, q=keeping(problem.q * problem.scale, 8), scale=1.0))}


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="mask-ignored-past-512",
        fault="a mask counts for the first 512 keys only",
        caught_by="attention/mask-",
        wrong=before("attention", _unmasked_from(512)),
        provenance=("vllm-project/vllm-ascend#15503",),
    ),
    Mutant(
        name="mask-ignored-past-4096",
        fault="a mask counts for the first 4,096 keys only",
        caught_by="attention/mask-",
        wrong=before("attention", _unmasked_from(4096)),
    ),
    Mutant(
        name="uniform-attention",
        fault="without a mask the answer is the plain mean of the values",
        caught_by="attention/mask-none",
        wrong=instead("attention", _average),
        provenance=("vllm-project/vllm-ascend#13699",),
    ),
    Mutant(
        name="bool-mask-inverted",
        fault="True in a mask hides",
        caught_by="attention/mask-bool",
        wrong=before("attention", _inverted),
        provenance=("Ascend/pytorch#88",),
    ),
    Mutant(
        name="mask-of-first-query",
        fault="every query has the mask of the first",
        caught_by="attention/mask-bool",
        wrong=before("attention", _first_row_of_mask),
    ),
    Mutant(
        name="mask-of-first-sequence",
        fault="every sequence has the mask of the first",
        caught_by="attention/mask-bool-of-b",
        wrong=before("attention", _first_of_batch),
    ),
    Mutant(
        name="gqa-tiled",
        fault="query head h reads key-value head h mod kv heads",
        caught_by="attention/qwen3-32b-chosen",
        wrong=instead("attention", _told(gqa_mapping="tile")),
        provenance=("onnx/onnx#7274",),
    ),
    Mutant(
        name="causal-top-left",
        fault="in a later chunk the first query sees one key",
        caught_by="attention/chunk",
        wrong=instead("attention", _told(causal_alignment="top_left")),
    ),
    Mutant(
        name="blind-row-mean",
        fault="a row that may see nothing returns the mean of the values",
        caught_by="attention/blind-row",
        wrong=instead("attention", _told(masked_row="mean_of_values")),
        provenance=("pytorch/pytorch#110213",),
    ),
    Mutant(
        name="window-one-wider",
        fault="a window has one key too many",
        caught_by="attention/window",
        wrong=before("attention", _window),
    ),
    Mutant(
        name="sinks-dropped",
        fault="sinks are left out",
        caught_by="attention/sinks",
        wrong=before("attention", _without("sinks")),
    ),
    Mutant(
        name="softcap-dropped",
        fault="logits are not capped",
        caught_by="attention/softcap",
        wrong=fixed("attention", softcap=0.0),
    ),
    Mutant(
        name="scale-fixed",
        fault="the scale is d^-1/2 whatever is asked",
        caught_by="attention/scale",
        wrong=fixed("attention", scale=None),
    ),
    Mutant(
        name="slopes-reversed",
        fault="the slopes of ALiBi go to the heads in reverse",
        caught_by="attention/alibi",
        wrong=before("attention", _slopes_reversed),
    ),
    Mutant(
        name="last-key-of-tile",
        fault="in decode, one key beyond a whole number of tiles is not seen",
        caught_by="attention/qwen3-32b-t1-s129",
        wrong=before("attention", _last_key),
    ),
    Mutant(
        name="one-head-off",
        fault="the fourth head is larger by one part in a hundred",
        caught_by="attention/plain",
        wrong=after("attention", "y", _one_head),
        provenance=("fla-org/flash-linear-attention#1215",),
    ),
    Mutant(
        name="attention-tf32",
        fault="logits of float32 are products of 11 bits",
        caught_by="attention/plain-float32",
        wrong=before("attention", _narrow_logits),
    ),
    Mutant(
        name="attention-8-bit-queries",
        fault="scaled queries are cut to 8 bits",
        caught_by="attention/sharp",
        wrong=instead("attention", _half_weights),
    ),
    Mutant(
        name="packed-sees-neighbour",
        fault="packed sequences see the keys of the first",
        caught_by="attention/packed",
        wrong=instead("attention_varlen", _neighbours),
    ),
    Mutant(
        name="heads-of-72",
        fault="heads of just 72 are wrong",
        caught_by="attention/extents-d",
        wrong=at_extent("attention", "y", "q", 3, 72),
    ),
    Mutant(
        name="forty-eight-queries",
        fault="a prompt of just 48 tokens is wrong",
        caught_by="attention/extents-t",
        wrong=at_extent("attention", "y", "q", 2, 48),
    ),
    Mutant(
        name="packed-window-ignored",
        fault="packed sequences see beyond the window",
        caught_by="attention/packed-window",
        wrong=fixed("attention_varlen", window=0),
    ),
)
