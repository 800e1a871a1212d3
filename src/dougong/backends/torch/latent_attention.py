"""Latent, sparse and linear attention by PyTorch, as the models' code has them."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dougong.backends.port import Call
from dougong.backends.torch.recurrence import OPERATORS as RECURRENCES

Tensors = Mapping[str, torch.Tensor]


def mla(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Keys and values from the latent, or queries taken to it, in the dtype; attention in float32 within."""
    q_nope, q_rope = (inputs[name].transpose(0, 1) for name in ("q_nope", "q_rope"))
    latent, k_rope = inputs["latent"], inputs["k_rope"]
    width = q_nope.shape[-1] + q_rope.shape[-1]
    scale = width**-0.5 if call.get("scale") is None else float(call.get("scale"))
    queries, keys = q_nope.shape[1], latent.shape[0]
    at = torch.arange(keys - queries, keys, device=latent.device)
    visible = at[:, None] >= torch.arange(keys, device=latent.device)
    attend = torch.nn.functional.scaled_dot_product_attention
    if call.get("route", "naive") == "absorbed":
        q = torch.cat((torch.matmul(q_nope, inputs["w_uk"]), q_rope), dim=-1)[None]
        k = torch.cat((latent, k_rope), dim=-1)[None, None]
        v = latent[None, None]
        y = attend(q, k, v, attn_mask=visible, scale=scale, enable_gqa=True)[0]
        return {"y": torch.matmul(y, inputs["w_uv"].transpose(1, 2)).transpose(0, 1)}
    k_nope, v = (torch.matmul(latent, inputs[name].transpose(1, 2)) for name in ("w_uk", "w_uv"))
    k = torch.cat((k_nope, k_rope.expand(k_nope.shape[0], -1, -1)), dim=-1)
    q = torch.cat((q_nope, q_rope), dim=-1)
    return {"y": attend(q[None], k[None], v[None], attn_mask=visible, scale=scale)[0].transpose(0, 1)}


def sparse_attention(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Chosen keys gathered per query, then attention of one query each."""
    q, index = inputs["q"], inputs["index"].long()
    groups = q.shape[1] // inputs["k"].shape[1]
    k, v = (inputs[name][index.clamp(min=0)].transpose(1, 2) for name in ("k", "v"))
    k, v = (each.repeat_interleave(groups, dim=1) for each in (k, v))
    visible = (index >= 0)[:, None, None, :]
    y = torch.nn.functional.scaled_dot_product_attention(
        q[:, :, None], k, v, attn_mask=visible, scale=call.get("scale")
    )
    return {"y": y[:, :, 0]}


def index_select(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Scores in float32, then ``topk``."""
    q, k, top_k = inputs["q"].float(), inputs["k"].float(), int(call.get("top_k", 2048))
    score = (inputs["weights"][..., None] * torch.relu(torch.matmul(q, k.t()))).sum(1)
    queries, keys = score.shape
    at = torch.arange(keys - queries, keys, device=q.device)
    seen = at[:, None] >= torch.arange(keys, device=q.device)
    best = score.masked_fill(~seen, float("-inf")).topk(min(top_k, keys), dim=-1)
    index = torch.where(best.values == float("-inf"), -1, best.indices)
    return {"index": torch.nn.functional.pad(index, (0, top_k - index.shape[1]), value=-1)}


OPERATORS = {
    "mla": mla,
    "sparse_attention": sparse_attention,
    "index_select": index_select,
    **RECURRENCES,
}
