"""Mixture of experts by JAX: ``lax.top_k`` and ``lax.ragged_dot``."""

from __future__ import annotations

from typing import Any

from dougong.backends.jax.arrays import Arrays, jnp, lax, nn, wide
from dougong.backends.port import Call, Unsupported


def route_softmax(call: Call, inputs: Arrays) -> Arrays:
    """Softmax in float32, then ``lax.top_k``."""
    weights, ids = lax.top_k(nn.softmax(wide(inputs["logits"]), axis=-1), int(call.get("top_k", 8)))
    if call.get("renormalise", True):
        weights = weights / weights.sum(axis=-1, keepdims=True)
    return {"weights": weights, "ids": ids}


def route_sigmoid(call: Call, inputs: Arrays) -> Arrays:
    """Groups by the sum of their two best, experts by score and bias, weights by score alone."""
    scores = nn.sigmoid(wide(inputs["logits"]))
    groups = int(call.get("groups", 1))
    by_group = (scores + inputs["bias"]).reshape(scores.shape[0], groups, -1)
    worth = lax.top_k(by_group, min(2, by_group.shape[-1]))[0].sum(axis=-1)
    kept = lax.top_k(worth, int(call.get("top_groups", 1)))[1]
    held = nn.one_hot(kept, groups, dtype=bool).any(axis=1)
    chosen = jnp.where(held[..., None], by_group, -jnp.inf).reshape(scores.shape)
    ids = lax.top_k(chosen, int(call.get("top_k", 8)))[1]
    weights = jnp.take_along_axis(scores, ids, axis=-1)
    if call.get("renormalise", True):
        weights = weights / (weights.sum(axis=-1, keepdims=True) + 1e-20)
    return {"weights": weights * call.get("scaling", 1.0), "ids": ids}


def moe_permute(call: Call, inputs: Arrays) -> Arrays:
    """A stable sort of the pairs by expert."""
    ids = inputs["ids"]
    source = jnp.argsort(ids.ravel(), stable=True)
    counts = jnp.bincount(ids.ravel(), length=int(call.get("experts", 8)))
    return {"rows": inputs["x"][source // ids.shape[1]], "source": source, "counts": counts}


def moe_combine(call: Call, inputs: Arrays) -> Arrays:
    """Rows scattered back, weighted and added in float32."""
    rows, weights = inputs["rows"], inputs["weights"]
    pairs = jnp.zeros_like(rows).at[inputs["source"]].set(rows)
    y = (wide(pairs.reshape(*weights.shape, -1)) * weights[..., None]).sum(axis=1)
    return {"y": y.astype(rows.dtype)}


def grouped_linear(call: Call, inputs: Arrays) -> Arrays:
    """``lax.ragged_dot``."""
    sizes = inputs["counts"].astype(jnp.int32)
    return {"y": lax.ragged_dot(inputs["x"], jnp.swapaxes(inputs["weight"], 1, 2), sizes)}


def _feed_forward(x: Any, gate_up: Any, down: Any, product: Any) -> Any:
    gate, up = jnp.split(wide(product(x, gate_up)), 2, axis=-1)
    return product((nn.silu(gate) * up).astype(x.dtype), down)


def _dense(x: Any, weight: Any) -> Any:
    return jnp.matmul(x, weight.T)


def moe(call: Call, inputs: Arrays) -> Arrays:
    """Pairs sorted by expert, ``lax.ragged_dot`` over them, added back in float32."""
    if int(call.get("ranks", 1)) > 1:
        raise Unsupported("moe over several ranks is not written for JAX")
    x, ids, experts = inputs["x"], inputs["ids"].ravel(), inputs["gate_up"].shape[0]
    # Pairs that count nothing are sorted behind the last expert, where no group reaches.
    order = jnp.argsort(jnp.where(ids < 0, experts, ids), stable=True)
    sizes = jnp.bincount(jnp.where(ids < 0, experts, ids), length=experts + 1)[:experts].astype(jnp.int32)
    token = order // inputs["ids"].shape[1]

    def grouped(rows: Any, weight: Any) -> Any:
        return lax.ragged_dot(rows, jnp.swapaxes(weight, 1, 2), sizes)

    rows = _feed_forward(x[token], inputs["gate_up"], inputs["down"], grouped)
    weight = inputs["weights"].ravel()[order][:, None]
    terms = jnp.where((ids[order] >= 0)[:, None], wide(rows) * weight, 0)
    y = jnp.zeros(x.shape, jnp.float32).at[token].add(terms).astype(x.dtype)
    if "shared_gate_up" in inputs:
        y = y + _feed_forward(x, inputs["shared_gate_up"], inputs["shared_down"], _dense)
    return {"y": y}


OPERATORS = {
    "route_softmax": route_softmax,
    "route_sigmoid": route_sigmoid,
    "moe_permute": moe_permute,
    "moe_combine": moe_combine,
    "grouped_linear": grouped_linear,
    "moe": moe,
}
