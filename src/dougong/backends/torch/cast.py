"""Casts by PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dougong.backends.port import Call


def cast(call: Call, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``Tensor.to``."""
    return {"y": inputs["x"].to(getattr(torch, str(call.get("to", "float32"))))}


def cast_round_trip(call: Call, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``Tensor.to`` and back."""
    narrow: torch.dtype = getattr(torch, str(call.get("through", "bfloat16")))
    return {"y": inputs["x"].to(narrow).to(torch.float32)}


OPERATORS = {"cast": cast, "cast_round_trip": cast_round_trip}
