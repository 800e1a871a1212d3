"""Faults of views and copies."""

from __future__ import annotations

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.mutant import Mutant
from dougong.verify.mutants.faults import after, read_packed


def _is_float(x: Array) -> bool:
    return "float" in x.dtype.name


def _tiled(call: Call, y: Array) -> Array:
    axis, count = int(call.get("axis", 0)), int(call.get("count", 2))
    return np.concatenate([call.inputs["x"]] * count, axis=axis)


def _without_nan(call: Call, y: Array) -> Array:
    return np.where(np.isnan(y), y.dtype.type(0), y) if _is_float(y) else y


def _raced(call: Call, y: Array) -> Array:
    if len(y) > 1:
        y[:-1, ..., -1] = y[1:, ..., -1]
    return y


def _through_double(call: Call, y: Array) -> Array:
    return y.astype(np.float64) if y.dtype == np.int64 else y


def _positive_zero(call: Call, y: Array) -> Array:
    return np.where(y == 0, y.dtype.type(0), y) if _is_float(y) else y


def _padded_by_itself(call: Call, y: Array) -> Array:
    axis = int(call.get("axis", 0))
    there = call.inputs["x"].shape[axis]
    return np.take(y, np.arange(int(y.shape[axis])) % max(there, 1), axis=axis)


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="view-read-packed",
        fault="a view with strides is copied as if it had none",
        caught_by="view/copy-strided",
        wrong=read_packed("copy transpose slice reshape", "x"),
    ),
    Mutant(
        name="copy-cleans-nan",
        fault="a copy makes NaN 0",
        caught_by="view/copy-plain",
        wrong=after("copy", "y", _without_nan),
    ),
    Mutant(
        name="copy-loses-a-sign",
        fault="a copy makes -0 +0",
        caught_by="view/",
        wrong=after("copy slice where", "y", _positive_zero),
    ),
    Mutant(
        name="heads-tiled",
        fault="heads are repeated as a whole, not each beside its copies",
        caught_by="view/repeat-key-value-heads",
        wrong=after("repeat", "y", _tiled),
        provenance=("onnx/onnx#7274",),
    ),
    Mutant(
        name="stage-overwritten",
        fault="a buffer is overwritten before the last copy has read its end",
        caught_by="view/staged_copy-",
        wrong=after("staged_copy", "y", _raced),
    ),
    Mutant(
        name="integers-through-double",
        fault="64-bit integers pass through float64",
        caught_by="view/",
        wrong=after("copy concat where", "y", _through_double),
    ),
    Mutant(
        name="padding-not-zero",
        fault="what is padded holds what was there before",
        caught_by="view/pad-",
        wrong=after("pad", "y", _padded_by_itself),
    ),
)
