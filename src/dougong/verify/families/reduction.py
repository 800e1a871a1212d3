"""Reductions and scans: accumulators, NaN at every place, axes and strides, vocabularies and hidden sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from dougong.backends import Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.geometry import model
from dougong.verify.numbers import dtype_of, normal, seams

_SUBNORMAL = {"float32": 2.0**-140, "float16": 2.0**-20, "bfloat16": 2.0**-131}
_SUMS = ("sum", "mean", "vector_norm")
_EXTREMES = ("max", "min")


def _normal(generator: np.random.Generator, *, op: str, dtype: str, shape: Sequence[int], axis: int) -> Call:
    return Call(op=op, inputs={"x": normal(generator, shape, dtype)}, attributes={"axis": axis})


def _positive(generator: np.random.Generator, *, op: str, dtype: str, n: int) -> Call:
    x = (generator.random((2, n), np.float32) * 0.5 + 0.5).astype(dtype_of(dtype))
    return Call(op=op, inputs={"x": x})


def _constant(_: np.random.Generator, *, op: str, dtype: str, n: int, value: float) -> Call:
    return Call(op=op, inputs={"x": np.full((3, n), value, dtype_of(dtype))})


def _cancelling(_: np.random.Generator, *, op: str, dtype: str) -> Call:
    x = np.zeros((2, 1024), np.float32)
    x[0, :512], x[0, 512:] = 256.0, -256.0
    x[1, ::2], x[1, 1::2] = 60000.0, -60000.0
    return Call(op=op, inputs={"x": x.astype(dtype_of(dtype))})


def _beyond(_: np.random.Generator, *, op: str, dtype: str) -> Call:
    x = np.full((2, 64), 3e4 if dtype == "float16" else 1e38).astype(dtype_of(dtype))
    x[1] = -x[1]
    return Call(op=op, inputs={"x": x})


def _special(
    generator: np.random.Generator, *, op: str, dtype: str, what: float, shape: tuple[int, int]
) -> Call:
    x = normal(generator, shape, dtype)
    for row, at in enumerate((0, shape[1] // 2, shape[1] - 1)):
        x[row, at] = what
    if np.isinf(what):
        x[3, 1], x[3, 2] = what, -what
    return Call(op=op, inputs={"x": x})


def _all_nan(_: np.random.Generator, *, op: str, dtype: str) -> Call:
    return Call(op=op, inputs={"x": np.full((2, 130), np.nan).astype(dtype_of(dtype))})


def _one_sign(generator: np.random.Generator, *, op: str, dtype: str, n: int) -> Call:
    size = generator.random((3, n), np.float32) + np.float32(0.5)
    return Call(op=op, inputs={"x": (-size if op == "max" else size).astype(dtype_of(dtype))})


def _infinite(_: np.random.Generator, *, op: str, dtype: str) -> Call:
    x = np.full((2, 33), -np.inf if op == "max" else np.inf).astype(dtype_of(dtype))
    x[1, 32] = 1.0
    return Call(op=op, inputs={"x": x})


def _empty(_: np.random.Generator, *, dtype: str) -> Call:
    return Call(op="sum", inputs={"x": np.zeros((3, 0), dtype_of(dtype))})


def _strided(generator: np.random.Generator, *, op: str, dtype: str) -> Call:
    wide = np.full((40, 300), np.nan).astype(dtype_of(dtype))
    wide[::2, 1::2] = normal(generator, (20, 150), dtype)
    return Call(op=op, inputs={"x": wide[::2, 1::2]})


def _expanded(generator: np.random.Generator, *, op: str, dtype: str) -> Call:
    x = np.broadcast_to(normal(generator, (1, 257), dtype), (9, 257))
    return Call(op=op, inputs={"x": x}, attributes={"axis": 0})


def _nucleus(generator: np.random.Generator, *, dtype: str, n: int) -> Call:
    logits = np.sort(generator.standard_normal((1, n)) * 2.0)[:, ::-1]
    p = np.exp(logits - logits.max())
    return Call(op="cumsum", inputs={"x": (p / p.sum()).astype(dtype_of(dtype))})


def _integers(generator: np.random.Generator, *, op: str, n: int, most: int, least: int = 0) -> Call:
    return Call(op=op, inputs={"x": generator.integers(least, most, (3, n), np.int32)})


_PLACES = (
    ("edge", (3, 1), -1),
    ("edge", (5, 7), -1),
    ("edge", (3, 129), -1),
    ("edge", (2, 4097), -1),
    ("edge", (130, 33), 0),
    ("edge", (3, 65, 17), 1),
    ("qwen3-32b hidden", (4, model("qwen3-32b").hidden_size), -1),
    ("qwen3-32b logits", (1, model("qwen3-32b").vocab_size), -1),
    ("qwen3.5-27b logits", (1, model("qwen3.5-27b").vocab_size), -1),
)


def _case(op: str, what: str, dtype: str, **rest: object) -> Case:
    return Case(id=f"reduction/{op}-{what}-{dtype}", family="reduction", op=op, dtype=dtype, **rest)  # type: ignore[arg-type]


def _shapes() -> Iterator[Case]:
    for op in (*_SUMS, *_EXTREMES, "cumsum"):
        for geometry, shape, axis in _PLACES:
            for dtype in FLOATS:
                extents = "x".join(str(each) for each in shape)
                yield _case(
                    op,
                    f"{geometry.split()[0]}-{extents}-axis{axis % len(shape)}",
                    dtype,
                    make=partial(_normal, op=op, dtype=dtype, shape=shape, axis=axis),
                    geometry=geometry,
                    edge="extents that fill no vector and no block, and every axis"
                    if geometry == "edge"
                    else "the extent of a model",
                    relations=("row_chunks",) if shape[0] > 3 and axis == -1 else (),
                    profile="smoke"
                    if (op, dtype) in (("sum", "bfloat16"), ("max", "float32"), ("cumsum", "float32"))
                    and shape[-1] in (129, 4097)
                    else "standard",
                )
        for dtype in FLOATS:
            yield _case(
                op,
                "strided",
                dtype,
                make=partial(_strided, op=op, dtype=dtype),
                edge="every second row and column, NaN between",
            )
            yield _case(
                op,
                "expanded",
                dtype,
                make=partial(_expanded, op=op, dtype=dtype),
                edge="one row expanded over the reduced axis",
            )


def _places(_: np.random.Generator, *, op: str, dtype: str, n: int, step: int) -> Call:
    """Rows of which one value each stands out, at every ``step``-th place and beside it."""
    places = seams(n, step)
    x = np.zeros((len(places), n), np.float32)
    x[np.arange(len(places)), places] = -1.0 if op == "min" else 1.0
    return Call(op=op, inputs={"x": x.astype(dtype_of(dtype))})


def _extents() -> Iterator[Case]:
    for op in (*_SUMS, *_EXTREMES, "cumsum"):
        for dtype in FLOATS:
            smoke = "smoke" if dtype == "bfloat16" and op != "cumsum" else "standard"
            for axis, shape in (("n", (2, 130_000)), ("a", (600, 40))):
                yield _case(
                    op,
                    f"extents-{axis}",
                    dtype,
                    make=partial(_normal, op=op, dtype=dtype, shape=shape, axis=-1),
                    edge=OTHER_EXTENT,
                    relations=(f"cuts:{axis}", *(("layouts", "again") if axis == "a" else ())),
                    profile=smoke,
                )
            for n, step in ((1100, 4), (9000, 48)):
                yield _case(
                    op,
                    f"places-{n}",
                    dtype,
                    make=partial(_places, op=op, dtype=dtype, n=n, step=step),
                    edge="one value that counts, at every seam",
                    exact=op not in ("mean", "vector_norm"),
                    profile=smoke if n == 1100 else "standard",
                )
    for dtype in FLOATS:
        for op in ("sum", "max"):
            yield _case(
                op,
                "subnormal",
                dtype,
                make=partial(_constant, op=op, dtype=dtype, n=3, value=_SUBNORMAL[dtype]),
                edge="subnormal numbers kept or flushed",
                switches=("subnormals",),
            )


def _accumulators() -> Iterator[Case]:
    for dtype in FLOATS:
        smoke = "smoke" if dtype != "float32" else "standard"
        for op in (*_SUMS, "cumsum"):
            yield _case(
                op,
                "positive",
                dtype,
                make=partial(_positive, op=op, dtype=dtype, n=16384),
                edge="16,384 numbers of one sign: the partial sums grow",
                asks_precision=True,
            )
        for op, n, value, edge in (
            ("sum", 65536, 0.5, "65,536 halves: a float16 sum stops at 1,024"),
            ("sum", 8192, 1.0, "8,192 ones: a bfloat16 sum stops at 256"),
            ("mean", 4096, 300.0, "the mean of 4,096 times 300: a float16 sum overflows"),
            ("mean", 65536, 1.0, "the mean of 65,536 ones"),
            ("vector_norm", 4096, 16.0, "squares of 16 over 4,096: a float16 sum overflows"),
            ("vector_norm", 64, 300.0, "squares of 300 overflow float16"),
            ("cumsum", 4096, 1.0, "4,096 running ones: a float16 scan stops at 2,048, a bfloat16 one at 256"),
        ):
            yield _case(
                op,
                f"{n}-times-{value:g}",
                dtype,
                make=partial(_constant, op=op, dtype=dtype, n=n, value=value),
                edge=edge,
                asks_precision=op != "vector_norm" or dtype == "float32",
                profile=smoke,
            )
        for op in ("sum", "mean"):
            yield _case(
                op,
                "cancelling",
                dtype,
                make=partial(_cancelling, op=op, dtype=dtype),
                edge="partial sums beyond float16 whose total is 0",
            )
        yield _case(
            "sum",
            "beyond",
            dtype,
            make=partial(_beyond, op="sum", dtype=dtype),
            edge="a total beyond the largest number",
            switches=("overflow",),
        )
        for name in ("qwen3-32b", "deepseek-v3", "qwen3.5-27b"):
            yield _case(
                "cumsum",
                f"nucleus-{name}",
                dtype,
                make=partial(_nucleus, dtype=dtype, n=model(name).vocab_size),
                geometry=f"{name} probabilities",
                edge="running sums of sorted probabilities, which decide a nucleus",
            )


def _specials() -> Iterator[Case]:
    for dtype in FLOATS:
        for op in (*_SUMS, *_EXTREMES, "cumsum"):
            for what, value in (("nan", np.nan), ("inf", np.inf)):
                for n in (130, 5000):
                    yield _case(
                        op,
                        f"{what}-{n}",
                        dtype,
                        make=partial(_special, op=op, dtype=dtype, what=value, shape=(4, n)),
                        edge=f"{what} first, in the middle and last",
                        switches=("nan_in_max",) if op in _EXTREMES and what == "nan" else (),
                        exact=op in _EXTREMES,
                        provenance=("apache/tvm#19572", "onnx/onnx#4716") if op == "max" and n == 130 else (),
                        profile="smoke"
                        if op == "max" and dtype == "float32" and what == "nan"
                        else "standard",
                    )
        for op in _EXTREMES:
            yield _case(
                op,
                "all-nan",
                dtype,
                make=partial(_all_nan, op=op, dtype=dtype),
                edge="nothing but NaN",
                exact=True,
            )
            for n in (1, 7, 33, 1023):
                yield _case(
                    op,
                    f"one-sign-{n}",
                    dtype,
                    make=partial(_one_sign, op=op, dtype=dtype, n=n),
                    edge="all on the far side of 0: a start value of 0, or a padded lane, would win",
                    exact=True,
                )
            yield _case(
                op,
                "infinite",
                dtype,
                make=partial(_infinite, op=op, dtype=dtype),
                edge="nothing but infinities, and one number among them",
                exact=True,
            )
        yield _case(
            "sum", "empty", dtype, make=partial(_empty, dtype=dtype), edge="a sum of nothing is 0", exact=True
        )


def _whole() -> Iterator[Case]:
    for op in ("sum_integers", "cumsum_integers"):
        for n, most, least, what in (
            (1, 5, 0, "one"),
            (257, 129, 0, "counts"),
            (4096, 1 << 20, 0, "beyond-2-31"),
            (1025, 1 << 30, -(1 << 30), "both-signs"),
        ):
            yield _case(
                op,
                what,
                "int32",
                make=partial(_integers, op=op, n=n, most=most, least=least),
                edge="sums of 32-bit integers beyond 2**31"
                if n == 4096
                else "offsets of sequences and experts",
                exact=True,
                profile="smoke" if n == 4096 else "standard",
            )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    yield from _shapes()
    yield from _extents()
    yield from _accumulators()
    yield from _specials()
    yield from _whole()
