"""Elementary functions: every number of a 16-bit dtype, sweeps of float32, special values and thresholds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.dtypes import limits
from dougong.backends.reference.elementary import function
from dougong.ops.definition import FLOATS
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.numbers import dtype_of, every, normal, spread

_SWEEP = 1 << 15

_RANGE = {
    "exp": (1e-8, 87.3, True),
    "exp2": (1e-8, 127.0, True),
    "expm1": (1e-30, 88.0, True),
    "log": (1.2e-38, 3.4e38, False),
    "log2": (1.2e-38, 3.4e38, False),
    "log1p": (1e-30, 3.4e38, False),
    "sin": (1e-30, 3.4e38, True),
    "cos": (1e-8, 3.4e38, True),
    "tanh": (1e-30, 30.0, True),
    "erf": (1e-30, 8.0, True),
    "sqrt": (1.2e-38, 3.4e38, False),
    "rsqrt": (1.2e-38, 3.4e38, False),
    "reciprocal": (1.2e-38, 8.5e37, True),
    "softplus": (1e-8, 87.0, True),
    "sigmoid": (1e-8, 87.0, True),
}
"""Magnitudes from and to, and whether negative ones are asked too, by function."""

# Where the function is small beside its parts: what loses digits there is a naive formula.
_NEAR = {
    "log": 1.0,
    "log2": 1.0,
    "expm1": 0.0,
    "log1p": 0.0,
    "sin": np.pi,
    "cos": np.pi / 2,
    "softplus": -60.0,
}

# Finite on the left, infinite on the right: a kernel that gives up early, or saturates, is on the wrong side.
_OVERFLOW = {
    "exp": {
        "float32": ((80.0, 88.0, 88.3, 88.4, 88.6, 88.7, 88.72), (88.73, 89.0, 1e4, 3e38)),
        "float16": ((10.0, 11.0, 11.07, 11.08), (11.1, 12.0, 100.0, 65504.0)),
        "bfloat16": ((80.0, 88.0, 88.5), (89.0, 1e4, 3e38)),
    },
    "exp2": {"float32": ((127.0, 127.5, 127.99), (128.0, 129.0, 1e4))},
    "expm1": {"float32": ((88.0, 88.6, 88.7, 88.72), (88.73, 89.0, 1e4))},
}

# Results that every dtype holds exactly, with the sign of their zeros.
_EXACT = {
    "exp": (0.0, -0.0, np.inf, -np.inf, np.nan),
    "exp2": (0.0, -0.0, 1.0, -1.0, 10.0, -10.0, np.inf, -np.inf, np.nan),
    "expm1": (0.0, -0.0, np.inf, -np.inf, np.nan),
    "log": (1.0, 0.0, -0.0, -1.0, np.inf, -np.inf, np.nan),
    "log2": (1.0, 2.0, 8.0, 0.25, 0.0, -0.0, -1.0, np.inf, np.nan),
    "log1p": (0.0, -0.0, -1.0, -2.0, np.inf, np.nan),
    "sin": (0.0, -0.0, np.inf, -np.inf, np.nan),
    "cos": (0.0, -0.0, np.inf, -np.inf, np.nan),
    "tanh": (0.0, -0.0, 100.0, -100.0, np.inf, -np.inf, np.nan),
    "erf": (0.0, -0.0, 100.0, -100.0, np.inf, -np.inf, np.nan),
    "sqrt": (0.0, -0.0, 4.0, 0.25, -1.0, np.inf, -np.inf, np.nan),
    "rsqrt": (0.0, -0.0, 4.0, 0.25, -1.0, np.inf, np.nan),
    "reciprocal": (0.0, -0.0, 2.0, -0.5, np.inf, -np.inf, np.nan),
    "softplus": (np.inf, -np.inf, np.nan),
    "sigmoid": (0.0, -0.0, np.inf, -np.inf, np.nan),
}

_SUBNORMAL_RESULTS = {"exp": -90.0, "exp2": -130.0, "sigmoid": -90.0}
_SUBNORMAL_INPUTS = ("sin", "tanh", "sqrt", "log", "expm1", "log1p")


def _ordinary(op: str, x: Array) -> Array:
    """Those inputs that are normal and whose results are normal and well inside the dtype."""
    wide, (least, most) = x.astype(np.float64), limits(x.dtype)
    y = np.abs(function(op, wide))
    with np.errstate(invalid="ignore"):
        return x[(np.abs(wide) >= least) & np.isfinite(wide) & (y >= least) & (y <= 0.99 * most)]


def _every(_: np.random.Generator, *, op: str, dtype: str) -> Call:
    return Call(op=op, inputs={"x": _ordinary(op, every(dtype))})


def _sweep(generator: np.random.Generator, *, op: str, dtype: str) -> Call:
    low, high, signed = _RANGE[op]
    return Call(
        op=op, inputs={"x": _ordinary(op, spread(generator, _SWEEP, dtype, low, high, signed=signed))}
    )


def _activations(generator: np.random.Generator, *, op: str, dtype: str) -> Call:
    x = normal(generator, (4096,), dtype, scale=3.0)
    kept = _ordinary(op, np.abs(x) if not _RANGE[op][2] else x)
    return Call(op=op, inputs={"x": kept[: len(kept) // 64 * 64]})  # ends of vectors are asked by strides


def _strided(_: np.random.Generator, *, op: str, dtype: str) -> Call:
    x = _ordinary(op, every(dtype))
    wide = np.full((len(x), 2), np.nan, np.float32).astype(x.dtype)
    wide[:, 0] = x
    return Call(op=op, inputs={"x": wide[:, 0]})


def _near(generator: np.random.Generator, *, op: str) -> Call:
    centre = _NEAR[op] * (generator.integers(1, 5000, 4096) if op in ("sin", "cos") else 1.0)
    x = (centre + generator.standard_normal(4096) * np.exp2(-generator.uniform(0, 20, 4096))).astype(
        np.float32
    )
    return Call(op=op, inputs={"x": _ordinary(op, x)})


def _values(_: np.random.Generator, *, op: str, dtype: str, values: tuple[float, ...]) -> Call:
    return Call(op=op, inputs={"x": np.array(values, np.float64).astype(dtype_of(dtype))})


def _subnormal_results(generator: np.random.Generator, *, op: str, dtype: str) -> Call:
    start = _SUBNORMAL_RESULTS[op]
    return Call(op=op, inputs={"x": (start - 4.0 * generator.random(257)).astype(dtype_of(dtype))})


def _subnormal_inputs(generator: np.random.Generator, *, op: str, dtype: str) -> Call:
    return Call(op=op, inputs={"x": spread(generator, 257, dtype, 2.0**-132, 2.0**-127, signed=False)})


def _pair(generator: np.random.Generator, *, op: str, dtype: str) -> Call:
    x, other = (normal(generator, (4097,), dtype, scale=30.0) for _ in range(2))
    if op == "power":
        x, other = np.abs(x) + dtype_of(dtype).type(0.5), other / dtype_of(dtype).type(30)
    return Call(op=op, inputs={"x": x, "other": other})


def _frequencies(_: np.random.Generator, *, theta: float, rotary: int) -> Call:
    exponent = -np.arange(0, rotary, 2, dtype=np.float32) / np.float32(rotary)
    return Call(op="power", inputs={"x": np.full_like(exponent, theta), "other": exponent})


_GRID = (0.0, -0.0, 1.0, -1.0, 2.0, np.inf, -np.inf, np.nan)


def _pair_specials(_: np.random.Generator, *, op: str, dtype: str) -> Call:
    x, other = (each.ravel().astype(dtype_of(dtype)) for each in np.meshgrid(_GRID, _GRID))
    if op in ("maximum", "minimum"):  # max(-0, +0) may be either
        keep = ~((x == 0) & (other == 0) & (np.signbit(x) != np.signbit(other)))
        x, other = x[keep], other[keep]
    return Call(op=op, inputs={"x": x, "other": other})


def _clamped(generator: np.random.Generator, *, dtype: str, nan: bool) -> Call:
    x = normal(generator, (1025,), dtype, scale=10.0)
    x[:4] = [np.inf, -np.inf, 7.0, -7.0]
    if nan:
        x[[4, 512, 1024]] = np.nan
    return Call(op="clamp", inputs={"x": x}, attributes={"low": -7.0, "high": 7.0})


def _functions() -> Iterator[Case]:
    for op in _RANGE:
        case = partial(Case, family="elementary", op=op)
        yield case(
            id=f"elementary/{op}-sweep-float32",
            dtype="float32",
            make=partial(_sweep, op=op, dtype="float32"),
            edge="a few units in the last place over the whole range, large arguments among them",
            profile="smoke" if op in ("exp", "cos", "rsqrt") else "standard",
        )
        for dtype in ("float16", "bfloat16"):
            yield case(
                id=f"elementary/{op}-every-{dtype}",
                dtype=dtype,
                make=partial(_every, op=op, dtype=dtype),
                edge="every number of the dtype whose result is normal",
            )
            yield case(
                id=f"elementary/{op}-strided-{dtype}",
                dtype=dtype,
                make=partial(_strided, op=op, dtype=dtype),
                edge="every number again, with a stride: what a kernel does one by one, as at the end of a vector",
            )
        for dtype in FLOATS if op != "erf" else ("float32",):  # its every number is asked above
            yield case(
                id=f"elementary/{op}-activations-{dtype}",
                dtype=dtype,
                make=partial(_activations, op=op, dtype=dtype),
                edge="the values that models compute with",
                profile="smoke" if op in ("exp", "tanh") and dtype == "bfloat16" else "standard",
            )
            yield case(
                id=f"elementary/{op}-special-{dtype}",
                dtype=dtype,
                make=partial(_values, op=op, dtype=dtype, values=_EXACT[op]),
                edge="zeros with their signs, infinities, NaN and points whose result is exact",
                exact=True,
                profile="smoke" if op in ("exp", "log") and dtype == "float32" else "standard",
            )
        if op in _NEAR:
            yield case(
                id=f"elementary/{op}-near-float32",
                dtype="float32",
                make=partial(_near, op=op),
                edge="results small beside their parts: log(1 + x), e ** x - 1 and range reduction done naively",
            )
        for dtype, (finite, infinite) in _OVERFLOW.get(op, {}).items():
            yield case(
                id=f"elementary/{op}-overflow-{dtype}",
                dtype=dtype,
                make=partial(_values, op=op, dtype=dtype, values=finite + infinite),
                edge="the last finite results and the first infinite ones",
                switches=("overflow",),
            )


def _subnormals() -> Iterator[Case]:
    for dtype in ("float32", "bfloat16"):
        for op in _SUBNORMAL_RESULTS:
            yield Case(
                id=f"elementary/{op}-subnormal-results-{dtype}",
                family="elementary",
                op=op,
                dtype=dtype,
                make=partial(_subnormal_results, op=op, dtype=dtype),
                edge="results below the smallest normal number",
                switches=("subnormals",),
            )
        for op in _SUBNORMAL_INPUTS:
            yield Case(
                id=f"elementary/{op}-subnormal-inputs-{dtype}",
                family="elementary",
                op=op,
                dtype=dtype,
                make=partial(_subnormal_inputs, op=op, dtype=dtype),
                edge="inputs below the smallest normal number",
                switches=("subnormals",),
            )


def _pairs() -> Iterator[Case]:
    for op in ("add", "multiply", "divide", "power", "maximum", "minimum"):
        for dtype in FLOATS:
            yield Case(
                id=f"elementary/{op}-{dtype}",
                family="elementary",
                op=op,
                dtype=dtype,
                make=partial(_pair, op=op, dtype=dtype),
                edge="an odd number of elements",
            )
            yield Case(
                id=f"elementary/{op}-special-{dtype}",
                family="elementary",
                op=op,
                dtype=dtype,
                make=partial(_pair_specials, op=op, dtype=dtype),
                edge="every pair of zeros, infinities and NaN",
                switches=("nan_in_max",) if op in ("maximum", "minimum") else (),
                exact=True,
                provenance=("tenstorrent/tt-metal#56414",) if op == "maximum" else (),
                profile="smoke" if op == "maximum" and dtype == "float32" else "standard",
            )
    for geometry, theta, rotary in (
        ("qwen3-32b rotary frequencies", 1e6, 128),
        ("deepseek-v3 rotary frequencies", 1e4, 64),
        ("llama-3.1-8b rotary frequencies", 5e5, 128),
    ):
        yield Case(
            id=f"elementary/power-frequencies-{geometry.split()[0]}-float32",
            family="elementary",
            op="power",
            dtype="float32",
            make=partial(_frequencies, theta=theta, rotary=rotary),
            geometry=geometry,
            edge="rotary frequencies: an error here grows with the position",
        )
    for dtype in FLOATS:
        for nan in (False, True):
            yield Case(
                id=f"elementary/clamp{'-nan' if nan else ''}-{dtype}",
                family="elementary",
                op="clamp",
                dtype=dtype,
                make=partial(_clamped, dtype=dtype, nan=nan),
                edge="NaN first, in the middle and last" if nan else "infinities and the bounds themselves",
                switches=("nan_in_clamp",) if nan else (),
                exact=True,
            )


def _extents() -> Iterator[Case]:
    for op, make in (
        *((op, _activations) for op in ("exp", "tanh", "sigmoid", "rsqrt", "log")),
        *((op, _pair) for op in ("add", "multiply", "divide", "maximum", "power")),
    ):
        for dtype in FLOATS if op != "rsqrt" else ("float32",):
            yield Case(
                id=f"elementary/{op}-extents-{dtype}",
                family="elementary",
                op=op,
                dtype=dtype,
                make=partial(make, op=op, dtype=dtype),
                edge=OTHER_EXTENT,
                relations=("cuts:n", "layouts", "again"),
                profile="smoke" if op in ("exp", "add") and dtype == "bfloat16" else "standard",
            )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    yield from _extents()
    yield from _functions()
    yield from _subnormals()
    yield from _pairs()
