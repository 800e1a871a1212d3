"""Elementary functions by PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]

_UNARY: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "exp": torch.exp,
    "exp2": torch.exp2,
    "expm1": torch.expm1,
    "log": torch.log,
    "log2": torch.log2,
    "log1p": torch.log1p,
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "erf": torch.erf,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "softplus": torch.nn.functional.softplus,
    "sigmoid": torch.sigmoid,
}

_BINARY: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "add": torch.add,
    "multiply": torch.mul,
    "divide": torch.div,
    "power": torch.pow,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}


def _unary(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    return {"y": _UNARY[call.op](inputs["x"])}


def _binary(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    return {"y": _BINARY[call.op](inputs["x"], inputs["other"])}


def clamp(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``torch.clamp``."""
    return {"y": torch.clamp(inputs["x"], call.get("low", -1.0), call.get("high", 1.0))}


OPERATORS = {**dict.fromkeys(_UNARY, _unary), **dict.fromkeys(_BINARY, _binary), "clamp": clamp}
