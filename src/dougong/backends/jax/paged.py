"""Attention over pages, packed sequences, latents and chosen keys by JAX: gathers and masks of fixed shapes."""

from __future__ import annotations

from typing import Any

import numpy as np

from dougong.backends.jax.arrays import Arrays, jnp, lax, nn, wide
from dougong.backends.port import Array, Call


def _attend(call: Call, q: Any, k: Any, v: Any, seen: Any, scale: float | None = None) -> Any:
    """``nn.dot_product_attention`` of ``q [b, t, h, d]``, ``k``, ``v`` ``[b, s, g, …]`` and a mask ``[b, t, s]``."""
    given = call.get("scale") if scale is None else scale
    softcap = float(call.get("softcap", 0.0))
    if not softcap and q.shape[-1] == v.shape[-1]:
        mask = jnp.broadcast_to(seen[:, None], (q.shape[0], q.shape[2], q.shape[1], k.shape[1]))
        return nn.dot_product_attention(q, k, v, mask=mask, scale=given)
    times = q.shape[2] // k.shape[2]
    k, v = (wide(jnp.repeat(each, times, axis=2)) for each in (k, v))
    score = jnp.einsum("bthd,bshd->bhts", wide(q), k) * (q.shape[-1] ** -0.5 if given is None else given)
    if softcap:
        score = softcap * jnp.tanh(score / softcap)
    share = nn.softmax(jnp.where(seen[:, None], score, -jnp.inf), axis=-1)
    return jnp.einsum("bhts,bshe->bthe", share, v).astype(q.dtype)


def _causal(queries: int, keys: int) -> Array:
    return np.arange(queries)[:, None] + keys - queries >= np.arange(keys)


def paged_attention(call: Call, inputs: Arrays) -> Arrays:
    """Pages by indexing; what lies beyond a length is set to zero and masked."""
    q, table, lengths = inputs["q"], inputs["block_table"], inputs["lengths"].astype(jnp.int32)
    page, queries = inputs["key_cache"].shape[1], q.shape[1]
    filled = jnp.arange(table.shape[1]) * page < lengths[:, None]
    place = jnp.arange(table.shape[1] * page)
    inside = place < lengths[:, None]

    def pages(name: str) -> Any:
        rows = inputs[f"{name}_cache"][jnp.where(filled, table, 0)]
        rows = rows.reshape(rows.shape[0], -1, *rows.shape[3:])
        if f"{name[0]}_scale" in inputs:
            rows = (wide(rows) * inputs[f"{name[0]}_scale"]).astype(q.dtype)
        return jnp.where(inside[..., None, None], rows, 0)

    at = lengths[:, None] - queries + jnp.arange(queries)
    distance = at[..., None] - place
    window, seen = int(call.get("window", 0)), distance >= 0
    if window:
        seen &= distance < window
    return {"y": _attend(call, q, pages("key"), pages("value"), seen)}


def merge_attention(call: Call, inputs: Arrays) -> Arrays:
    """``nn.logsumexp`` over the parts, in float32."""
    parts, log_sums = inputs["parts"], inputs["log_sums"]
    log_sum = nn.logsumexp(log_sums, axis=0)
    weight = jnp.exp(log_sums - jnp.where(log_sum == -jnp.inf, 0, log_sum))[..., None]
    y = jnp.where(weight > 0, weight * wide(parts), 0).sum(axis=0)
    return {"y": y.astype(parts.dtype), "log_sum": log_sum}


def attention_varlen(call: Call, inputs: Arrays) -> Arrays:
    """One attention over all that is packed, each sequence masked from the others."""
    q, k, v = (inputs[name][None] for name in ("q", "k", "v"))
    q_starts, k_starts = inputs["q_starts"], inputs["k_starts"]
    rows, keys = jnp.arange(q.shape[1]), jnp.arange(k.shape[1])
    mine, theirs = (
        jnp.searchsorted(starts, at, side="right") - 1 for starts, at in ((q_starts, rows), (k_starts, keys))
    )
    seen = mine[:, None] == theirs
    back = (rows - q_starts[mine + 1])[:, None] - (keys - k_starts[mine + 1][:, None])
    if call.get("causal", False):
        seen &= back >= 0
    if int(call.get("window", 0)):
        seen &= back < int(call.get("window", 0))
    return {"y": _attend(call, q, k, v, seen[None])[0]}


def mla(call: Call, inputs: Arrays) -> Arrays:
    """Keys and values from the latent, or queries taken to it."""
    q_nope, q_rope, latent, k_rope = (inputs[name] for name in ("q_nope", "q_rope", "latent", "k_rope"))
    given, queries, keys = call.get("scale"), q_nope.shape[0], latent.shape[0]
    scale = (q_nope.shape[-1] + q_rope.shape[-1]) ** -0.5 if given is None else float(given)
    seen = jnp.asarray(_causal(queries, keys))[None]
    if call.get("route", "naive") == "absorbed":
        q = jnp.concatenate((jnp.einsum("thn,hnc->thc", q_nope, inputs["w_uk"]), q_rope), axis=-1)
        k = jnp.concatenate((latent, k_rope), axis=-1)[:, None]
        y = _attend(call, q[None], k[None], latent[None, :, None], seen, scale)[0]
        return {"y": jnp.einsum("thc,hec->the", y, inputs["w_uv"])}
    k_nope = jnp.einsum("sc,hnc->shn", latent, inputs["w_uk"])
    wide_rope = jnp.broadcast_to(k_rope[:, None], (*k_nope.shape[:2], k_rope.shape[-1]))
    k = jnp.concatenate((k_nope, wide_rope), axis=-1)
    v = jnp.einsum("sc,hec->she", latent, inputs["w_uv"])
    q = jnp.concatenate((q_nope, q_rope), axis=-1)
    return {"y": _attend(call, q[None], k[None], v[None], seen, scale)[0]}


def sparse_attention(call: Call, inputs: Arrays) -> Arrays:
    """Chosen keys by indexing, then one query each."""
    q, index = inputs["q"], inputs["index"]
    k, v = (inputs[name][jnp.maximum(index, 0)] for name in ("k", "v"))
    return {"y": _attend(call, q[:, None], k, v, (index >= 0)[:, None])[:, 0]}


def index_select(call: Call, inputs: Arrays) -> Arrays:
    """Scores in float32, then ``lax.top_k``; -1 where there are fewer keys."""
    q, k, count = wide(inputs["q"]), wide(inputs["k"]), int(call.get("top_k", 2048))
    score = (inputs["weights"][..., None] * nn.relu(jnp.einsum("tid,sd->tis", q, k))).sum(axis=1)
    queries, keys = score.shape
    seen = _causal(int(queries), int(keys))
    values, index = lax.top_k(jnp.where(seen, score, -jnp.inf), min(count, keys))
    index = jnp.where(values == -jnp.inf, -1, index)
    return {"index": jnp.pad(index, ((0, 0), (0, count - index.shape[1])), constant_values=-1)}


OPERATORS = {
    "paged_attention": paged_attention,
    "merge_attention": merge_attention,
    "attention_varlen": attention_varlen,
    "mla": mla,
    "sparse_attention": sparse_attention,
    "index_select": index_select,
}
