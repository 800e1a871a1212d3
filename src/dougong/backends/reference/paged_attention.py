"""Decode attention in float64: pages are gathered, then it is attention."""

from __future__ import annotations

import numpy as np

from dougong.backends.port import Array, Call
from dougong.backends.reference.attention import Problem, attended, posed


def gathered(call: Call, name: str, row: int, whole_pages: bool) -> Array:
    """Return the keys or values of one sequence as ``[1, g, s, d]`` in float64."""
    cache = call.inputs[f"{name}_cache"]
    length, page = int(call.inputs["lengths"][row]), cache.shape[1]
    used = call.inputs["block_table"][row, : -(-length // page)]
    rows = cache[used].reshape(-1, *cache.shape[2:])
    kept = rows if whole_pages else rows[:length]
    scale = call.inputs.get(f"{name[0]}_scale")
    wide = kept.astype(np.float64) * (1.0 if scale is None else scale.astype(np.float64))
    return wide.swapaxes(0, 1)[None]


def problems(call: Call) -> list[Problem]:
    """Return one problem per sequence; ``masked_nan`` = ``propagates`` sees the rest of the last page, masked."""
    q = call.inputs["q"].astype(np.float64)
    whole = call.answer_to("masked_nan") == "propagates"
    window = int(call.get("window", 0))
    found: list[Problem] = []
    for row in range(q.shape[0]):
        k, v = (gathered(call, name, row, whole) for name in ("key", "value"))
        length, queries = int(call.inputs["lengths"][row]), q.shape[1]
        at = np.arange(length - queries, length, dtype=np.float64)[:, None]
        distance = at - np.arange(k.shape[2], dtype=np.float64)
        visible = distance >= 0
        if window:
            visible &= distance < window
        found.append(posed(call, q[row].swapaxes(0, 1)[None], k, v, visible, np.zeros(())))
    return found


def paged_attention(call: Call) -> dict[str, Array]:
    """Attention of each sequence over its pages."""
    parts = [attended(call, each)[0].swapaxes(0, 1) for each in problems(call)]
    return {"y": np.stack(parts)}


def merge_weights(call: Call) -> tuple[Array, Array]:
    """Return the weight of each part ``[p, t, h]`` and the joint log of the sum ``[t, h]``."""
    log_sums = call.inputs["log_sums"].astype(np.float64)
    highest: Array = np.max(log_sums, axis=0)
    safe = np.where(np.isneginf(highest), 0.0, highest)
    with np.errstate(divide="ignore"):
        log_sum: Array = np.log(np.sum(np.exp(log_sums - safe), axis=0)) + safe
    return np.exp(log_sums - np.where(np.isneginf(log_sum), 0.0, log_sum)), log_sum


def merge_attention(call: Call) -> dict[str, Array]:
    """Join what parts of the keys gave; a part of weight 0 adds nothing, whatever it holds."""
    weight, log_sum = merge_weights(call)
    parts = call.inputs["parts"].astype(np.float64)
    terms = np.where(weight[..., None] > 0, weight[..., None] * parts, 0.0)
    return {"y": np.sum(terms, axis=0), "log_sum": log_sum}


FORMULAS = {"paged_attention": paged_attention, "merge_attention": merge_attention}
