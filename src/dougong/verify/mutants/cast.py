"""Faults of casts."""

from __future__ import annotations

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.dtypes import rounded
from dougong.verify.mutant import Mutant
from dougong.verify.mutants.faults import after, instead, wide


def _wrapped(call: Call, y: Array) -> Array:
    if str(call.get("to")) != "float8_e4m3fn":
        return y
    x = wide(call.inputs["x"])
    return np.where(
        np.abs(x) > 464, rounded(np.nan_to_num(x) / 65536.0, "float8_e4m3fn").astype(np.float64), wide(y)
    )


def _toward_zero(call: Call, y: Array) -> Array:
    if str(call.get("to")) != "bfloat16" or call.inputs["x"].dtype != np.float32:
        return y
    bits = (np.ascontiguousarray(call.inputs["x"]).view(np.uint32) >> 16).astype(np.uint16).view(y.dtype)
    return np.where(np.isfinite(wide(call.inputs["x"])), bits, y)


def _ties_away(call: Call, y: Array) -> Array:
    """Half a step goes up, as adding it and cutting does."""
    if str(call.get("to")) != "bfloat16" or call.inputs["x"].dtype != np.float32:
        return y
    bits = np.ascontiguousarray(call.inputs["x"]).view(np.uint32)
    return np.where(
        np.isfinite(wide(call.inputs["x"])), ((bits + 0x8000) >> 16).astype(np.uint16).view(y.dtype), y
    )


def _elided(call: Call) -> dict[str, Array]:
    return {"y": call.inputs["x"]}


def _unsigned_zero(call: Call, y: Array) -> Array:
    return wide(y) + 0.0 if y.dtype.kind != "b" else y


def _nearest(call: Call, y: Array) -> Array:
    x = wide(call.inputs["x"])
    info = np.iinfo(y.dtype) if y.dtype.kind in "iu" else None
    return (
        y
        if info is None
        else np.where(np.isfinite(x), np.clip(np.round(np.nan_to_num(x)), info.min, info.max), y)
    )


def _flushed(call: Call, y: Array) -> Array:
    least = {"float16": 2.0**-14, "float8_e4m3fn": 2.0**-6, "float8_e5m2": 2.0**-14}.get(str(call.get("to")))
    return y if least is None else np.where(np.abs(wide(y)) < least, 0.0, wide(y))


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="f8-cast-wraps",
        fault="what is too large for float8 comes out small",
        caught_by="cast/overflow-to-float8_e4m3fn",
        wrong=after("cast", "y", _wrapped),
    ),
    Mutant(
        name="bf16-cast-truncates",
        fault="float32 is cut to bfloat16 instead of rounded",
        caught_by="cast/ties-to-bfloat16",
        wrong=after("cast", "y", _toward_zero),
    ),
    Mutant(
        name="bf16-ties-away",
        fault="a tie between two bfloat16 goes to the larger, not to the even one",
        caught_by="cast/ties-to-bfloat16",
        wrong=after("cast", "y", _ties_away),
    ),
    Mutant(
        name="round-trip-elided",
        fault="a cast to bfloat16 and back is optimised away",
        caught_by="cast/round-trip-bfloat16",
        wrong=instead("cast_round_trip", _elided),
        provenance=("pytorch/pytorch#176565",),
    ),
    Mutant(
        name="cast-zero-unsigned",
        fault="a negative zero loses its sign",
        caught_by="cast/infinity-to",
        wrong=after("cast", "y", _unsigned_zero),
    ),
    Mutant(
        name="integer-cast-rounds",
        fault="a cast to an integer rounds instead of dropping the fraction",
        caught_by="cast/whole-to-int8",
        wrong=after("cast", "y", _nearest),
    ),
    Mutant(
        name="cast-subnormals-flushed",
        fault="subnormal results become zero",
        caught_by="cast/subnormal-to",
        wrong=after("cast", "y", _flushed),
    ),
)
