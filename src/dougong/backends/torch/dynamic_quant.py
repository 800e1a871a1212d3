"""Quantisation at run time by PyTorch, in float32."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dougong.backends.port import Call

_LARGEST = {"int8": 127.0, "float8_e4m3fn": 448.0}


def dynamic_quant(call: Call, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``amax`` of each group, then the ratio rounded."""
    x, to = inputs["x"].float(), str(call.get("to", "int8"))
    rows, columns = x.shape
    size = int(call.get("group", 0)) or columns
    groups = torch.nn.functional.pad(x, (0, -columns % size)).view(rows, -1, size)
    scale = groups.abs().amax(-1) / _LARGEST[to]
    divisor = torch.where(scale == 0, 1.0, scale)[..., None]
    ratio = (groups / divisor).view(rows, -1)[:, :columns]
    return {"q": _rounded(ratio, to), "scale": scale}


def dynamic_quant_asymmetric(call: Call, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The extent of each row over 255 steps, zero among them."""
    x = inputs["x"].float()
    low, high = x.amin(-1).clamp(max=0.0), x.amax(-1).clamp(min=0.0)
    scale = (high - low) / 255.0
    divisor = torch.where(scale == 0, 1.0, scale)
    zero_point = torch.round(-low / divisor)
    q = (torch.round(x / divisor[:, None]) + zero_point[:, None]).clamp(0, 255)
    return {"q": q.to(torch.uint8), "scale": scale, "zero_point": zero_point.to(torch.int32)}


def static_quant(call: Call, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """One scale for all; what is beyond the ends saturates."""
    return {"q": _rounded(inputs["x"].float() / inputs["scale"], str(call.get("to", "int8")))}


def _rounded(ratio: torch.Tensor, to: str) -> torch.Tensor:
    if to == "int8":
        return torch.round(ratio).clamp(-128, 127).to(torch.int8)
    return ratio.clamp(-_LARGEST[to], _LARGEST[to]).to(torch.float8_e4m3fn)


OPERATORS = {
    "dynamic_quant": dynamic_quant,
    "dynamic_quant_asymmetric": dynamic_quant_asymmetric,
    "static_quant": static_quant,
}
