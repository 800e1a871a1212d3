"""Softmax by PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]


def softmax(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``torch.softmax``; a scale is applied in float32, as attention does."""
    x, scale = inputs["x"], call.get("scale", 1.0)
    if scale == 1.0:
        return {"y": torch.softmax(x, dim=-1)}
    return {"y": torch.softmax(x.float() * scale, dim=-1).to(x.dtype)}


def log_softmax(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``torch.log_softmax``."""
    return {"y": torch.log_softmax(inputs["x"], dim=-1)}


def logsumexp(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``torch.logsumexp``."""
    return {"y": torch.logsumexp(inputs["x"], dim=-1)}


def softmax_merge(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Rescale by the largest, add up, divide: in float32."""
    values, parts = inputs["values"].float(), inputs["lse"]
    top = parts.amax(dim=0)
    weights = torch.exp(parts - top)
    total = weights.sum(dim=0)
    y = (weights.unsqueeze(-1) * values).sum(dim=0) / total.unsqueeze(-1)
    return {"y": y.to(inputs["values"].dtype), "total": top + total.log()}


OPERATORS = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": logsumexp,
    "softmax_merge": softmax_merge,
}
