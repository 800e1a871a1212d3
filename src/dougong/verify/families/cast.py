"""Casts: every code of the narrow dtypes, every tie between two of them, and what does not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Unpack

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.bound import LARGEST, SMALLEST_NORMAL
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.families.listing import Details, listed
from dougong.verify.numbers import LAYOUTS, cast, dtype_of, laid_out, normal

Generator = np.random.Generator

_NARROW = ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2")
_PAIRS = (
    ("float32", "float16"),
    ("float32", "bfloat16"),
    ("float32", "float8_e4m3fn"),
    ("float32", "float8_e5m2"),
    ("float16", "float32"),
    ("float16", "bfloat16"),
    ("float16", "float8_e4m3fn"),
    ("float16", "float8_e5m2"),
    ("bfloat16", "float32"),
    ("bfloat16", "float16"),
    ("bfloat16", "float8_e4m3fn"),
    ("bfloat16", "float8_e5m2"),
)
_INTEGERS = ("int8", "uint8", "int32", "int64")


def codes(dtype: str) -> Array:
    """Every value of a dtype of 8 or 16 bits, in the order of its bits."""
    wanted = dtype_of(dtype)
    unsigned = np.uint8 if wanted.itemsize == 1 else np.uint16
    return np.arange(2 ** (8 * wanted.itemsize), dtype=np.uint32).astype(unsigned).view(wanted)


def _wide(values: Array) -> Array:
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        return values.astype(np.float64)


def _finite(dtype: str) -> Array:
    values = _wide(codes(dtype))
    return np.unique(values[np.isfinite(values)])


def _ties(to: str) -> Array:
    """Return what lies halfway between two neighbours of ``to``, and one float32 beside it on both sides."""
    values = _finite(to)
    values = values[np.abs(values) >= SMALLEST_NORMAL[to]]
    half = ((values[1:] + values[:-1]) / 2)[np.abs(values[1:] - values[:-1]) < 1e38].astype(np.float32)
    half = half[np.abs(half) >= SMALLEST_NORMAL[to]]
    return np.concatenate((half, np.nextafter(half, np.float32(0)), np.nextafter(half, np.float32(np.inf))))


def _row(values: Array) -> Array:
    return values.reshape(1, -1)


def _call(generator: Generator, *, x: Callable[[], Array], to: str) -> Call:
    del generator
    return Call(op="cast", inputs={"x": _row(x())}, attributes={"to": to})


def _random(generator: Generator, *, dtype: str, to: str, shape: tuple[int, int], layout: str | None) -> Call:
    x = normal(generator, shape, dtype)
    return Call(op="cast", inputs={"x": laid_out(x, layout) if layout else x}, attributes={"to": to})


def _all_that_fit(dtype: str, to: str) -> Array:
    """Return every value of ``dtype`` that is normal or zero in ``to`` and does not overflow."""
    values = codes(dtype)
    wide = np.abs(_wide(values))
    largest, least = LARGEST[to], SMALLEST_NORMAL[to]
    return values[~((wide > largest) & np.isfinite(wide)) & ((wide >= least) | (wide == 0)) & ~np.isinf(wide)]


def _subnormal(to: str) -> Array:
    values = _finite(to)
    values = values[(np.abs(values) < SMALLEST_NORMAL[to]) & (values != 0)]
    between = (values[1:] + values[:-1]) / 2
    if to == "bfloat16":  # half a step of it is a subnormal float32: kept in the same switch
        between = values[:-1] + (values[1:] - values[:-1]) * 0.25
    return np.concatenate((values, between)).astype(np.float32)


def _too_large(dtype: str, to: str) -> Array:
    largest = LARGEST[to]
    steps = np.array([1.0, 1.0 + 2.0**-12, 1.03, 1.04, 1.07, 1.25, 2.0, 3.0, 1000.0])
    beyond = np.concatenate((steps, -steps)) * largest
    beyond = beyond[np.abs(beyond) <= LARGEST[dtype]]
    return beyond.astype(np.float32).astype(dtype_of(dtype))


def _integral(generator: Generator, *, dtype: str, to: str) -> Call:
    info = np.iinfo(to)
    wide = generator.uniform(max(info.min, -60000), min(info.max, 60000), 4000)
    near = np.concatenate((np.arange(0, 120) + 0.5, np.arange(0, 120) + 0.999, np.array([0.0, 0.1, 126.99])))
    near = near if info.min == 0 else np.concatenate((near, -near))
    x = np.concatenate((wide, near)).astype(np.float32).astype(dtype_of(dtype))
    value = np.trunc(x.astype(np.float64))
    x = x[(value >= info.min) & (value <= info.max)]
    return Call(op="cast", inputs={"x": _row(x)}, attributes={"to": to})


def _from_integers(generator: Generator, *, dtype: str, to: str) -> Call:
    info = np.iinfo(dtype)
    x = generator.integers(info.min, info.max, 4000, dtype_of(dtype).type, endpoint=True)
    edges = [0, 1, info.max, info.min, 127, *((2**24 + 1, 2**24 + 3, 2**25 + 1) if info.max > 2**26 else ())]
    x = np.concatenate((np.array(edges, dtype), x))
    if to == "float16":
        x = x[np.abs(x.astype(np.float64)) <= 65504]
    return Call(op="cast", inputs={"x": _row(x)}, attributes={"to": to})


def _round_trip(generator: Generator, *, through: str) -> Call:
    x = np.concatenate((normal(generator, (4000,), "float32"), _ties(through)[:4000]))
    return Call(op="cast_round_trip", inputs={"x": _row(x)}, attributes={"through": through})


def _case(
    what: str,
    dtype: str,
    make: Callable[[Generator], Call],
    edge: str,
    *,
    op: str = "cast",
    **details: Unpack[Details],
) -> Case:
    details["exact"] = op != "cast" or "integer_cast" not in details.get("switches", ())
    return listed("cast", op, what, dtype, make, edge, **details)


def _overflow_switch(to: str) -> str:
    return "float8_overflow" if to == "float8_e4m3fn" else "overflow"


def _floats() -> Iterator[Case]:
    for dtype, to in _PAIRS:
        if dtype != "float32":
            yield _case(
                f"every-to-{to}",
                dtype,
                partial(_call, x=partial(_all_that_fit, dtype, to), to=to),
                "every number that fits, rounded once",
                profile="smoke" if to == "float8_e4m3fn" else "standard",
            )
        for shape in ((1, 1), (3, 257), (64, 1000)):
            yield _case(
                f"m{shape[0]}-k{shape[1]}-to-{to}",
                dtype,
                partial(_random, dtype=dtype, to=to, shape=shape, layout=None),
                "a tail that fills no vector",
            )
        if to in _NARROW:
            yield _case(
                f"overflow-to-{to}",
                dtype,
                partial(_call, x=partial(_too_large, dtype, to), to=to),
                "what is too large wraps, saturates or becomes infinity",
                switches=(_overflow_switch(to),),
                provenance=("DeepLink-org/deeplink.framework#684",) if to == "float16" else (),
                profile="smoke" if dtype == "float32" else "standard",
            )
            yield _case(
                f"infinity-to-{to}",
                dtype,
                partial(_call, x=partial(cast, [np.inf, -np.inf, 1.0, np.nan, -0.0, 0.0], dtype), to=to),
                "infinities, NaN and the sign of zero",
                switches=("float8_overflow",) if to == "float8_e4m3fn" else (),
            )
    for dtype, to in _PAIRS:
        yield _case(
            f"extents-to-{to}",
            dtype,
            partial(_random, dtype=dtype, to=to, shape=(130, 300), layout=None),
            OTHER_EXTENT,
            relations=("cuts:m", "cuts:k", "layouts", "again"),
            profile="smoke" if (dtype, to) == ("float32", "bfloat16") else "standard",
        )
    for to in _NARROW:
        yield _case(
            f"ties-to-{to}",
            "float32",
            partial(_call, x=partial(_ties, to), to=to),
            "halfway between two neighbours goes to the even one; truncation, rounding away",
            profile="smoke",
        )
        yield _case(
            f"subnormal-to-{to}",
            "float32",
            partial(_call, x=partial(_subnormal, to), to=to),
            "subnormal results and the ties between them",
            switches=("subnormals",),
        )
    for dtype in ("float8_e4m3fn", "float8_e5m2"):
        for to in ("float32", "float16", "bfloat16"):
            yield _case(
                f"every-to-{to}",
                dtype,
                partial(_call, x=partial(codes, dtype), to=to),
                "every code of 8 bits, NaN and infinities among them",
                profile="smoke" if to == "bfloat16" else "standard",
            )
    for layout in LAYOUTS:
        for dtype, to in (("float32", "bfloat16"), ("bfloat16", "float32"), ("float32", "float8_e4m3fn")):
            yield _case(
                f"{layout}-to-{to}",
                dtype,
                partial(_random, dtype=dtype, to=to, shape=(33, 70), layout=layout),
                "strides taken for granted",
            )
    for through in ("bfloat16", "float16"):
        yield _case(
            f"round-trip-{through}",
            "float32",
            partial(_round_trip, through=through),
            "a compiler that drops the round trip and with it the rounding",
            op="cast_round_trip",
            switches=("half_round_trip",),
            provenance=("pytorch/pytorch#176565", "pytorch/pytorch#183761"),
            profile="smoke" if through == "bfloat16" else "standard",
        )


def _whole() -> Iterator[Case]:
    for dtype in ("float32", "float16", "bfloat16"):
        for to in _INTEGERS:
            yield _case(
                f"whole-to-{to}",
                dtype,
                partial(_integral, dtype=dtype, to=to),
                "the fraction is dropped, not rounded",
                profile="smoke" if dtype == "float32" and to == "int8" else "standard",
            )
        yield _case(
            "to-bool",
            dtype,
            partial(_call, x=partial(cast, [0.0, -0.0, 0.4, -3.0, 1e-4, 300.0, np.inf], dtype), to="bool"),
            "anything but zero is true, half included",
        )
    unfit = [300.0, -300.0, 127.0, 128.0, 255.0, 256.0, np.nan, np.inf, -np.inf, 1e10, -1e10, 3.0]
    for to in ("int8", "uint8", "int32"):
        yield _case(
            f"unfit-to-{to}",
            "float32",
            partial(_call, x=partial(cast, unfit, "float32"), to=to),
            "NaN, infinity and what does not fit",
            switches=("integer_cast",),
        )
    for dtype, to in (
        ("int8", "float16"),
        ("uint8", "float16"),
        ("int8", "bfloat16"),
        ("int32", "float32"),
        ("int32", "float16"),
        ("int64", "float32"),
        ("int64", "bfloat16"),
        ("int32", "int64"),
        ("int8", "int32"),
    ):
        yield _case(
            f"from-integers-to-{to}",
            dtype,
            partial(_from_integers, dtype=dtype, to=to),
            "integers beyond 2^24 are rounded to even, not through another dtype",
        )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    yield from _floats()
    yield from _whole()
