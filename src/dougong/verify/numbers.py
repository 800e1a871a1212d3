"""Inputs of cases: random numbers in any dtype, and the special ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dougong.backends import Array
from dougong.backends.dtypes import dtype_of

__all__ = ["dtype_of", "normal"]


def normal(generator: np.random.Generator, shape: Sequence[int], dtype: str, *, scale: float = 1.0) -> Array:
    """Normal numbers, rounded once to ``dtype``."""
    return (generator.standard_normal(shape, np.float32) * np.float32(scale)).astype(dtype_of(dtype))
