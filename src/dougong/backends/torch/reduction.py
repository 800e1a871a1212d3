"""Reductions and scans by PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]

_REDUCE: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {
    "sum": lambda x, axis: torch.sum(x, dim=axis),
    "mean": lambda x, axis: torch.mean(x, dim=axis),
    "vector_norm": lambda x, axis: torch.linalg.vector_norm(x, dim=axis),  # pyright: ignore
    "max": lambda x, axis: torch.amax(x, dim=axis),
    "min": lambda x, axis: torch.amin(x, dim=axis),
    "cumsum": lambda x, axis: torch.cumsum(x, dim=axis),
    "sum_integers": lambda x, axis: torch.sum(x, dim=axis),
    "cumsum_integers": lambda x, axis: torch.cumsum(x, dim=axis),
}


def _reduce(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    return {"y": _REDUCE[call.op](inputs["x"], int(call.get("axis", -1)))}


OPERATORS = dict.fromkeys(_REDUCE, _reduce)
