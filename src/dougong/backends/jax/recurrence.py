"""Recurrences over tokens by JAX: ``lax.scan``, in float32."""

from __future__ import annotations

from typing import Any

from dougong.backends.jax.arrays import Arrays, jnp, lax, nn, wide
from dougong.backends.port import Call


def gated_delta_rule(call: Call, inputs: Arrays) -> Arrays:
    """Decay, correct what the key recalls, read with the query."""
    q, k, v, g, beta, state = (wide(inputs[name]) for name in ("q", "k", "v", "g", "beta", "state"))

    def step(state: Any, at: tuple[Any, ...]) -> tuple[Any, Any]:
        q, k, v, g, beta = at
        state = state * jnp.exp(g)[:, None, None]
        recalled = jnp.einsum("hd,hde->he", k, state)
        state = state + k[..., None] * (beta[:, None] * (v - recalled))[:, None]
        return state, jnp.einsum("hd,hde->he", q, state)

    state, y = lax.scan(step, state, (q, k, v, g, beta))
    return {"y": y.astype(inputs["v"].dtype), "state_out": state}


def linear_attention(call: Call, inputs: Arrays) -> Arrays:
    """Decay, add, read."""
    q, k, v, g, state = (wide(inputs[name]) for name in ("q", "k", "v", "g", "state"))

    def step(state: Any, at: tuple[Any, ...]) -> tuple[Any, Any]:
        q, k, v = at
        state = state * jnp.exp(g)[:, None, None] + k[..., None] * v[:, None]
        return state, jnp.einsum("hd,hde->he", q, state)

    state, y = lax.scan(step, state, (q, k, v))
    return {"y": y.astype(inputs["v"].dtype), "state_out": state}


def selective_scan(call: Call, inputs: Arrays) -> Arrays:
    """A diagonal recurrence whose step the input chooses."""
    names = ("x", "delta", "a", "b", "c", "skip", "state")
    x, delta, a, b, c, skip, state = (wide(inputs[name]) for name in names)

    def step(state: Any, at: tuple[Any, ...]) -> tuple[Any, Any]:
        x, delta, b, c = at
        state = jnp.exp(delta[:, None] * a) * state + (delta * x)[:, None] * b
        return state, state @ c + skip * x

    state, y = lax.scan(step, state, (x, delta, b, c))
    return {"y": y.astype(inputs["x"].dtype), "state_out": state}


def causal_conv1d(call: Call, inputs: Arrays) -> Arrays:
    """Shifted products added in float32, then SiLU."""
    x, weight, state = inputs["x"], inputs["weight"], inputs["state"]
    past, width = jnp.concatenate((state.T, x)), weight.shape[1]
    total = sum(wide(weight[:, j]) * wide(past[j : j + x.shape[0]]) for j in range(width))
    if "bias" in inputs:
        total = total + wide(inputs["bias"])
    return {"y": nn.silu(total).astype(x.dtype), "state_out": past[past.shape[0] - (width - 1) :].T}


OPERATORS = {
    "gated_delta_rule": gated_delta_rule,
    "linear_attention": linear_attention,
    "selective_scan": selective_scan,
    "causal_conv1d": causal_conv1d,
}
