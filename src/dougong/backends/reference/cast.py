"""Casts, as exact numbers that are rounded when they are held against an answer."""

from __future__ import annotations

import numpy as np

from dougong.backends.dtypes import rounded
from dougong.backends.port import Array, Call

_LARGEST = {
    "float32": (2 - 2.0**-23) * 2.0**127,
    "float16": 65504.0,
    "bfloat16": (2 - 2.0**-7) * 2.0**127,
    "float8_e4m3fn": 448.0,
    "float8_e5m2": 57344.0,
}
_SMALLEST_NORMAL = {
    "float32": 2.0**-126,
    "float16": 2.0**-14,
    "bfloat16": 2.0**-126,
    "float8_e4m3fn": 2.0**-6,
    "float8_e5m2": 2.0**-14,
}
_INTEGERS = ("int8", "uint8", "int32", "int64")


def cast(call: Call) -> dict[str, Array]:
    """Round to the target; integers drop the fraction."""
    x, to = call.inputs["x"], str(call.get("to", "float32"))
    if to in _INTEGERS:
        return {"y": _to_integer(x, to, call.answer_to("integer_cast"))}
    if x.dtype.kind in "iu":
        return {"y": rounded(x, to) if to != "bool" else x != 0}
    value = x.astype(np.float64)
    if to == "bool":
        return {"y": value != 0}
    largest = _LARGEST[to]
    if to == "float8_e4m3fn":  # it has no infinity: saturating takes infinities along
        if call.answer_to("float8_overflow") == "saturates":
            value = np.clip(value, -largest, largest)
    elif call.answer_to("overflow") == "saturates":
        value = np.where(np.isinf(value), value, np.clip(value, -largest, largest))
    if call.answer_to("subnormals") == "flushed":
        value = np.where(np.abs(value) < _SMALLEST_NORMAL[to], np.copysign(0.0, value), value)
    return {"y": value}


def fits(x: Array, to: str) -> Array:
    """Where the integer dtype holds the number, its fraction dropped."""
    info = np.iinfo(to)
    if x.dtype.kind in "iub":
        return (x >= info.min) & (x <= info.max)
    value = np.trunc(x.astype(np.float64))
    return (value >= info.min) & (value < float(info.max) + 1.0)


def _to_integer(x: Array, to: str, answer: str) -> Array:
    info, held = np.iinfo(to), fits(x, to)
    if x.dtype.kind in "iub":
        if answer == "wraps":
            return x.astype(to)
        return np.clip(x, info.min, info.max).astype(to)
    value = np.where(np.isnan(x), 0.0, np.trunc(x.astype(np.float64)))
    safe = np.where(held, value, 0.0).astype(to)
    if answer == "wraps":
        # What does not even fit 64 bits has no bits to keep.
        wide = np.where(np.abs(value) < 2.0**63, value, 0.0).astype(np.int64)
        return np.where(held, safe, wide.astype(to))
    return np.where(held, safe, np.where(value > 0, info.max, np.where(value < 0, info.min, 0)).astype(to))


def cast_round_trip(call: Call) -> dict[str, Array]:
    """Round once to the narrow dtype, unless told that the trip is elided."""
    x = call.inputs["x"]
    if call.answer_to("half_round_trip") == "elided":
        return {"y": x}
    return {"y": rounded(x.astype(np.float64), str(call.get("through", "bfloat16"))).astype(np.float32)}


FORMULAS = {"cast": cast, "cast_round_trip": cast_round_trip}
