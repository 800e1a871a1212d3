"""Faults of latent, sparse and linear attention."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import ml_dtypes
import numpy as np

from dougong.backends import Answer, Array, Call
from dougong.backends.reference.attention import attended, packed
from dougong.backends.reference.latent_attention import mla_problem
from dougong.verify.mutant import Mutant, Run
from dougong.verify.mutants.faults import after, at_extent, before, instead, with_inputs

_BY_TOKEN = {
    "gated_delta_rule": ("q", "k", "v", "g", "beta"),
    "linear_attention": ("q", "k", "v"),
    "selective_scan": ("x", "delta", "b", "c"),
}


def _first_head_only(call: Call) -> Call:
    q = call.inputs["q_rope"].copy()
    q[:, 1:] = 0
    return with_inputs(call, q_rope=q)


def _sees_all(call: Call) -> dict[str, Array]:
    if call.get("route") != "absorbed":
        return {}
    problem = replace(mla_problem(call), visible=np.ones((), np.bool_))
    return {"y": packed([attended(call, problem)])}


def _latent_scale(call: Call) -> dict[str, Array]:
    """The scale of the absorbed width instead of the head's."""
    if call.get("route") != "absorbed":
        return {}
    width = call.inputs["latent"].shape[1] + call.inputs["q_rope"].shape[-1]
    return {"y": packed([attended(call, replace(mla_problem(call), scale=width**-0.5))])}


def _last_for_none(call: Call) -> Call:
    index, last = call.inputs["index"], call.inputs["k"].shape[0] - 1
    return with_inputs(call, index=np.where(index < 0, last, index))


def _future(call: Call, index: Array) -> Array:
    """The last key of all stands in for the first choice."""
    index[0, 0] = call.inputs["k"].shape[0] - 1
    return index


def _twice(call: Call, index: Array) -> Array:
    if index.shape[1] > 1 and index[0, 1] >= 0:
        index[0, 1] = index[0, 0]
    return index


def _step_by_step(call: Call, run: Run, size: int, seam: Callable[[Array], Array]) -> Answer:
    """Run pieces of ``size`` tokens, with the state between them as ``seam`` leaves it."""
    names = _BY_TOKEN.get(call.op)
    if names is None or len(call.inputs[names[0]]) <= size:
        return run(call)
    state, parts = call.inputs["state"], list[Array]()
    answer = None
    for start in range(0, len(call.inputs[names[0]]), size):
        piece = {name: call.inputs[name][start : start + size] for name in names}
        answer = run(replace(call, inputs={**call.inputs, **piece, "state": state}))
        parts.append(answer.outputs["y"])
        state = seam(answer.outputs["state_out"])
    assert answer is not None
    return replace(answer, outputs={"y": np.concatenate(parts), "state_out": state})


def _forgets(call: Call, run: Run) -> Answer:
    return _step_by_step(call, run, 64, lambda state: np.zeros_like(state))


def _narrow_state(call: Call, run: Run) -> Answer:
    return _step_by_step(call, run, 1, lambda state: state.astype(ml_dtypes.bfloat16).astype(np.float32))


def _coarse_decay(call: Call) -> Call:
    """A decay that is off by one part in a thousand."""
    return with_inputs(call, g=call.inputs["g"] + np.float32(1e-3))


def _reversed_taps(call: Call) -> Call:
    return with_inputs(call, weight=call.inputs["weight"][:, ::-1])


def _no_past(call: Call) -> Call:
    return with_inputs(call, state=np.zeros_like(call.inputs["state"]))


def _stale_state(call: Call, state: Array) -> Array:
    """Of fewer tokens than taps, the old state is not moved along."""
    return call.inputs["state"] if len(call.inputs["x"]) < state.shape[1] else state


def _other_decay(call: Call) -> Call:
    return with_inputs(call, g=call.inputs["g"][::-1])


def _first_rates(call: Call) -> Call:
    rates = call.inputs["a"]
    return with_inputs(call, a=np.broadcast_to(rates[:1], rates.shape))


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="latent-rope-of-first-head",
        fault="only the first head has its rotary part",
        caught_by="latent_attention/mla",
        wrong=before("mla", _first_head_only),
    ),
    Mutant(
        name="absorbed-sees-all",
        fault="the absorbed route has no causal mask",
        caught_by="latent_attention/mla-deepseek-r1-absorbed",
        wrong=instead("mla", _sees_all),
    ),
    Mutant(
        name="absorbed-scale",
        fault="the absorbed route scales by its own width",
        caught_by="latent_attention/mla-deepseek-r1-absorbed",
        wrong=instead("mla", _latent_scale),
    ),
    Mutant(
        name="none-is-last-key",
        fault="-1 in an index is the last key",
        caught_by="latent_attention/sparse-attention-short",
        wrong=before("sparse_attention", _last_for_none),
    ),
    Mutant(
        name="indexer-sees-future",
        fault="an indexer chooses a key that is not to be seen",
        caught_by="latent_attention/index-select",
        wrong=after("index_select", "index", _future),
    ),
    Mutant(
        name="indexer-repeats",
        fault="an indexer chooses one key twice",
        caught_by="latent_attention/index-select",
        wrong=after("index_select", "index", _twice),
    ),
    Mutant(
        name="chunk-forgets",
        fault="the state is lost at the seam of a chunk",
        caught_by="latent_attention/gated-delta-rule-chunk64",
        wrong=_forgets,
    ),
    Mutant(
        name="state-in-bf16",
        fault="a recurrent state is kept in bfloat16",
        caught_by="latent_attention/selective-scan",
        wrong=_narrow_state,
    ),
    Mutant(
        name="decay-1e-3",
        fault="an exponential is off by one part in a thousand, and compounds",
        caught_by="latent_attention/gated-delta-rule",
        wrong=before("gated_delta_rule", _coarse_decay),
        provenance=("flagos-ai/vllm-plugin-FL",),
    ),
    Mutant(
        name="decay-of-another-head",
        fault="decays go to the heads in reverse",
        caught_by="latent_attention/linear-attention",
        wrong=before("linear_attention", _other_decay),
    ),
    Mutant(
        name="taps-reversed",
        fault="the taps of a convolution are in reverse",
        caught_by="latent_attention/causal-conv1d",
        wrong=before("causal_conv1d", _reversed_taps),
    ),
    Mutant(
        name="convolution-without-past",
        fault="a convolution starts from zeros instead of its state",
        caught_by="latent_attention/causal-conv1d",
        wrong=before("causal_conv1d", _no_past),
    ),
    Mutant(
        name="convolution-state-stale",
        fault="fewer tokens than taps leave the state as it was",
        caught_by="latent_attention/causal-conv1d",
        wrong=after("causal_conv1d", "state_out", _stale_state),
    ),
    Mutant(
        name="forty-eight-tokens",
        fault="a recurrence over just 48 tokens is wrong",
        caught_by="latent_attention/gated-delta-rule-extents",
        wrong=at_extent("gated_delta_rule", "y", "q", 0, 48),
    ),
    Mutant(
        name="rates-of-first-channel",
        fault="every channel decays as the first",
        caught_by="latent_attention/selective-scan",
        wrong=before("selective_scan", _first_rates),
    ),
)
