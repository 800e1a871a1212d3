"""Matrix products by PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dougong.backends.port import Call


def linear(call: Call, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``torch.nn.functional.linear``."""
    return {"y": torch.nn.functional.linear(inputs["x"], inputs["weight"], inputs.get("bias"))}


def matmul(call: Call, inputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """``torch.matmul``."""
    return {"y": torch.matmul(inputs["a"], inputs["b"])}


OPERATORS = {"linear": linear, "matmul": matmul}
