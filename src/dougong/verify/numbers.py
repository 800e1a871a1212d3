"""Inputs of cases: random numbers in any dtype, and the special ones."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np

from dougong.backends import Array


def dtype_of(name: str) -> np.dtype[np.generic]:
    """Return the numpy dtype of a name, those of ml_dtypes among them."""
    return np.dtype(getattr(ml_dtypes, name, name))


def normal(generator: np.random.Generator, shape: Sequence[int], dtype: str, *, scale: float = 1.0) -> Array:
    """Normal numbers, rounded once to ``dtype``."""
    return (generator.standard_normal(shape, np.float32) * np.float32(scale)).astype(dtype_of(dtype))
