"""Low-rank adapters by PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn.functional import linear

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]


def lora_linear(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """The base layer, then each adapter over the rows that use it."""
    x, adapter = inputs["x"], inputs["adapter"]
    y = linear(x, inputs["weight"])
    for a in range(inputs["down"].shape[0]):
        rows = adapter == a
        delta = linear(linear(x[rows], inputs["down"][a]), inputs["up"][a])
        y[rows] += delta * inputs["scaling"][a].to(x.dtype)
    return {"y": y}


def lora_merge(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """One more product, added."""
    delta = inputs["up"] @ inputs["down"]
    return {"y": inputs["weight"] + delta * inputs["scaling"].to(delta.dtype)}


OPERATORS = {"lora_linear": lora_linear, "lora_merge": lora_merge}
