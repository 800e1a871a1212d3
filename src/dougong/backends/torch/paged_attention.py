"""Decode attention by PyTorch, which has no paged one: pages by ``index_select``, then its attention."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]


def paged_attention(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """One attention per sequence, over the pages that it has filled."""
    q, lengths = inputs["q"], call.inputs["lengths"]
    page = inputs["key_cache"].shape[1]
    parts: list[torch.Tensor] = []
    for row in range(q.shape[0]):
        length = int(lengths[row])
        used = inputs["block_table"][row, : -(-length // page)].long()
        k, v = (_gathered(inputs, name, used, length, q.dtype) for name in ("key", "value"))
        parts.append(_attend(call, q[row].transpose(0, 1)[None], k, v)[0].transpose(0, 1))
    return {"y": torch.stack(parts)}


def _gathered(
    inputs: Tensors, name: str, used: torch.Tensor, length: int, dtype: torch.dtype
) -> torch.Tensor:
    rows = inputs[f"{name}_cache"][used].flatten(0, 1)[:length]
    scale = inputs.get(f"{name[0]}_scale")
    if scale is not None:
        rows = (rows.float() * scale).to(dtype)
    return rows.transpose(0, 1)[None]


def _attend(call: Call, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    queries, keys = q.shape[2], k.shape[2]
    at = torch.arange(keys - queries, keys, device=q.device)[:, None] - torch.arange(keys, device=q.device)
    window, softcap = int(call.get("window", 0)), float(call.get("softcap", 0.0))
    visible = (at >= 0) & (at < window) if window else at >= 0
    if not softcap:
        return torch.nn.functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=None if queries == 1 and not window else visible,
            scale=call.get("scale"),
            enable_gqa=True,
        )
    groups = q.shape[1] // k.shape[1]
    k, v = (each.repeat_interleave(groups, dim=1).float() for each in (k, v))
    scale = q.shape[-1] ** -0.5 if call.get("scale") is None else float(call.get("scale"))
    score = softcap * torch.tanh(torch.matmul(q.float(), k.transpose(-1, -2)) * scale / softcap)
    p = torch.softmax(score.masked_fill(~visible, float("-inf")), dim=-1)
    return torch.matmul(p, v).to(q.dtype)


def merge_attention(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``logsumexp`` over the parts, in float32."""
    del call
    parts, log_sums = inputs["parts"], inputs["log_sums"]
    log_sum = torch.logsumexp(log_sums, dim=0)
    weight = torch.exp(log_sums - torch.where(log_sum == float("-inf"), 0.0, log_sum))[..., None]
    y = torch.where(weight > 0, weight * parts.float(), 0.0).sum(0)
    return {"y": y.to(parts.dtype), "log_sum": log_sum}


OPERATORS = {"paged_attention": paged_attention, "merge_attention": merge_attention}
