"""Top-k, sort and argmax by PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]


def argmax(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``torch.argmax``."""
    return {"index": torch.argmax(inputs["x"], dim=-1)}


def top_k(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``torch.topk``, sorted."""
    values, indices = torch.topk(inputs["x"], int(call.get("k", 1)), dim=-1, sorted=True)
    return {"values": values, "indices": indices}


def sort(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``torch.sort``, stable."""
    descending = bool(call.get("descending", True))
    values, indices = torch.sort(inputs["x"], dim=-1, descending=descending, stable=True)
    return {"values": values, "indices": indices}


OPERATORS = {"argmax": argmax, "top_k": top_k, "sort": sort}
