"""Attention by PyTorch: ``scaled_dot_product_attention``, and in float32 where it lacks soft-capping or sinks."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]


def attention(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Attention of a batch."""
    return {"y": attend(call, inputs["q"], inputs["k"], inputs["v"], inputs)}


def attention_varlen(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """One call per sequence."""
    q_starts, k_starts = (call.inputs[name] for name in ("q_starts", "k_starts"))
    parts: list[torch.Tensor] = []
    for n in range(len(q_starts) - 1):
        q = inputs["q"][int(q_starts[n]) : int(q_starts[n + 1])]
        k, v = (inputs[name][int(k_starts[n]) : int(k_starts[n + 1])] for name in ("k", "v"))
        q, k, v = (each.transpose(0, 1)[None] for each in (q, k, v))
        if k.shape[2]:
            parts.append(attend(call, q, k, v, {})[0].transpose(0, 1))
        else:
            parts.append(q.new_zeros(q.shape[2], q.shape[1], v.shape[3]))
    return {"y": torch.cat(parts)}


def attend(call: Call, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, inputs: Tensors) -> torch.Tensor:
    """Return ``[b, h, t, e]`` of ``[b, h, t, d]`` queries and ``[b, g, s, d]`` keys."""
    scale, softcap = call.get("scale"), float(call.get("softcap", 0.0))
    causal, mask = bool(call.get("causal", False)), inputs.get("mask")
    queries, keys = q.shape[2], k.shape[2]
    square = causal and queries == keys and not call.get("window", 0) and mask is None
    plain = not softcap and "sinks" not in inputs and "slopes" not in inputs
    if plain and square:
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scale, enable_gqa=True
        )
    bias = _bias(call, q, keys, mask, inputs.get("slopes"))
    if plain:
        return torch.nn.functional.scaled_dot_product_attention(
            q, k, v, attn_mask=bias, scale=scale, enable_gqa=True
        )
    return _composed(q, k, v, bias, scale, softcap, inputs.get("sinks"))


def _bias(
    call: Call, q: torch.Tensor, keys: int, mask: torch.Tensor | None, slopes: torch.Tensor | None
) -> torch.Tensor | None:
    """The mask as PyTorch takes it: bool, or added in the dtype of the queries."""
    queries, window = q.shape[2], int(call.get("window", 0))
    at = torch.arange(queries, device=q.device)[:, None] + keys - queries
    distance = at - torch.arange(keys, device=q.device)
    visible: torch.Tensor | None = None
    if call.get("causal", False):
        visible = distance >= 0
    if window:
        near = distance < window
        visible = near if visible is None else visible & near
    if mask is not None and mask.dtype == torch.bool:
        visible = mask if visible is None else visible & mask
        mask = None
    if slopes is not None:
        # A slope is not rounded to the dtype: the whole is done in float32.
        mask = -slopes[:, None, None] * distance + (0.0 if mask is None else mask.float())
    if mask is None:
        return visible
    return mask if visible is None else mask.masked_fill(~visible, float("-inf"))


def _composed(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    bias: torch.Tensor | None,
    scale: float | None,
    softcap: float,
    sinks: torch.Tensor | None,
) -> torch.Tensor:
    groups = q.shape[1] // k.shape[1]
    k, v = (each.repeat_interleave(groups, dim=1).float() for each in (k, v))
    score = torch.matmul(q.float(), k.transpose(-1, -2)) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if softcap:
        score = softcap * torch.tanh(score / softcap)
    if bias is not None:
        score = score.masked_fill(~bias, float("-inf")) if bias.dtype == torch.bool else score + bias.float()
    if sinks is None:
        return torch.matmul(torch.softmax(score, dim=-1), v).to(q.dtype)
    sink = sinks.float()[None, :, None, None].expand(*score.shape[:-1], 1)
    p = torch.softmax(torch.cat((score, sink), dim=-1), dim=-1)[..., :-1]
    return torch.matmul(p, v).to(q.dtype)


OPERATORS = {"attention": attention, "attention_varlen": attention_varlen}
