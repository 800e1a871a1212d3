"""Views and copies by PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]

_AS_BITS = {1: torch.uint8}
"""Dtypes of 8 bits have few kernels of their own: they travel as bytes."""


def _slice(call: Call, inputs: Tensors) -> torch.Tensor:
    x = inputs["x"]
    start, stop, step = (
        int(call.get(name, usual)) for name, usual in (("start", 0), ("stop", 1), ("step", 1))
    )
    cut = [slice(None)] * x.dim()
    cut[int(call.get("axis", 0))] = slice(start, stop, step)
    return x[tuple(cut)]


def _pad(call: Call, inputs: Tensors) -> torch.Tensor:
    x, axis = inputs["x"], int(call.get("axis", 0)) % inputs["x"].dim()
    after = [0] * (2 * x.dim())
    after[2 * (x.dim() - 1 - axis) + 1] = int(call.get("extent", 1)) - x.shape[axis]
    return torch.nn.functional.pad(x, after)


def _staged(call: Call, inputs: Tensors) -> torch.Tensor:
    x = inputs["x"]
    stage, y = torch.empty_like(x[0]), torch.empty_like(x)
    for row in range(x.shape[0]):
        stage.copy_(x[row], non_blocking=True)
        y[row].copy_(stage, non_blocking=True)
    return y


_VIEWS: dict[str, Callable[[Call, Tensors], torch.Tensor]] = {
    "copy": lambda call, inputs: inputs["x"].clone(memory_format=torch.contiguous_format),
    "transpose": lambda call, inputs: inputs["x"].permute(*call.get("axes", (1, 0))).contiguous(),
    "slice": _slice,
    "reshape": lambda call, inputs: inputs["x"].reshape(tuple(call.get("shape", (-1,)))),
    "concat": lambda call, inputs: torch.cat([inputs["x"], inputs["other"]], dim=int(call.get("axis", 0))),
    "repeat": lambda call, inputs: inputs["x"].repeat_interleave(
        int(call.get("count", 2)), dim=int(call.get("axis", 0))
    ),
    "pad": _pad,
    "where": lambda call, inputs: torch.where(inputs["mask"], inputs["x"], inputs["other"]),
    "flip": lambda call, inputs: inputs["x"].flip(int(call.get("axis", 0))),
    "roll": lambda call, inputs: inputs["x"].roll(int(call.get("shift", 1)), dims=int(call.get("axis", 0))),
    "staged_copy": _staged,
}


def _view(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    dtype = inputs["x"].dtype
    carried = _AS_BITS.get(dtype.itemsize, dtype)
    bits = {name: each.view(carried) if each.dtype == dtype else each for name, each in inputs.items()}
    return {"y": _VIEWS[call.op](call, bits).view(dtype)}


OPERATORS = dict.fromkeys(_VIEWS, _view)
