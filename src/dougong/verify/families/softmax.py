"""Softmax: widths of attention, routers and vocabularies, masked rows, infinities, and merges of parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.dtypes import limits
from dougong.ops.definition import FLOATS
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.geometry import core, experts, model
from dougong.verify.numbers import dtype_of, normal

_OPS = ("softmax", "log_softmax", "logsumexp")

_SHAPES = (
    ("edge", 3, 1, "a row of one"),
    ("edge", 5, 2, "a row of two"),
    ("edge", 7, 33, "one past a vector"),
    ("edge", 4, 1000, "no power of two"),
    ("edge", 3, 1025, "one past a block of 1024"),
    ("edge", 2, 4097, "one past a block of 4096"),
)


def _rows(
    generator: np.random.Generator, *, op: str, dtype: str, m: int, n: int, scale: float, shift: float
) -> Call:
    x = normal(generator, (m, n), "float32", scale=scale) + np.float32(shift)
    return Call(op=op, inputs={"x": x.astype(dtype_of(dtype))})


def _scaled(generator: np.random.Generator, *, dtype: str, head_dim: int) -> Call:
    x = normal(generator, (16, 513), dtype, scale=head_dim**0.5)
    return Call(op="softmax", inputs={"x": x}, attributes={"scale": head_dim**-0.5})


def _masked(generator: np.random.Generator, *, op: str, dtype: str, least: bool) -> Call:
    x = normal(generator, (8, 300), dtype, scale=2.0)
    hole = -limits(x.dtype)[1] if least else -np.inf
    for row, seen in enumerate((1, 2, 17, 64, 128, 129, 256, 299)):
        x[row, seen:] = hole
    return Call(op=op, inputs={"x": x})


def _left_padded(generator: np.random.Generator, *, op: str, dtype: str) -> Call:
    x = normal(generator, (4, 1536), dtype, scale=2.0)
    for row, hidden in enumerate((1, 512, 1024, 1535)):
        x[row, :hidden] = -np.inf
    return Call(op=op, inputs={"x": x})


def _equal(_: np.random.Generator, *, op: str, dtype: str, value: float, n: int) -> Call:
    return Call(op=op, inputs={"x": np.full((2, n), value, dtype_of(dtype))})


def _certain(_: np.random.Generator, *, op: str, dtype: str) -> Call:
    """Rows whose first token has all but one in 10, 100, 1,000 of the mass."""
    x = np.zeros((3, 17))
    x[:, 0] = np.round(16 * np.log(16 * np.array([9.0, 99.0, 999.0]))) / 16
    return Call(op=op, inputs={"x": x.astype(dtype_of(dtype))})


def _extremes(generator: np.random.Generator, *, op: str, dtype: str) -> Call:
    x = normal(generator, (6, 257), dtype)
    _, most = limits(x.dtype)
    x[0, 100], x[1, 0], x[2, 256] = most, most, most
    x[3] = -most
    x[4, ::2] = -most
    x[5, :] = np.linspace(-300, 300, 257).astype(dtype_of(dtype))
    return Call(op=op, inputs={"x": x})


def _with(generator: np.random.Generator, *, op: str, dtype: str, fill: Callable[[Array], None]) -> Call:
    x = normal(generator, (5, 260), dtype)
    fill(x)
    return Call(op=op, inputs={"x": x})


def _nan(x: Array) -> None:
    x[0, 0] = x[1, 130] = x[2, 259] = np.nan


def _infinity(x: Array) -> None:
    x[0, 0] = x[1, 130] = x[2, 259] = x[3, 4] = x[3, 5] = np.inf


def _nothing(x: Array) -> None:
    x[1] = x[3] = -np.inf


def _merge(generator: np.random.Generator, *, dtype: str, parts: int, gap: float, empty: bool) -> Call:
    values = normal(generator, (parts, 32, 128), dtype)
    sizes = (generator.standard_normal((parts, 32)) * gap + 5.0).astype(np.float32)
    if empty:
        sizes[1::2, ::2] = -np.inf
        values[1::2, ::2] = 0
    return Call(op="softmax_merge", inputs={"values": values, "lse": sizes})


def _places() -> tuple[tuple[str, int, int, str], ...]:
    vocabularies = tuple(
        (f"{name} logits", rows, model(name).vocab_size, "a whole vocabulary")
        for name, rows in (("qwen3-32b", 2), ("deepseek-v3", 2), ("minimax-m2", 1), ("qwen3.5-27b", 1))
    )
    routers = tuple(
        (f"{name} router", 33, experts(name).num, "as many as experts")
        for name in ("qwen3-30b-a3b", "kimi-k2", "qwen3-next-80b-a3b")
    )
    return (*_SHAPES, *vocabularies, *routers)


def _values() -> Iterator[Case]:
    for op in _OPS:
        for geometry, m, n, edge in _places():
            for dtype in FLOATS if op == "softmax" else ("float32",):
                name = geometry.split()[0]
                yield Case(
                    id=f"softmax/{op}-{name}-m{m}-n{n}-{dtype}",
                    family="softmax",
                    op=op,
                    dtype=dtype,
                    make=partial(_rows, op=op, dtype=dtype, m=m, n=n, scale=3.0, shift=0.0),
                    geometry=geometry,
                    edge=edge,
                    relations=("row_chunks",) if m > 4 else (),
                    provenance=("flagos-ai/FlagGems#6109",) if op == "softmax" and n > 100_000 else (),
                    profile="smoke"
                    if op == "softmax" and (name, dtype) in (("qwen3-32b", "bfloat16"), ("edge", "float32"))
                    else "standard",
                )
        for what, scale, shift, edge in (
            ("shifted", 1.0, 1000.0, "a shift of 1000, which must cancel"),
            ("sharp", 60.0, 0.0, "nearly all mass on one"),
            ("flat", 0.01, 0.0, "nearly uniform: the sum has many equal terms"),
        ):
            for dtype in FLOATS if op == "softmax" else ("float32",):
                yield Case(
                    id=f"softmax/{op}-{what}-{dtype}",
                    family="softmax",
                    op=op,
                    dtype=dtype,
                    make=partial(_rows, op=op, dtype=dtype, m=4, n=4096, scale=scale, shift=shift),
                    edge=edge,
                )
        for dtype in FLOATS:
            yield Case(
                id=f"softmax/{op}-certain-{dtype}",
                family="softmax",
                op=op,
                dtype=dtype,
                make=partial(_certain, op=op, dtype=dtype),
                edge="a token that is nearly certain: its log-probability is what 1 + small leaves",
            )
            yield Case(
                id=f"softmax/{op}-equal-{dtype}",
                family="softmax",
                op=op,
                dtype=dtype,
                make=partial(_equal, op=op, dtype=dtype, value=-3.0, n=65536),
                edge="65,536 equal values: a narrow running sum stops growing",
                asks_precision=op == "softmax",
            )


def _edges() -> Iterator[Case]:
    for op in _OPS:
        for dtype in FLOATS if op != "log_softmax" else ("float32",):
            case = partial(Case, family="softmax", op=op, dtype=dtype)
            for least in (False, True):
                yield case(
                    id=f"softmax/{op}-masked-{'least' if least else 'inf'}-{dtype}",
                    make=partial(_masked, op=op, dtype=dtype, least=least),
                    edge="a tail masked by the least finite number" if least else "a tail masked by -inf",
                    profile="smoke" if op == "softmax" and dtype == "bfloat16" else "standard",
                )
            yield case(
                id=f"softmax/{op}-left-padded-{dtype}",
                make=partial(_left_padded, op=op, dtype=dtype),
                edge="whole blocks of -inf before the first finite value, as an online softmax meets them",
                profile="smoke" if op == "softmax" and dtype == "float32" else "standard",
            )
            yield case(
                id=f"softmax/{op}-extremes-{dtype}",
                make=partial(_extremes, op=op, dtype=dtype),
                edge="the largest and the least finite numbers",
            )
            yield case(
                id=f"softmax/{op}-nan-{dtype}",
                make=partial(_with, op=op, dtype=dtype, fill=_nan),
                edge="NaN first, in the middle and last; other rows untouched",
                switches=("softmax_nan",) if op != "logsumexp" else (),
            )
            yield case(
                id=f"softmax/{op}-inf-{dtype}",
                make=partial(_with, op=op, dtype=dtype, fill=_infinity),
                edge="+inf first, in the middle, last and twice",
                switches=("softmax_inf",) if op != "logsumexp" else (),
            )
            yield case(
                id=f"softmax/{op}-nothing-{dtype}",
                make=partial(_with, op=op, dtype=dtype, fill=_nothing),
                edge="rows of nothing but -inf among others",
                switches=("softmax_inf",) if op != "logsumexp" else (),
                provenance=("pytorch/pytorch#101967", "pytorch/pytorch#109517") if op == "softmax" else (),
            )


def _merges() -> Iterator[Case]:
    for dtype in FLOATS:
        for name in ("qwen3-32b", "gpt-oss-120b"):
            yield Case(
                id=f"softmax/softmax-scale-{name}-{dtype}",
                family="softmax",
                op="softmax",
                dtype=dtype,
                make=partial(_scaled, dtype=dtype, head_dim=core(name).qk_dim),
                geometry=f"{name} attention",
                edge="scores scaled inside the softmax",
            )
        for parts in (1, 2, 7, 64):
            for gap, what in ((1.0, "even"), (30.0, "far")):
                yield Case(
                    id=f"softmax/merge-{parts}-{what}-{dtype}",
                    family="softmax",
                    op="softmax_merge",
                    dtype=dtype,
                    make=partial(_merge, dtype=dtype, parts=parts, gap=gap, empty=False),
                    geometry="qwen3-32b head",
                    edge="parts of one attention, as split-KV decoding merges them",
                    profile="smoke" if parts == 7 and dtype == "bfloat16" else "standard",
                )
        yield Case(
            id=f"softmax/merge-empty-{dtype}",
            family="softmax",
            op="softmax_merge",
            dtype=dtype,
            make=partial(_merge, dtype=dtype, parts=4, gap=1.0, empty=True),
            edge="some parts see nothing",
        )


def _extents() -> Iterator[Case]:
    for op in _OPS:
        for dtype in FLOATS if op != "log_softmax" else ("float32",):
            for axis, m, n in (("m", 600, 40), ("n", 2, 130_000)):
                yield Case(
                    id=f"softmax/{op}-extents-{axis}-{dtype}",
                    family="softmax",
                    op=op,
                    dtype=dtype,
                    make=partial(_rows, op=op, dtype=dtype, m=m, n=n, scale=3.0, shift=0.0),
                    edge=OTHER_EXTENT,
                    relations=(f"cuts:{axis}", *(("layouts", "again") if axis == "m" else ())),
                    profile="smoke" if op == "softmax" and dtype == "bfloat16" else "standard",
                )
    for dtype in FLOATS:
        yield Case(
            id=f"softmax/merge-extents-{dtype}",
            family="softmax",
            op="softmax_merge",
            dtype=dtype,
            make=partial(_merge, dtype=dtype, parts=70, gap=1.0, empty=False),
            edge="a number of parts at which a kernel takes another way",
            relations=("cuts:s", "cuts:d", "layouts", "again"),
        )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    yield from _extents()
    yield from _values()
    yield from _edges()
    yield from _merges()
