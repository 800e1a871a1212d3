"""Graphs by PyTorch: captured by the device where it can, else traced by ``torch.compile``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch

from dougong.backends.port import Call, Unsupported
from dougong.backends.reference.graph import inner
from dougong.ops.definition import Operand
from dougong.ops.definitions.graph import CAPTURED, PREFIX

Tensors = Mapping[str, torch.Tensor]
Run = Callable[[Call, Tensors], dict[str, torch.Tensor]]

_kept: dict[str, Callable[[Tensors], Tensors]] = {}


def graphs(operators: Mapping[str, Run], operands: Mapping[str, tuple[Operand, ...]]) -> dict[str, Run]:
    """Return the runs of all graphs, from those of the operators.

    Parameters
    ----------
    operands
        Inputs and outputs of each operator, outputs last.
    """
    return {
        f"{PREFIX}{name}": _graph(operators[name], operands[name]) for name in CAPTURED if name in operators
    }


def _graph(operator: Run, operands: tuple[Operand, ...]) -> Run:
    def run(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
        rows, axis = int(call.get("capture_rows", 0)), operands[-1].axes.partition(" ")[0]
        places = {each.name: each.axes.split().index(axis) for each in operands if axis in each.axes.split()}
        # Fresh copies: a graph is captured with tensors of its own.
        padded = {name: _padded(each, places.get(name), rows) for name, each in inputs.items()}
        replay = _captured(call, operator, padded)
        outputs = replay(padded)
        first = next(name for name in inputs if name in places)
        there = inputs[first].shape[places[first]]
        return {
            name: each.narrow(places[name], 0, there).clone() if rows and name in places else each
            for name, each in outputs.items()
        }

    return run


def _padded(tensor: torch.Tensor, axis: int | None, rows: int) -> torch.Tensor:
    """Fill up to ``rows`` with what must not leak: NaN, or index 0."""
    if axis is None or tensor.shape[axis] >= rows:
        return tensor.clone()
    shape = list(tensor.shape)
    shape[axis] = rows - tensor.shape[axis]
    garbage = torch.full(shape, float("nan") if tensor.is_floating_point() else 0, dtype=tensor.dtype)
    return torch.cat([tensor, garbage.to(tensor.device)], dim=axis)


def _captured(call: Call, operator: Run, inputs: Tensors) -> Callable[[Tensors], Tensors]:
    shapes = sorted(
        (name, str(each.dtype), tuple(each.shape), each.stride()) for name, each in inputs.items()
    )
    key = repr((call.op, sorted(call.attributes.items()), shapes))
    if key not in _kept:
        _kept.clear()
        kept = Call(op=inner(call).op, inputs={}, attributes=inner(call).attributes)
        device = next(iter(inputs.values())).device.type
        if device == "cuda" and not call.get("compiler"):
            _kept[key] = _cuda_graph(lambda tensors: operator(kept, tensors), inputs)
        else:
            _kept[key] = _compiled(
                lambda tensors: operator(kept, tensors), inputs, str(call.get("compiler", ""))
            )
    return _kept[key]


def _compiled(
    traced: Callable[[Tensors], Tensors], inputs: Tensors, compiler: str
) -> Callable[[Tensors], Tensors]:
    from torch._dynamo import exc

    if compiler == "inductor" and not (shutil.which("g++") or shutil.which("clang++")):
        raise Unsupported("inductor needs a C++ compiler: g++ or clang++")
    torch.compiler.reset()
    made = cast(Any, torch).compile(traced, fullgraph=True, dynamic=False, backend=compiler or "aot_eager")
    try:
        # With zeros first: what is baked into the graph is not what is asked.
        made({name: torch.zeros_like(each) for name, each in inputs.items()})
    except exc.Unsupported as error:
        raise Unsupported(f"not captured as one graph: {str(error).strip().splitlines()[0]}") from error
    return made


def _cuda_graph(run: Callable[[Tensors], Tensors], inputs: Tensors) -> Callable[[Tensors], Tensors]:
    cuda = cast(Any, torch.cuda)
    held = {name: torch.zeros_like(each) for name, each in inputs.items()}
    run(held)  # libraries allocate at their first call, which no graph may hold
    cuda.synchronize()
    graph = cuda.CUDAGraph()
    try:
        with cuda.graph(graph):
            outputs = run(held)
    except RuntimeError as error:
        raise Unsupported(f"not captured: {str(error).splitlines()[0]}") from error

    def replay(now: Tensors) -> Tensors:
        for name, each in now.items():
            held[name].copy_(each)
        graph.replay()
        cuda.synchronize()
        return {name: each.clone() for name, each in outputs.items()}

    return replay
