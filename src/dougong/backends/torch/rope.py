"""Rotary position embedding by PyTorch: angles in float32, as the models' code has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]


def _frequencies(call: Call, dim: int, device: torch.device) -> torch.Tensor:
    scaling: Mapping[str, Any] = call.get("scaling") or {}
    base, kind = float(call.get("base", 1e4)), scaling.get("type")
    index = torch.arange(0, dim, 2, device=device).float()
    if kind == "dynamic":
        grown = scaling["factor"] * scaling["length"] / scaling["original"] - (scaling["factor"] - 1)
        base *= grown ** (dim / (dim - 2))
    plain = 1.0 / torch.pow(base, index / dim)
    if kind == "linear":
        return plain / scaling["factor"]
    if kind == "llama3":
        low, high = scaling["low"], scaling["high"]
        turns = scaling["original"] * plain / (2 * math.pi)
        kept = ((turns - low) / (high - low)).clamp(0.0, 1.0)
        return (1 - kept) * plain / scaling["factor"] + kept * plain
    if kind == "yarn":
        first, last = (
            dim * math.log(scaling["original"] / (scaling[name] * 2 * math.pi)) / (2 * math.log(base))
            for name in ("fast", "slow")
        )
        if scaling.get("truncate", True):
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, dim - 1)
        slowed = ((index / 2 - first) / (last - first if last != first else 0.001)).clamp(0.0, 1.0)
        return plain / scaling["factor"] * slowed + plain * (1 - slowed)
    return plain


def _tables(call: Call, positions: torch.Tensor, dim: int) -> tuple[torch.Tensor, torch.Tensor]:
    angles = positions.float()[..., None] * _frequencies(call, dim, positions.device)
    if positions.ndim == 2:
        sections: tuple[int, ...] = tuple(call.get("sections", ()))
        if call.get("interleaved", False):
            mixed = angles[0].clone()
            for place in (1, 2):
                mixed[:, place : 3 * sections[place] : 3] = angles[place, :, place : 3 * sections[place] : 3]
            angles = mixed
        else:
            ends = [sum(sections[: place + 1]) for place in range(3)]
            parts = [
                angles[at, :, end - size : end]
                for at, (size, end) in enumerate(zip(sections, ends, strict=True))
            ]
            angles = torch.cat(parts, dim=-1)
    scaling: Mapping[str, Any] = call.get("scaling") or {}
    factor = float(scaling.get("attention_factor", 1.0))
    return angles.cos() * factor, angles.sin() * factor


def _turned(call: Call, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    dim, interleaved = 2 * cos.shape[-1], call.get("style", "neox") == "interleaved"
    cos, sin = cos[:, None].float(), sin[:, None].float()
    part, rest = x[..., :dim].float(), x[..., dim:]
    first, second = (part[..., 0::2], part[..., 1::2]) if interleaved else part.chunk(2, dim=-1)
    pair = (first * cos - second * sin, second * cos + first * sin)
    both = torch.stack(pair, dim=-1).flatten(-2) if interleaved else torch.cat(pair, dim=-1)
    return torch.cat((both.to(x.dtype), rest), dim=-1)


def _dim(call: Call, x: torch.Tensor) -> int:
    return int(call.get("dim", 0)) or x.shape[-1]


def rope_angles(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Tables of cos and sin in float32."""
    cos, sin = _tables(call, inputs["positions"], int(call.get("dim", 0)))
    return {"cos": cos, "sin": sin}


def rope(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Angles, then the rotation, in float32."""
    x = inputs["x"]
    return {"y": _turned(call, x, *_tables(call, inputs["positions"], _dim(call, x)))}


def rope_cached(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Rows of the tables by ``index_select``."""
    cos, sin = (inputs[name].index_select(0, inputs["positions"].long()) for name in ("cos", "sin"))
    return {"y": _turned(call, inputs["x"], cos, sin)}


def rope_scores(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Both turned, then multiplied head by head."""
    q, k = (
        _turned(call, inputs[name], *_tables(call, inputs[f"{name}_positions"], _dim(call, inputs[name])))
        for name in ("q", "k")
    )
    return {"scores": torch.matmul(q.transpose(0, 1), k.permute(1, 2, 0))}


OPERATORS = {
    "rope_angles": rope_angles,
    "rope": rope,
    "rope_cached": rope_cached,
    "mrope": rope,
    "rope_scores": rope_scores,
}
