"""The adapter of PyTorch, eager."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from dougong.backends.port import Answer, Call, Unsupported
from dougong.backends.torch import (
    cast,
    dynamic_quant,
    gemm,
    norm,
    quantised_gemm,
    rope,
)
from dougong.backends.torch.arrays import to_array, to_tensor

Run = Callable[[Call, Mapping[str, torch.Tensor]], dict[str, torch.Tensor]]

_FAMILIES = (
    gemm,
    quantised_gemm,
    cast,
    dynamic_quant,
    norm,
    rope,
)

OPERATORS: Mapping[str, Run] = {name: run for family in _FAMILIES for name, run in family.OPERATORS.items()}


class TorchBackend:
    """PyTorch on one device, eager."""

    def __init__(self, device: str = "cpu") -> None:
        self.device = device
        self.name = f"torch-{device}"

    def describe(self) -> Mapping[str, str]:
        """Framework, versions and the device."""
        return {"framework": "torch", "torch": torch.__version__, "device": self.device}

    def run(self, call: Call) -> Answer:
        """Compute one operator."""
        if call.op not in OPERATORS:
            raise Unsupported(f"{self.name} has no {call.op}")
        inputs = {name: to_tensor(array, self.device) for name, array in call.inputs.items()}
        with torch.inference_mode():
            outputs = OPERATORS[call.op](call, inputs)
        where = {str(tensor.device) for tensor in outputs.values()}
        return Answer(
            outputs={name: to_array(tensor) for name, tensor in outputs.items()},
            device=", ".join(sorted(where)),
        )
