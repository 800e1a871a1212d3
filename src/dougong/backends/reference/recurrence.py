"""Recurrences over tokens in float64, step by step."""

from __future__ import annotations

import numpy as np

from dougong.backends.port import Array, Call


def _wide(call: Call, *names: str) -> tuple[Array, ...]:
    return tuple(call.inputs[name].astype(np.float64) for name in names)


def gated_delta_rule(call: Call) -> dict[str, Array]:
    """Decay, correct what the key recalls, read with the query."""
    q, k, v, g, beta, state = _wide(call, "q", "k", "v", "g", "beta", "state")
    y, decay = np.empty(v.shape), np.exp(g)
    for t in range(len(q)):
        state = state * decay[t][:, None, None]
        recalled = (k[t][:, None] @ state)[:, 0]
        state = state + k[t][:, :, None] * (beta[t][:, None] * (v[t] - recalled))[:, None]
        y[t] = (q[t][:, None] @ state)[:, 0]
    return {"y": y, "state_out": state}


def linear_attention(call: Call) -> dict[str, Array]:
    """Decay, add, read."""
    q, k, v, g, state = _wide(call, "q", "k", "v", "g", "state")
    y, decay = np.empty(v.shape), np.exp(g)[:, None, None]
    for t in range(len(q)):
        state = state * decay + k[t][:, :, None] * v[t][:, None]
        y[t] = (q[t][:, None] @ state)[:, 0]
    return {"y": y, "state_out": state}


def selective_scan(call: Call) -> dict[str, Array]:
    """A diagonal recurrence whose step the input chooses."""
    x, delta, a, b, c, skip, state = _wide(call, "x", "delta", "a", "b", "c", "skip", "state")
    y = np.empty(x.shape)
    for t in range(len(x)):
        state = np.exp(delta[t][:, None] * a) * state + (delta[t] * x[t])[:, None] * b[t]
        y[t] = state @ c[t] + skip * x[t]
    return {"y": y, "state_out": state}


def convolved(call: Call) -> tuple[Array, Array]:
    """Return the inputs with their past ``[w-1+t, d]`` and the sum before SiLU ``[t, d]``."""
    x, weight, state = _wide(call, "x", "weight", "state")
    past, width = np.concatenate((state.T, x)), weight.shape[1]
    total = np.sum([weight[:, j] * past[j : j + len(x)] for j in range(width)], axis=0)
    bias = call.inputs["bias"].astype(np.float64) if "bias" in call.inputs else np.zeros(())
    return past, total + bias


def causal_conv1d(call: Call) -> dict[str, Array]:
    """A short convolution over each channel's past, then SiLU."""
    past, total = convolved(call)
    width = call.inputs["weight"].shape[1]
    return {"y": total / (1.0 + np.exp(-total)), "state_out": past[len(past) - (width - 1) :].T}


FORMULAS = {
    "gated_delta_rule": gated_delta_rule,
    "linear_attention": linear_attention,
    "selective_scan": selective_scan,
    "causal_conv1d": causal_conv1d,
}
