"""What ran where: every operator of ATen that a call came down to, and those that left the device under test."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Census(TorchDispatchMode):
    """Counts operators by name, on the device and off it.

    An operator is off the device where it takes or gives a tensor of one or more dimensions that lies elsewhere; a
    number on the host (a scalar tensor) is none.
    """

    def __init__(self, device: str) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.kind = torch.device(device).type
        self.on: Counter[str] = Counter()
        self.off: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run the operator and count it."""
        result = func(*args, **(kwargs or {}))
        leaves: list[Any] = [*tree_leaves((args, kwargs)), *tree_leaves(result)]
        kinds = {leaf.device.type for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.ndim}
        (self.off if kinds - {self.kind} else self.on)[str(func)] += 1
        return result

    def fallback(self) -> str | None:
        """Say what was computed elsewhere; ``None`` where nothing was."""
        if self.off:
            names = ", ".join(f"{name} ×{count}" for name, count in self.off.most_common(3))
            return f"ran off the device: {names}"
        return None
