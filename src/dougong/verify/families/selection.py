"""Top-k, sort and argmax: ties, NaN and infinities, vocabularies and routers, k of one to all."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from dougong.backends import Array, Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.geometry import experts, model
from dougong.verify.numbers import dtype_of, normal, seams


def _call(op: str, x: Array, k: int) -> Call:
    return Call(op=op, inputs={"x": x}, attributes={"k": k} if op == "top_k" else {})


def _distinct(generator: np.random.Generator, *, op: str, dtype: str, m: int, n: int, k: int) -> Call:
    """Rows without ties: a shuffled stretch of consecutive numbers of the dtype, or of integers it holds."""
    if dtype == "float32":
        ranks = np.argsort(generator.random((m, n)), axis=-1)
        return _call(op, (ranks - n // 2).astype(np.float32) * np.float32(0.125), k)
    numbers = np.arange(0, 1 << 16, dtype=np.uint16).view(dtype_of(dtype))
    finite = np.unique(numbers[np.isfinite(numbers.astype(np.float32))].astype(np.float32))
    picked = np.stack([generator.choice(finite, n, replace=False) for _ in range(m)])
    return _call(op, picked.astype(dtype_of(dtype)), k)


def _logits(generator: np.random.Generator, *, op: str, dtype: str, m: int, n: int, k: int) -> Call:
    return _call(op, normal(generator, (m, n), "bfloat16", scale=3.0).astype(dtype_of(dtype)), k)


def _tied(
    generator: np.random.Generator, *, op: str, dtype: str, m: int, n: int, k: int, values: int
) -> Call:
    return _call(op, generator.integers(0, values, (m, n)).astype(dtype_of(dtype)), k)


def _special(generator: np.random.Generator, *, op: str, dtype: str, what: str, n: int, k: int) -> Call:
    numbers = np.arange(n, dtype=np.float32) - n // 2  # bfloat16 and float16 hold integers to 256 apart
    x = np.stack([generator.permutation(numbers) for _ in range(5)]).astype(dtype_of(dtype))
    if what == "nan":
        x[0, 0] = x[1, n // 2] = x[2, n - 1] = x[3, 2] = x[3, n // 2] = x[3, n - 2] = np.nan
    elif what == "inf":
        x[0, 0] = x[1, n // 2] = x[2, n - 1] = np.inf
        x[0, 1] = x[3, 0] = -np.inf
    else:
        x[:, 3:] = -np.inf
    return _call(op, x, k)


def _zeros(_: np.random.Generator, *, op: str, dtype: str) -> Call:
    x = np.full((4, 9), -1.0).astype(dtype_of(dtype))
    x[0, 2], x[0, 5] = -0.0, 0.0
    x[1, 2], x[1, 5] = 0.0, -0.0
    return _call(op, x, 1)


def _places(_: np.random.Generator, *, op: str, dtype: str, n: int, step: int) -> Call:
    """The largest at every ``step``-th place and beside it, in a row of other numbers."""
    places = seams(n, step)
    x = np.broadcast_to(-np.abs(np.arange(n) % 97 - 48.0) - 1.0, (len(places), n)).copy()
    x[np.arange(len(places)), places] = 1.0
    return _call(op, x.astype(dtype_of(dtype)), 1)


def _close(generator: np.random.Generator, *, op: str, n: int, k: int) -> Call:
    """Neighbours in float32, all different, that any narrower dtype takes for equal."""
    ranks = np.stack([generator.permutation(n) for _ in range(5)])
    return _call(op, (1.0 + ranks * 2.0**-23).astype(np.float32), k)


def _ascending(generator: np.random.Generator, *, dtype: str, n: int) -> Call:
    call = _distinct(generator, op="sort", dtype=dtype, m=5, n=n, k=1)
    return Call(op="sort", inputs=call.inputs, attributes={"descending": False})


def _ends(_: np.random.Generator, *, op: str, dtype: str, n: int) -> Call:
    """The largest in each place that a tile, a lane or a loop tail could lose."""
    places = sorted(
        {0, 1, 31, 32, 63, 127, 128, 255, 256, 1023, 1024, 4095, 4096, n - 2, n - 1} & set(range(n))
    )
    x = np.full((len(places), n), -5.0).astype(dtype_of(dtype))
    for row, at in enumerate(places):
        x[row, at] = -4.0
    return _call(op, x, 1)


def _strided(generator: np.random.Generator, *, op: str, dtype: str) -> Call:
    wide = np.full((6, 300), np.inf).astype(dtype_of(dtype))
    ranks = np.stack([generator.permutation(120) for _ in range(3)])
    wide[::2, 1:240:2] = ranks.astype(dtype_of(dtype))
    return _call(op, wide[::2, 1:240:2], 8)


def _case(op: str, what: str, dtype: str, **rest: object) -> Case:
    return Case(id=f"selection/{op}-{what}-{dtype}", family="selection", op=op, dtype=dtype, **rest)  # type: ignore[arg-type]


_OPS = ("argmax", "top_k", "sort")


def _ties(op: str) -> tuple[str, ...]:
    return () if op == "sort" else ("tie_order",)


def _nan(op: str) -> tuple[str, ...]:
    return ("nan_in_argmax",) if op == "argmax" else ("nan_in_order",)


def _shapes() -> Iterator[Case]:
    for op in _OPS:
        for m, n, k in ((1, 1, 1), (3, 2, 1), (5, 33, 8), (4, 129, 129), (2, 1025, 50), (2, 4097, 100)):
            for dtype in FLOATS:
                yield _case(
                    op,
                    f"distinct-m{m}-n{n}",
                    dtype,
                    make=partial(_distinct, op=op, dtype=dtype, m=m, n=n, k=k),
                    edge="no two values are equal: one answer under any order of ties",
                    relations=("row_chunks",) if m > 3 else (),
                    exact=True,
                    profile="smoke" if n == 1025 and dtype == "bfloat16" else "standard",
                )
        for n in (37, 5000):
            for dtype in FLOATS:
                yield _case(
                    op,
                    f"ends-{n}",
                    dtype,
                    make=partial(_ends, op=op, dtype=dtype, n=n),
                    edge="the largest stands first, last, and at every seam of a tile",
                    switches=("tie_order",) if op == "top_k" else (),
                    exact=op != "top_k",
                )
        for dtype in FLOATS:
            yield _case(
                op,
                "strided",
                dtype,
                make=partial(_strided, op=op, dtype=dtype),
                edge="every second row and column, +inf between",
                exact=True,
            )


def _extents() -> Iterator[Case]:
    for op in _OPS:
        for dtype in FLOATS:
            smoke = "smoke" if dtype == "bfloat16" and op != "sort" else "standard"
            for axis, m, n, k in (("m", 300, 40, 5), ("n", 2, 130_000, 1), ("n-k8", 2, 2100, 8)):
                if n == 130_000 and (op == "sort" or dtype != "float32"):
                    n = 9000  # of all vocabularies float32 is asked: numbers of 16 bits repeat, and sorting takes long
                yield _case(
                    op,
                    f"extents-{axis}",
                    dtype,
                    make=partial(_distinct, op=op, dtype=dtype, m=m, n=n, k=k),
                    edge=OTHER_EXTENT,
                    relations=(f"cuts:{axis[0]}", *(("layouts", "again") if axis == "m" else ())),
                    exact=True,
                    profile=smoke,
                )
            if op != "sort":
                for n, step in ((1100, 4), (9000, 48)):
                    yield _case(
                        op,
                        f"places-{n}",
                        dtype,
                        make=partial(_places, op=op, dtype=dtype, n=n, step=step),
                        edge="the largest at every seam",
                        exact=True,
                        profile=smoke if n == 1100 else "standard",
                    )
        yield _case(
            op,
            "close",
            "float32",
            make=partial(_close, op=op, n=600, k=20),
            edge="numbers that a narrower comparison takes for equal",
            exact=True,
            profile="smoke",
        )
    for dtype in FLOATS:
        for n in (33, 1025):
            yield _case(
                "sort",
                f"ascending-{n}",
                dtype,
                make=partial(_ascending, dtype=dtype, n=n),
                edge="from the smallest up",
                exact=True,
                profile="smoke" if dtype == "bfloat16" and n == 33 else "standard",
            )


def _models() -> Iterator[Case]:
    for op in _OPS:
        for name, rows in (("qwen3-32b", 2), ("deepseek-v3", 1), ("qwen3.5-27b", 1)):
            for dtype in FLOATS:
                for k in (1, 50) if op == "top_k" else (1,):
                    yield _case(
                        op,
                        f"{name}-logits{f'-k{k}' if op == 'top_k' else ''}",
                        dtype,
                        make=partial(_logits, op=op, dtype=dtype, m=rows, n=model(name).vocab_size, k=k),
                        geometry=f"{name} logits",
                        edge="a vocabulary of logits that were bfloat16 once, many of them equal",
                        switches=_ties(op),
                        profile="smoke"
                        if op == "argmax" and name == "qwen3-32b" and dtype == "bfloat16"
                        else "standard",
                    )
    for name in ("qwen3-30b-a3b", "kimi-k2", "gpt-oss-120b"):
        bank = experts(name)
        for dtype in FLOATS:
            yield _case(
                "top_k",
                f"{name}-router",
                dtype,
                make=partial(_distinct, op="top_k", dtype=dtype, m=65, n=bank.num, k=bank.top_k),
                geometry=f"{name} router",
                edge="experts of a token",
                relations=("row_chunks",),
                exact=True,
            )


def _edges() -> Iterator[Case]:
    for op in _OPS:
        for dtype in FLOATS:
            for values, n, k in ((1, 64, 8), (2, 300, 50), (5, 1000, 1000), (40, 4096, 64)):
                yield _case(
                    op,
                    f"ties-{values}-of-{n}",
                    dtype,
                    make=partial(_tied, op=op, dtype=dtype, m=4, n=n, k=k, values=values),
                    edge="fewer distinct values than are asked for",
                    switches=_ties(op),
                    profile="smoke" if n == 300 and dtype == "float32" else "standard",
                )
            for what, edge in (
                ("nan", "NaN first, in the middle and last"),
                ("inf", "infinities of both signs"),
                ("masked", "more is asked for than is not masked"),
            ):
                for n, k in ((100, 5), (257, 200)):
                    yield _case(
                        op,
                        f"{what}-{n}",
                        dtype,
                        make=partial(_special, op=op, dtype=dtype, what=what, n=n, k=k),
                        edge=edge,
                        switches=(*_nan(op), *_ties(op))
                        if what == "nan"
                        else _ties(op)
                        if what == "masked"
                        else (),
                        provenance=("microsoft/onnxruntime#10514",)
                        if op == "argmax" and what == "nan"
                        else (),
                        profile="smoke" if what == "nan" and dtype == "float32" and n == 100 else "standard",
                    )
            if op == "argmax":
                yield _case(
                    op,
                    "zeros",
                    dtype,
                    make=partial(_zeros, op=op, dtype=dtype),
                    edge="-0 and +0 are equal: the first of them",
                    switches=("tie_order",),
                )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    yield from _shapes()
    yield from _extents()
    yield from _models()
    yield from _edges()
