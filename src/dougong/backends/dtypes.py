"""Names of dtypes, and which of them an output must have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import ml_dtypes
import numpy as np

from dougong.backends.port import Array, Call
from dougong.ops.definition import FLOATS, Definition

_CLASSES = {"index": ("int64", "int32")}


def dtype_of(name: str) -> np.dtype[np.generic]:
    """Return the numpy dtype of a name, those of ml_dtypes among them."""
    return np.dtype(getattr(ml_dtypes, name, name))


def limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the smallest normal and the largest number of a float dtype."""
    info = cast(Any, ml_dtypes.finfo(dtype))
    return float(info.smallest_normal), float(info.max)


def dtype_under_test(call: Call) -> str:
    """Return the float dtype of a call: that of its first float input."""
    names = (array.dtype.name for array in call.inputs.values())
    return next((name for name in names if name in FLOATS), str(call.get("dtype", "float32")))


def output_dtypes(definition: Definition, call: Call, dtype: str) -> dict[str, tuple[str, ...]]:
    """Return the dtypes that each output may have, the usual one first.

    Parameters
    ----------
    dtype
        The dtype under test: that of outputs whose kind is ``float``.
    """
    return {each.name: _names(each.kind, definition, call, dtype) for each in definition.outputs}


def _names(kind: str, definition: Definition, call: Call, dtype: str) -> tuple[str, ...]:
    if kind == "float":
        return (dtype,)
    if kind.startswith("@"):
        return (str(call.get(kind[1:], definition.attributes.get(kind[1:]))),)
    if kind.startswith("="):
        return (call.inputs[kind[1:]].dtype.name,)
    return _CLASSES.get(kind, (kind,))


def rounded(value: Array, dtype: str) -> Array:
    """Round a float64 or integer result to a dtype once: to nearest even, overflow to infinity."""
    value, wanted = np.asarray(value), dtype_of(dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        if value.dtype == np.float64 and wanted.type.__module__ == ml_dtypes.__name__:
            value = _to_odd(value)
        return value.astype(wanted)


def _to_odd(value: Array) -> Array:
    # ml_dtypes goes through float32; a last bit set where that was inexact keeps it from rounding twice.
    single = value.astype(np.float32)
    inexact = np.isfinite(single) & (single.astype(np.float64) != value)
    away = inexact & (np.abs(single.astype(np.float64)) > np.abs(value))
    single = np.where(away, np.nextafter(single, np.float32(0)), single)
    return (single.view(np.uint32) | inexact.astype(np.uint32)).view(np.float32)


def rounded_outputs(
    definition: Definition, call: Call, exact: Mapping[str, Array], dtype: str
) -> dict[str, Array]:
    """Round every output to the usual dtype of it."""
    names = output_dtypes(definition, call, dtype)
    return {name: rounded(value, names[name][0]) for name, value in exact.items()}
