"""Activations: every number of a 16-bit dtype, sweeps, extremes, and the packings and widths of models."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from dougong.backends import Array, Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.geometry import experts, matrix
from dougong.verify.numbers import dtype_of, every, normal, spread

_PLAIN = ("silu", "gelu_erf", "gelu_tanh", "relu", "relu_squared")
_GATED = ("swiglu", "geglu_tanh", "swiglu_clamped")


def _ordinary(op: str, x: Array) -> Array:
    """Keep what is normal, and what no step of the activation overflows or makes subnormal."""
    size = np.abs(x.astype(np.float64))
    half = x.dtype == np.float16
    most = {"relu_squared": 250.0 if half else 1e18}.get(op, 6e4 if half else 1e12)
    least = 1e-2 if half and op == "relu_squared" else 2.0**-12 if half else 1e-18
    return x[(size >= least) & (size <= most)]


def _every(_: np.random.Generator, *, op: str, dtype: str) -> Call:
    x = _ordinary(op, every(dtype))
    return Call(op=op, inputs={"x": x[None]})


def _sweep(generator: np.random.Generator, *, op: str) -> Call:
    x = _ordinary(op, spread(generator, 1 << 15, "float32", 1e-18, 1e4))
    return Call(op=op, inputs={"x": x[None]})


def _rows(
    generator: np.random.Generator, *, op: str, dtype: str, m: int, f: int, scale: float, interleaved: bool
) -> Call:
    width = f if op in _PLAIN else 2 * f
    x = normal(generator, (m, width), dtype, scale=scale)
    return Call(op=op, inputs={"x": x}, attributes={} if op in _PLAIN else {"interleaved": interleaved})


_EXTREMES = (0.0, 1.0, -1.0, 6.0, -6.0, 20.0, -20.0, -80.0, -88.0, -89.0, -100.0, 100.0, 1e4, -1e4)


def _extremes(_: np.random.Generator, *, op: str, dtype: str) -> Call:
    x = np.array(_EXTREMES).astype(dtype_of(dtype))
    small = np.clip(_EXTREMES, -100, 100).astype(dtype_of(dtype))
    if op == "relu_squared":
        x = small
    if op in _GATED:
        x = np.stack([x, np.roll(small, 1)], axis=1 if op == "swiglu_clamped" else 0)
    return Call(op=op, inputs={"x": x.reshape(1, -1)})


def _specials(_: np.random.Generator, *, op: str, dtype: str) -> Call:
    x = np.array([[np.inf, -np.inf, np.nan, 0.0, -0.0]])
    if op == "relu":  # max(-0, 0) may be either
        x = x[:, :4]
    return Call(op=op, inputs={"x": x.astype(dtype_of(dtype))})


def _poisoned_column(generator: np.random.Generator, *, op: str, dtype: str) -> Call:
    x = normal(generator, (3, 130), dtype)
    x[1, 3] = np.nan
    return Call(op=op, inputs={"x": x})


def _strided(generator: np.random.Generator, *, op: str, dtype: str) -> Call:
    wide = np.full((17, 200), np.nan, np.float32).astype(dtype_of(dtype))
    wide[:, 10:140] = normal(generator, (17, 130), dtype)
    return Call(op=op, inputs={"x": wide[:, 10:140]})


def _case(op: str, what: str, dtype: str, **rest: object) -> Case:
    return Case(id=f"activation/{op}-{what}-{dtype}", family="activation", op=op, dtype=dtype, **rest)  # type: ignore[arg-type]


def _plain() -> Iterator[Case]:
    for op in _PLAIN:
        yield _case(
            op,
            "sweep",
            "float32",
            make=partial(_sweep, op=op),
            edge="all magnitudes of both signs, to where the function vanishes",
            profile="smoke" if op in ("silu", "gelu_tanh") else "standard",
        )
        for dtype in ("float16", "bfloat16"):
            yield _case(
                op,
                "every",
                dtype,
                make=partial(_every, op=op, dtype=dtype),
                edge="every number of the dtype",
                profile="smoke" if op == "silu" else "standard",
            )
        for dtype in FLOATS:
            yield _case(
                op,
                "special",
                dtype,
                make=partial(_specials, op=op, dtype=dtype),
                edge="infinities, NaN and signed zeros: -inf times 0 is NaN, the limit is 0",
                switches=() if op.startswith("relu") else ("activation_limit",),
            )


def _both() -> Iterator[Case]:
    for op in (*_PLAIN, *_GATED):
        for dtype in FLOATS:
            yield _case(
                op,
                "extremes",
                dtype,
                make=partial(_extremes, op=op, dtype=dtype),
                edge="where e ** -x overflows: the answer is finite all the same",
            )
            if op in _GATED:
                yield _case(
                    op,
                    "nan-column",
                    dtype,
                    make=partial(_poisoned_column, op=op, dtype=dtype),
                    edge="one NaN stays in its row and column, and is not clamped away",
                    switches=("nan_in_clamp",) if op == "swiglu_clamped" else (),
                )
            yield _case(
                op,
                "strided",
                dtype,
                make=partial(_strided, op=op, dtype=dtype),
                edge="a window of a wider buffer, NaN around it",
                profile="smoke" if op == "swiglu" and dtype == "bfloat16" else "standard",
            )


def _models() -> Iterator[Case]:
    places = (
        ("swiglu", "qwen3-32b gate_proj", matrix("qwen3-32b", "gate_proj")[0]),
        ("swiglu", "llama-3.1-8b gate_proj", matrix("llama-3.1-8b", "gate_proj")[0]),
        ("swiglu", "qwen3-30b-a3b experts", experts("qwen3-30b-a3b").ffn_size),
        ("swiglu", "deepseek-v3 experts", experts("deepseek-v3").ffn_size),
        ("swiglu_clamped", "gpt-oss-120b experts", experts("gpt-oss-120b").ffn_size),
        ("geglu_tanh", "gemma-3-27b gate_proj", matrix("gemma-3-27b", "gate_proj")[0]),
        ("relu_squared", "nemotron-3-nano-30b-a3b experts", experts("nemotron-3-nano-30b-a3b").ffn_size),
    )
    for op, geometry, f in places:
        for m in (1, 7):
            for dtype in FLOATS:
                yield _case(
                    op,
                    f"{geometry.split()[0]}-m{m}",
                    dtype,
                    make=partial(
                        _rows, op=op, dtype=dtype, m=m, f=f, scale=2.0, interleaved=op == "swiglu_clamped"
                    ),
                    geometry=geometry,
                    edge="the width of a model, gate before up",
                    relations=("row_chunks",) if m > 1 else (),
                    profile="smoke" if m == 7 and dtype == "bfloat16" else "standard",
                )
    for op in _GATED:
        for dtype in FLOATS:
            yield _case(
                op,
                "other-packing",
                dtype,
                make=partial(
                    _rows, op=op, dtype=dtype, m=5, f=67, scale=3.0, interleaved=op != "swiglu_clamped"
                ),
                edge="gate and up in alternate columns where they are usually halves, and the other way round",
            )


def _extents() -> Iterator[Case]:
    for op in (*_PLAIN, *_GATED):
        for dtype in FLOATS:
            letter = "2f" if op in _GATED else "f"
            for axis, m, f in (("m", 300, 6), (letter, 2, 270)):
                for interleaved in (False, True) if axis == "2f" else (False,):
                    yield _case(
                        op,
                        f"extents-{axis}{'-interleaved' if interleaved else ''}",
                        dtype,
                        make=partial(_rows, op=op, dtype=dtype, m=m, f=f, scale=2.0, interleaved=interleaved),
                        edge=OTHER_EXTENT,
                        relations=(f"cuts:{axis}", *(("layouts", "again") if axis == "m" else ())),
                        profile="smoke" if (op, dtype) == ("swiglu", "bfloat16") else "standard",
                    )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    yield from _extents()
    yield from _plain()
    yield from _both()
    yield from _models()
