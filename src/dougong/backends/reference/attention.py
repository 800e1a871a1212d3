"""Attention in float64, one problem at a time.

However keys are stored (a batch, packed sequences, pages), a call is a list of :class:`Problem`; formula and error
bound are both computed from those.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dougong.backends.port import Array, Call


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """Queries and what they may see, in float64, one key-value head per query head.

    Attributes
    ----------
    q, k, v
        ``[b, h, t, d]``, ``[b, h, s, d]`` and ``[b, h, s, e]``.
    visible
        Broadcasts to ``[b, h, t, s]``.
    bias
        What is added to a logit; broadcasts likewise.
    sinks
        One logit more per head ``[h]``; ``None`` where there is none.
    """

    q: Array
    k: Array
    v: Array
    visible: Array
    bias: Array
    scale: float
    softcap: float = 0.0
    sinks: Array | None = None


def mapped(kv: Array, heads: int, answer: str) -> Array:
    """Give each of ``heads`` query heads its key-value head; ``kv`` is ``[b, g, s, d]``."""
    times = heads // kv.shape[1]
    return np.tile(kv, (1, times, 1, 1)) if answer == "tile" else np.repeat(kv, times, axis=1)


def seen(call: Call, queries: int, keys: int) -> Array:
    """Return which keys each query may see ``[t, s]``: causal, within the window."""
    shift = 0 if call.answer_to("causal_alignment") == "top_left" else keys - queries
    distance = np.arange(queries)[:, None] + shift - np.arange(keys)
    visible = np.ones((queries, keys), np.bool_)
    if call.get("causal", False):
        visible &= distance >= 0
    window = int(call.get("window", 0))
    return visible & (distance < window) if window else visible


def logits(problem: Problem) -> Array:
    """Return the capped and biased logits; what is masked is -inf."""
    with np.errstate(invalid="ignore"):
        score = problem.scale * (problem.q @ np.swapaxes(problem.k, -1, -2))
        if problem.softcap:
            score = problem.softcap * np.tanh(score / problem.softcap)
        return np.where(problem.visible, score + problem.bias, -np.inf)


def weights(problem: Problem) -> tuple[Array, Array]:
    """Return the weights ``[b, h, t, s]`` and the log of the sum of exponentials ``[b, h, t]``."""
    score = logits(problem)
    highest = np.max(score, axis=-1, initial=-np.inf, keepdims=True)
    sinks = None if problem.sinks is None else problem.sinks[:, None, None]
    if sinks is not None:
        highest = np.maximum(highest, sinks)
    with np.errstate(invalid="ignore", divide="ignore"):
        highest = np.where(np.isneginf(highest), 0.0, highest)
        raised = np.exp(score - highest)
        total = np.sum(raised, axis=-1, keepdims=True)
        if sinks is not None:
            total = total + np.exp(sinks - highest)
        return raised / np.where(total == 0, 1.0, total), (np.log(total) + highest)[..., 0]


def attended(call: Call, problem: Problem) -> Array:
    """Return ``y [b, h, t, e]``, under the call's answers for masked rows and masked NaN."""
    p, _ = weights(problem)
    v = problem.v
    hidden = call.answer_to("masked_nan") == "hidden"
    wrong = ~np.isfinite(v)
    with np.errstate(invalid="ignore"):
        if hidden and wrong.any():
            # A weight of 0 hides what it would multiply; a visible one does not.
            y = p @ np.where(wrong, 0.0, v)
            reached = (p > 0).astype(np.float64) @ wrong.astype(np.float64) > 0
            y = np.where(reached, p @ v, y)
        else:
            y = p @ v
    blind = ~np.any(np.isfinite(logits(problem)) | np.isnan(logits(problem)), axis=-1, keepdims=True)
    if blind.any() and problem.sinks is None:
        answer = call.answer_to("masked_row")
        instead = np.full((), np.nan if answer == "nan" else 0.0)
        if answer == "mean_of_values" and v.shape[-2]:
            instead = np.mean(v, axis=-2, keepdims=True)
        y = np.where(blind, instead, y)
    return y


def problem_of(call: Call) -> Problem:
    """Return the one problem of a batch."""
    q, k, v = (call.inputs[name].astype(np.float64) for name in ("q", "k", "v"))
    visible, bias = seen(call, q.shape[2], k.shape[2]), np.zeros(())
    mask = call.inputs.get("mask")
    if mask is not None and mask.dtype == np.bool_:
        visible = visible & mask
    elif mask is not None:
        bias = mask.astype(np.float64)
        visible = visible & ~np.isneginf(bias)
    return posed(call, q, k, v, visible, bias)


def posed(call: Call, q: Array, k: Array, v: Array, visible: Array, bias: Array) -> Problem:
    """Pose a problem from ``[b, h, t, d]`` queries and ``[b, g, s, d]`` keys, with the call's attributes."""
    heads, answer = q.shape[1], call.answer_to("gqa_mapping")
    if "slopes" in call.inputs:
        queries, keys = q.shape[2], k.shape[2]
        at = np.arange(keys - queries, keys, dtype=np.float64)
        distance = at[:, None] - np.arange(keys, dtype=np.float64)
        bias = bias + call.inputs["slopes"].astype(np.float64)[:, None, None] * -distance
    if call.answer_to("masked_nan") == "propagates":  # the mask is added, and NaN plus -inf is NaN
        visible, bias = np.ones((), np.bool_), np.where(visible, bias, -np.inf)
    given = call.get("scale")
    return Problem(
        q=q,
        k=mapped(k, heads, answer),
        v=mapped(v, heads, answer),
        visible=visible,
        bias=bias,
        scale=q.shape[-1] ** -0.5 if given is None else float(given),
        softcap=float(call.get("softcap", 0.0)),
        sinks=call.inputs["sinks"].astype(np.float64) if "sinks" in call.inputs else None,
    )


def attention(call: Call) -> dict[str, Array]:
    """Attention of a batch."""
    return {"y": attended(call, problem_of(call))}


def packed_problems(call: Call) -> list[Problem]:
    """Return one problem per sequence of a packed batch."""
    q, k, v = (call.inputs[name].astype(np.float64).swapaxes(0, 1)[None] for name in ("q", "k", "v"))
    problems: list[Problem] = []
    for n in range(len(call.inputs["q_starts"]) - 1):
        a, b = (int(edge) for edge in call.inputs["q_starts"][n : n + 2])
        c, d = (int(edge) for edge in call.inputs["k_starts"][n : n + 2])
        visible = seen(call, b - a, d - c)
        problems.append(posed(call, q[:, :, a:b], k[:, :, c:d], v[:, :, c:d], visible, np.zeros(())))
    return problems


def packed(parts: Sequence[Array]) -> Array:
    """Join ``[1, h, t, e]`` answers of packed sequences to ``[t, h, e]``."""
    return np.concatenate([part[0].swapaxes(0, 1) for part in parts])


def attention_varlen(call: Call) -> dict[str, Array]:
    """Attention of packed sequences."""
    return {"y": packed([attended(call, each) for each in packed_problems(call)])}


FORMULAS = {"attention": attention, "attention_varlen": attention_varlen}
