"""Activations by PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch.nn import functional

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]

_PLAIN: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "silu": functional.silu,
    "gelu_erf": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "relu": functional.relu,
    "relu_squared": lambda x: functional.relu(x).square(),
}


def _halves(call: Call, inputs: Tensors) -> tuple[torch.Tensor, torch.Tensor]:
    x = inputs["x"]
    if call.get("interleaved", call.op == "swiglu_clamped"):
        return x[..., ::2], x[..., 1::2]
    gate, up = x.chunk(2, dim=-1)
    return gate, up


def _plain(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    return {"y": _PLAIN[call.op](inputs["x"])}


def _gated(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    gate, up = _halves(call, inputs)
    return {"y": _PLAIN["silu" if call.op == "swiglu" else "gelu_tanh"](gate) * up}


def swiglu_clamped(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """As the model's own code: clamp, sigmoid, product, each in the dtype of the input."""
    gate, up = _halves(call, inputs)
    limit = call.get("limit", 7.0)
    gate, up = gate.clamp(max=limit), up.clamp(-limit, limit)
    return {"y": gate * torch.sigmoid(call.get("alpha", 1.702) * gate) * (up + 1)}


OPERATORS = {
    **dict.fromkeys(_PLAIN, _plain),
    "swiglu": _gated,
    "geglu_tanh": _gated,
    "swiglu_clamped": swiglu_clamped,
}
