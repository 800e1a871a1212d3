"""Latent and sparse attention, and an indexer's choice, in float64."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dougong.backends.port import Array, Call
from dougong.backends.reference.attention import Problem, attended, packed
from dougong.backends.reference.recurrence import FORMULAS as RECURRENCES


def mla_problem(call: Call) -> Problem:
    """Return latent attention as plain attention over keys and values made from the latent."""
    q_nope, q_rope, latent, k_rope, w_uk, w_uv = (
        call.inputs[name].astype(np.float64)
        for name in ("q_nope", "q_rope", "latent", "k_rope", "w_uk", "w_uv")
    )
    q = np.concatenate((q_nope, q_rope), axis=-1).swapaxes(0, 1)[None]
    keys = latent @ w_uk.swapaxes(1, 2)
    shared = np.broadcast_to(k_rope, (keys.shape[0], *k_rope.shape))
    k, v = np.concatenate((keys, shared), axis=-1)[None], (latent @ w_uv.swapaxes(1, 2))[None]
    queries, length = q.shape[2], k.shape[2]
    at = np.arange(length - queries, length, dtype=np.float64)[:, None]
    given = call.get("scale")
    return Problem(
        q=q,
        k=k,
        v=v,
        visible=at >= np.arange(length, dtype=np.float64),
        bias=np.zeros(()),
        scale=q.shape[-1] ** -0.5 if given is None else float(given),
    )


def mla(call: Call) -> dict[str, Array]:
    """Latent attention; both routes are one formula."""
    return {"y": packed([attended(call, mla_problem(call))])}


def sparse_problem(call: Call) -> Problem:
    """Return sparse attention as attention with a mask."""
    q, k, v = (call.inputs[name].astype(np.float64).swapaxes(0, 1)[None] for name in ("q", "k", "v"))
    index = call.inputs["index"].astype(np.int64)
    visible = np.zeros((index.shape[0], k.shape[2] + 1), np.bool_)
    np.put_along_axis(visible, index, True, axis=1)  # -1 is the column beyond the last
    times, given = q.shape[1] // k.shape[1], call.get("scale")
    return Problem(
        q=q,
        k=np.repeat(k, times, axis=1),
        v=np.repeat(v, times, axis=1),
        visible=visible[:, :-1],
        bias=np.zeros(()),
        scale=q.shape[-1] ** -0.5 if given is None else float(given),
    )


def sparse_attention(call: Call) -> dict[str, Array]:
    """Attention over chosen keys."""
    return {"y": packed([attended(call, sparse_problem(call))])}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scores:
    """What an indexer goes by ``[t, s]``: scores, -inf where a key is not to be seen, and the norms of their terms."""

    value: Array
    l1: Array


def scores(call: Call) -> Scores:
    """Return the scores of an indexer."""
    q, k, weights = (call.inputs[name].astype(np.float64) for name in ("q", "k", "weights"))
    raw = np.einsum("tid,sd->tis", q, k)
    value = np.einsum("ti,tis->ts", weights, np.maximum(raw, 0.0))
    l1 = np.einsum("ti,tis->ts", np.abs(weights), np.einsum("tid,sd->tis", np.abs(q), np.abs(k)))
    queries, keys = value.shape
    at = np.arange(keys - queries, keys, dtype=np.float64)[:, None]
    return Scores(value=np.where(at >= np.arange(keys, dtype=np.float64), value, -np.inf), l1=l1)


def index_select(call: Call) -> dict[str, Array]:
    """Return the chosen keys, the lowest index first among equals."""
    value, top_k = scores(call).value, int(call.get("top_k", 2048))
    order = np.argsort(-value, axis=1, kind="stable")[:, :top_k]
    chosen = np.where(np.isneginf(np.take_along_axis(value, order, axis=1)), -1, order)
    short = top_k - chosen.shape[1]
    return {"index": np.pad(chosen, ((0, 0), (0, max(short, 0))), constant_values=-1)}


FORMULAS = {
    "mla": mla,
    "sparse_attention": sparse_attention,
    "index_select": index_select,
    **RECURRENCES,
}
