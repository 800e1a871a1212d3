"""Norms by PyTorch: its own where it has one, else the models' code in float32."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]


def rms_norm(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``torch.nn.functional.rms_norm``; with an offset weight as Gemma's code has it."""
    x, weight = inputs["x"], inputs["weight"]
    eps, offset = float(call.get("eps", 1e-6)), float(call.get("weight_offset", 0.0))
    if offset:
        return {"y": (_normed(x, eps) * (weight.float() + offset)).to(x.dtype)}
    return {"y": torch.nn.functional.rms_norm(x, weight.shape, weight, eps)}


def add_rms_norm(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """The sum in the dtype, then its norm."""
    total, weight = inputs["x"] + inputs["residual"], inputs["weight"]
    y = torch.nn.functional.rms_norm(total, weight.shape, weight, float(call.get("eps", 1e-6)))
    return {"y": y, "residual_out": total}


def gated_rms_norm(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """In float32, as Qwen3-Next's code has it."""
    x = inputs["x"]
    normed = _normed(x, float(call.get("eps", 1e-6))) * inputs["weight"].float()
    return {"y": (normed * torch.nn.functional.silu(inputs["gate"].float())).to(x.dtype)}


def layer_norm(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``torch.nn.functional.layer_norm``."""
    weight = inputs["weight"]
    eps = float(call.get("eps", 1e-5))
    return {"y": torch.nn.functional.layer_norm(inputs["x"], weight.shape, weight, inputs.get("bias"), eps)}


def l2_norm(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """In float32."""
    x = inputs["x"].float()
    y = x * torch.rsqrt((x * x).sum(-1, keepdim=True) + float(call.get("eps", 1e-6)))
    return {"y": y.to(inputs["x"].dtype)}


def _normed(x: torch.Tensor, eps: float) -> torch.Tensor:
    wide = x.float()
    return wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)


OPERATORS = {
    "rms_norm": rms_norm,
    "add_rms_norm": add_rms_norm,
    "gated_rms_norm": gated_rms_norm,
    "layer_norm": layer_norm,
    "l2_norm": l2_norm,
}
