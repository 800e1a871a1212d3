"""Attention by JAX: ``nn.dot_product_attention``, and products and softmax in float32 for what it lacks."""

from __future__ import annotations

from typing import Any

import numpy as np

from dougong.backends.jax.arrays import Arrays, jnp, nn, wide
from dougong.backends.port import Array, Call


def attention(call: Call, inputs: Arrays) -> Arrays:
    """Attention of a batch ``[b, h, t, d]``."""
    widths = {inputs[name].shape[-1] for name in ("q", "v")}
    if call.get("softcap", 0.0) or "sinks" in inputs or "slopes" in inputs or len(widths) > 1:
        return {"y": _composed(call, inputs)}
    q, k, v = (jnp.swapaxes(inputs[name], 1, 2) for name in ("q", "k", "v"))
    seen, mask = _visible(call, q.shape[1], k.shape[1]), inputs.get("mask")
    bias = None
    if mask is not None and mask.dtype != jnp.bool_:
        bias, mask = mask, None
    if seen is not None:
        mask = seen if mask is None else mask & seen
    if mask is not None:
        mask = jnp.broadcast_to(mask, (q.shape[0], q.shape[2], q.shape[1], k.shape[1]))
    y = nn.dot_product_attention(q, k, v, bias=bias, mask=mask, scale=call.get("scale"))
    return {"y": jnp.swapaxes(y, 1, 2)}


def _distance(queries: int, keys: int) -> Array:
    return np.arange(queries)[:, None] + keys - queries - np.arange(keys)


def _visible(call: Call, queries: int, keys: int) -> Array | None:
    distance = _distance(queries, keys)
    window, seen = int(call.get("window", 0)), None
    if call.get("causal", False):
        seen = distance >= 0
    if window:
        seen = distance < window if seen is None else seen & (distance < window)
    return seen


def _composed(call: Call, inputs: Arrays) -> Any:
    q, heads = wide(inputs["q"]), inputs["q"].shape[1]
    k, v = (wide(jnp.repeat(inputs[name], heads // inputs[name].shape[1], axis=1)) for name in ("k", "v"))
    scale, softcap = call.get("scale"), float(call.get("softcap", 0.0))
    score = jnp.matmul(q, jnp.swapaxes(k, -1, -2)) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if softcap:
        score = softcap * jnp.tanh(score / softcap)
    queries, keys = int(score.shape[-2]), int(score.shape[-1])
    if "slopes" in inputs:
        score = score - inputs["slopes"][:, None, None] * _distance(queries, keys).astype(np.float32)
    mask = inputs.get("mask")
    if mask is not None:
        score = jnp.where(mask, score, -jnp.inf) if mask.dtype == jnp.bool_ else score + wide(mask)
    seen = _visible(call, queries, keys)
    if seen is not None:
        score = jnp.where(seen, score, -jnp.inf)
    if "sinks" in inputs:
        sink = jnp.broadcast_to(wide(inputs["sinks"])[None, :, None, None], (*score.shape[:-1], 1))
        share = nn.softmax(jnp.concatenate((score, sink), axis=-1), axis=-1)[..., :-1]
    else:
        share = nn.softmax(score, axis=-1)
    return jnp.matmul(share, v).astype(inputs["q"].dtype)


OPERATORS = {"attention": attention}
