"""Recurrences over tokens by PyTorch: in chunks by matrix products where asked, else token by token, in float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]


def _wide(inputs: Tensors, *names: str) -> list[torch.Tensor]:
    return [inputs[name].float() for name in names]


def gated_delta_rule(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Token by token, or chunk by chunk with the triangular system of the chunk solved."""
    q, k, v, g, beta, state = _wide(inputs, "q", "k", "v", "g", "beta", "state")
    chunk, dtype = int(call.get("chunk", 1)), inputs["v"].dtype
    parts: list[torch.Tensor] = []
    for start in range(0, q.shape[0], chunk):
        span = slice(start, start + chunk)
        step = _delta_step if chunk == 1 else _delta_chunk
        y, state = step(q[span], k[span], v[span], g[span], beta[span], state)
        parts.append(y)
    return {"y": torch.cat(parts).to(dtype), "state_out": state}


def _delta_step(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    state: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    state = state * g[0].exp()[:, None, None]
    recalled = torch.matmul(k[0][:, None], state)[:, 0]
    state = state + k[0][:, :, None] * (beta[0][:, None] * (v[0] - recalled))[:, None]
    return torch.matmul(q[0][:, None], state).transpose(0, 1), state


def _delta_chunk(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    state: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    q, k, v = (each.transpose(0, 1) for each in (q, k, v))
    decayed = g.cumsum(0).t()
    beta = beta.t()[..., None]
    size = q.shape[1]
    lower = torch.ones(size, size, dtype=torch.bool, device=q.device).tril()
    between = torch.where(lower, (decayed[:, :, None] - decayed[:, None]).clamp(max=0.0).exp(), 0.0)
    keys = torch.matmul(k, k.transpose(1, 2)) * between * beta
    system = keys.tril(-1) + torch.eye(size, device=q.device)
    target = beta * (v - decayed.exp()[..., None] * torch.matmul(k, state))
    linalg = cast(Any, torch.linalg)
    new: torch.Tensor = linalg.solve_triangular(system, target, upper=False, unitriangular=True)
    y = decayed.exp()[..., None] * torch.matmul(q, state)
    y = y + torch.matmul(torch.matmul(q, k.transpose(1, 2)) * between, new)
    left = (decayed[:, -1:] - decayed).exp()[..., None]
    state = state * decayed[:, -1].exp()[:, None, None] + torch.matmul((k * left).transpose(1, 2), new)
    return y.transpose(0, 1), state


def linear_attention(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Chunk by chunk: within by a decayed product, across by the state."""
    q, k, v, g, state = _wide(inputs, "q", "k", "v", "g", "state")
    chunk, parts = int(call.get("chunk", 1)), list[torch.Tensor]()
    for start in range(0, q.shape[0], chunk):
        qs, ks, vs = (each[start : start + chunk].transpose(0, 1) for each in (q, k, v))
        size = qs.shape[1]
        at = torch.arange(1, size + 1, device=q.device)
        distance = (at[:, None] - at).clamp(min=0)
        lower = torch.ones(size, size, dtype=torch.bool, device=q.device).tril()
        between = torch.where(lower, (g[:, None, None] * distance).exp(), 0.0)
        y = torch.matmul(torch.matmul(qs, ks.transpose(1, 2)) * between, vs)
        y = y + (g[:, None] * at).exp()[..., None] * torch.matmul(qs, state)
        left = (g[:, None] * (size - at)).exp()[..., None]
        state = state * (g * size).exp()[:, None, None] + torch.matmul((ks * left).transpose(1, 2), vs)
        parts.append(y.transpose(0, 1))
    return {"y": torch.cat(parts).to(inputs["v"].dtype), "state_out": state}


def selective_scan(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Token by token."""
    del call
    x, delta, a, b, c, skip, state = _wide(inputs, "x", "delta", "a", "b", "c", "skip", "state")
    parts: list[torch.Tensor] = []
    for t in range(x.shape[0]):
        state = (delta[t][:, None] * a).exp() * state + (delta[t] * x[t])[:, None] * b[t]
        parts.append(torch.matmul(state, c[t]) + skip * x[t])
    return {"y": torch.stack(parts).to(inputs["x"].dtype), "state_out": state}


def causal_conv1d(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``conv1d`` with one group per channel."""
    del call
    x, weight, state = inputs["x"], inputs["weight"], inputs["state"]
    past = torch.cat((state, x.t()), dim=1)
    y = torch.nn.functional.conv1d(past[None], weight[:, None], inputs.get("bias"), groups=x.shape[1])[0].t()
    return {"y": torch.nn.functional.silu(y), "state_out": past[:, past.shape[1] - (weight.shape[1] - 1) :]}


OPERATORS = {
    "gated_delta_rule": gated_delta_rule,
    "linear_attention": linear_attention,
    "selective_scan": selective_scan,
    "causal_conv1d": causal_conv1d,
}
