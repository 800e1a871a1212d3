"""The adapter of PyTorch, eager."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import torch

from dougong.backends.port import Answer, Call, Unsupported
from dougong.backends.torch import (
    activation,
    attention,
    cast,
    collective,
    dynamic_quant,
    elementary,
    gather,
    gemm,
    graph,
    kv_write,
    latent_attention,
    lora,
    moe,
    norm,
    paged_attention,
    quantised_gemm,
    reduction,
    rope,
    sampler,
    selection,
    softmax,
    view,
)
from dougong.backends.torch.arrays import to_array
from dougong.backends.torch.census import Census
from dougong.backends.torch.guard import guarded
from dougong.backends.torch.stack import check_device, describe
from dougong.ops.definitions import DEFINITIONS

Run = Callable[[Call, Mapping[str, torch.Tensor]], dict[str, torch.Tensor]]

_FAMILIES = (
    gemm,
    quantised_gemm,
    cast,
    dynamic_quant,
    norm,
    rope,
    attention,
    paged_attention,
    latent_attention,
    kv_write,
    softmax,
    activation,
    elementary,
    reduction,
    selection,
    sampler,
    moe,
    gather,
    collective,
    lora,
    view,
)

_EACH: dict[str, Run] = {name: run for family in _FAMILIES for name, run in family.OPERATORS.items()}
_OPERANDS = {name: (*each.inputs, *each.outputs) for name, each in DEFINITIONS.items()}

OPERATORS: Mapping[str, Run] = {**_EACH, **graph.graphs(_EACH, _OPERANDS)}


class TorchBackend:
    """PyTorch on one device, eager.

    Parameters
    ----------
    device
        Any device string that this torch knows.

    Raises
    ------
    EnvironmentLacking
        Where the device does not work here.
    """

    def __init__(self, device: str = "cpu") -> None:
        check_device(device)
        self.device = device
        self.name = f"torch-{device}"

    def describe(self) -> Mapping[str, str]:
        """Framework, versions, flags and the device."""
        return describe(self.device)

    def run(self, call: Call) -> Answer:
        """Compute one operator."""
        if call.op not in OPERATORS:
            raise Unsupported(f"{self.name} has no {call.op}")
        held = {name: guarded(array, self.device) for name, array in call.inputs.items()}
        inputs = {name: each.tensor for name, each in held.items()}
        # On the CPU there is nowhere to fall back to, and a census costs each operator a call into Python.
        census = None if self.device == "cpu" else Census(self.device)
        with torch.inference_mode(), warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            with census or nullcontext():
                outputs = OPERATORS[call.op](call, inputs)
        where = {str(tensor.device) for tensor in outputs.values()}
        return Answer(
            outputs={name: to_array(tensor) for name, tensor in outputs.items()},
            device=", ".join(sorted(where)),
            fallback=(census.fallback() if census else None) or _told_fallback(said),
            wrote=next((f"{name}: {what}" for name, each in held.items() if (what := each.changed())), None),
        )


def _told_fallback(said: Sequence[warnings.WarningMessage]) -> str | None:
    words = (str(each.message).strip().splitlines()[0] for each in said)
    return next((text[:200] for text in words if "fall back" in text or "fallback" in text), None)
