"""The operators that JAX is asked for, by family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from dougong.backends.jax import (
    attention,
    dense,
    elementwise,
    experts,
    index,
    normalisation,
    paged,
    quantised,
    recurrence,
    rotary,
    sampling,
)
from dougong.backends.port import Call

Run = Callable[[Call, dict[str, Any]], dict[str, Any]]

_KINDS = (
    attention, dense, elementwise, experts, index, normalisation, paged, quantised, recurrence, rotary, sampling,
)  # fmt: skip

OPERATORS: Mapping[str, Run] = {name: run for kind in _KINDS for name, run in kind.OPERATORS.items()}
"""What computes an operator, by its name."""
