"""Inputs of cases: random numbers in any dtype, the special ones, and views with awkward strides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dougong.backends import Array
from dougong.backends.dtypes import dtype_of

__all__ = ["LAYOUTS", "cast", "dtype_of", "filled", "integers", "laid_out", "normal", "positive", "signs"]


def normal(generator: np.random.Generator, shape: Sequence[int], dtype: str, *, scale: float = 1.0) -> Array:
    """Normal numbers, rounded once to ``dtype``."""
    return (generator.standard_normal(shape, np.float32) * np.float32(scale)).astype(dtype_of(dtype))


def positive(
    generator: np.random.Generator, shape: Sequence[int], dtype: str, *, scale: float = 1.0
) -> Array:
    """Uniform numbers in (0, ``scale``], rounded once to ``dtype``: sums of them have no cancellation."""
    return ((1.0 - generator.random(shape, np.float32)) * np.float32(scale)).astype(dtype_of(dtype))


def integers(generator: np.random.Generator, shape: Sequence[int], dtype: str, *, most: int) -> Array:
    """Whole numbers from ``-most`` to ``most``: their sums are exact in any order, up to the width of the sum."""
    return generator.integers(-most, most, shape, np.int8, endpoint=True).astype(dtype_of(dtype))


def signs(generator: np.random.Generator, shape: Sequence[int], dtype: str) -> Array:
    """Ones and minus ones."""
    return (generator.integers(0, 2, shape, np.int8) * 2 - 1).astype(dtype_of(dtype))


def filled(shape: Sequence[int], dtype: str, value: float = 1.0) -> Array:
    """One number everywhere."""
    return np.full(tuple(shape), value, np.float64).astype(dtype_of(dtype))


def cast(values: object, dtype: str) -> Array:
    """Return given numbers, rounded once from float32 to ``dtype``."""
    return np.asarray(values, np.float32).astype(dtype_of(dtype))


LAYOUTS = ("transposed", "column-slice", "row-slice", "offset", "every-other", "expanded")
"""Ways in which a matrix may lie in memory; see :func:`laid_out`."""


def seams(n: int, step: int) -> NDArray[np.intp]:
    """Every ``step``-th place of ``n``, the one before it, and the last."""
    return np.unique(np.concatenate([np.arange(0, n, step), np.arange(step - 1, n, step), [n - 1]]))


def laid_out(array: Array, layout: str) -> Array:
    """Return a matrix of the same values as ``array`` as a view with the strides of ``layout``.

    ``expanded`` repeats the first row with stride 0, so its values are those of that row.
    """
    *batch, rows, columns = array.shape
    if layout == "transposed":
        return np.ascontiguousarray(array.swapaxes(-1, -2)).swapaxes(-1, -2)
    if layout == "expanded":
        return np.broadcast_to(array[..., :1, :], array.shape)
    # What lies around the view is NaN or a large number: whoever reads past it is seen.
    around = np.nan if array.dtype.kind in "fV" else 77
    extents, place = {
        "column-slice": ((rows, columns + 13), (slice(None), slice(5, 5 + columns))),
        "row-slice": ((rows + 3, columns), (slice(2, 2 + rows), slice(None))),
        "offset": ((rows + 1, columns + 3), (slice(1, None), slice(3, None))),
        "every-other": ((rows, 2 * columns), (slice(None), slice(None, None, 2))),
    }[layout]
    base = np.full((*batch, *extents), around, np.float32).astype(array.dtype)
    view = base[(..., *place)]
    view[...] = array
    return view


def every(dtype: str) -> Array:
    """Every number of a dtype of 16 bits but NaN, in the order of their bits."""
    values = np.arange(1 << 16, dtype=np.uint16).view(dtype_of(dtype))
    return values[~np.isnan(values.astype(np.float32))]


def spread(
    generator: np.random.Generator, count: int, dtype: str, low: float, high: float, *, signed: bool = True
) -> Array:
    """Numbers whose magnitudes lie evenly on a logarithmic scale between ``low`` and ``high``."""
    size = np.exp2(generator.uniform(np.log2(low), np.log2(high), count))
    sign = np.where(generator.random(count) < 0.5, -1.0, 1.0) if signed else 1.0
    return (size * sign).astype(dtype_of(dtype))


def bits(generator: np.random.Generator, shape: Sequence[int], dtype: str) -> Array:
    """Any bit patterns of a dtype, NaN of every payload among them: what a copy must not change."""
    item = np.dtype(dtype_of(dtype)).itemsize
    return generator.integers(0, 256, (*shape[:-1], shape[-1] * item), np.uint8).view(dtype_of(dtype))
