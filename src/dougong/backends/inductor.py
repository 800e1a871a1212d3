"""The adapter of PyTorch's compiler: the operators of the eager adapter, each as one compiled graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch

from dougong.backends.port import Answer, Call, Unsupported
from dougong.backends.torch.arrays import to_array, to_tensor
from dougong.backends.torch.backend import OPERATORS
from dougong.backends.torch.stack import check_device, describe

Tensors = dict[str, torch.Tensor]


class InductorBackend:
    """``torch.compile`` on one device, without a break in the graph.

    Parameters
    ----------
    device
        Any device string that this torch knows and inductor compiles for.

    Notes
    -----
    A graph that breaks would run in part eagerly: an operator that cannot be captured whole is unsupported.
    """

    def __init__(self, device: str = "cpu") -> None:
        check_device(device)
        self.device = device
        self.name = f"inductor-{device}"
        self._compiled: dict[str, Callable[[Tensors], Tensors]] = {}

    def describe(self) -> Mapping[str, str]:
        """Framework, versions, flags and the device."""
        return {**describe(self.device), "compiler": "inductor"}

    def run(self, call: Call) -> Answer:
        """Compile one operator for these shapes and run it."""
        if call.op not in OPERATORS:
            raise Unsupported(f"{self.name} has no {call.op}")
        inputs = {name: to_tensor(array, self.device) for name, array in call.inputs.items()}
        compiled = self._ready(call)
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outputs = _captured(compiled, inputs)
        where = {str(tensor.device) for tensor in outputs.values()}
        return Answer(
            outputs={name: to_array(tensor) for name, tensor in outputs.items()},
            device=", ".join(sorted(where)),
        )

    def _ready(self, call: Call) -> Callable[[Tensors], Tensors]:
        key = repr((call.op, sorted(call.attributes.items()), _seen(call)))
        if key not in self._compiled:
            self._compiled.clear()
            torch.compiler.reset()
            operator = OPERATORS[call.op]
            # Lengths and tables stand in the graph as they are; floats come through its inputs alone.
            fixed = {name: array for name, array in call.inputs.items() if array.dtype.kind in "iu"}
            kept = Call(op=call.op, inputs=fixed, attributes=call.attributes)

            def traced(inputs: Tensors) -> Tensors:
                return operator(kept, inputs)

            made = cast(Any, torch).compile(traced, fullgraph=True, dynamic=False, backend="inductor")
            self._compiled[key] = made
        return self._compiled[key]


def _captured(compiled: Callable[[Tensors], Tensors], inputs: Tensors) -> Tensors:
    from torch._dynamo import exc
    from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

    try:
        return compiled(inputs)
    except (exc.Unsupported, exc.UserError, GuardOnDataDependentSymNode) as error:
        raise Unsupported(f"not captured as one graph: {str(error).strip().splitlines()[0]}") from error


def _seen(call: Call) -> list[tuple[Any, ...]]:
    return [
        (
            name,
            array.dtype.name,
            array.shape,
            array.strides,
            array.tobytes() if array.dtype.kind in "iu" else b"",
        )
        for name, array in call.inputs.items()
    ]
