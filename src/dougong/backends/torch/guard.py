"""Inputs on a device with guard zones around them, so that a kernel that writes beside its output is seen."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from dougong.backends.port import Array
from dougong.backends.torch.arrays import to_tensor
from dougong.backends.wire import beside

_GUARD_BYTES = 4096  # keeps the alignment that kernels choose by
_PATTERN = 0xA5


@dataclass(frozen=True, slots=True)
class Guarded:
    """A tensor, the memory that it lies in, what all of it held, and where in it the tensor starts [byte].

    There is no memory where the device has no such views.
    """

    tensor: torch.Tensor
    memory: torch.Tensor | None = None
    before: torch.Tensor | None = None
    start: int = _GUARD_BYTES

    def changed(self) -> str | None:
        """Say what was written to: the tensor, or memory beside it."""
        if self.memory is None or self.before is None or torch.equal(self.memory, self.before):
            return None
        inner = slice(self.start, -_GUARD_BYTES)
        same = torch.equal(self.memory[inner], self.before[inner])
        return "memory beside the input" if same else "the input itself"


def guarded(array: Array, device: str) -> Guarded:
    """Copy an array to a device between guard zones, strides and expanded axes kept."""
    host = to_tensor(array, "cpu")
    if not host.numel():
        return Guarded(host.to(device))
    span = 1 + sum((extent - 1) * step for extent, step in zip(host.shape, host.stride(), strict=True))
    size = span * host.element_size()
    flat = torch.as_strided(host, (span,), (1,)).view(torch.uint8)
    try:
        start = _GUARD_BYTES + beside(array)
        memory = torch.full((start + size + _GUARD_BYTES,), _PATTERN, dtype=torch.uint8, device=device)
        memory[start : start + size] = flat.to(device)
        inner = memory[start : start + size].view(host.dtype)
        tensor = torch.as_strided(inner, host.shape, host.stride())
        return Guarded(tensor, memory, memory.clone(), start)
    except (RuntimeError, NotImplementedError):  # a device whose tensors are no plain memory
        return Guarded(to_tensor(array, device))
