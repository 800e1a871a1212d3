"""Embedding, gather and scatter: ids of whole vocabularies, ids outside the table, duplicates, strides."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from dougong.backends import Array, Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.geometry import core, model
from dougong.verify.numbers import bits, dtype_of, normal

_NARROW = ("float8_e4m3fn", "int8")
_IDS = ("out_of_range_id", "negative_id")


def _vocabulary(generator: np.random.Generator, *, dtype: str, v: int, h: int, index: str) -> Call:
    weight = bits(generator, (v, h), dtype)
    seams = [0, 1, v - 1, v - 2, v // 2, 32767, 32768, 65535, 65536, 131071, 131072]
    ids = np.concatenate([[each for each in seams if each < v], generator.integers(0, v, 50)])
    return Call(op="embedding", inputs={"weight": weight, "ids": ids.astype(index)})


def _ids(generator: np.random.Generator, *, op: str, dtype: str, what: str) -> Call:
    n = 10
    index = generator.integers(0, n, 7)
    bad = {"last": [n - 1], "one-beyond": [n], "far-beyond": [n, 1_000_000], "negative": [-1], "least": [-n]}[
        what
    ]
    index[1 : 1 + len(bad)] = bad
    if op == "embedding":
        return Call(op=op, inputs={"weight": normal(generator, (n, 33), dtype), "ids": index})
    if op == "gather":
        columns = np.broadcast_to(index[:, None], (7, 5)).copy()
        return Call(
            op=op, inputs={"x": normal(generator, (n, 5), dtype), "index": columns}, attributes={"axis": 0}
        )
    index[0], index[3:] = 0, np.arange(3, 7)
    if len(bad) == 1:
        index[2] = 2
    x, values = normal(generator, (n, 33), dtype), normal(generator, (7, 33), dtype)
    return Call(op=op, inputs={"x": x, "index": index, "values": values})


def _shard(generator: np.random.Generator, *, dtype: str, v: int, h: int, rank: int, ranks: int) -> Call:
    part = v // ranks
    first = rank * part
    weight = normal(generator, (part, h), dtype)
    seams = np.array([0, first, first + part - 1, max(first - 1, 0), min(first + part, v - 1), v - 1])
    ids = np.concatenate([seams, generator.integers(0, v, 20)])
    return Call(op="embedding_shard", inputs={"weight": weight, "ids": ids}, attributes={"first": first})


def _gather(generator: np.random.Generator, *, dtype: str, shape: tuple[int, ...], axis: int, k: int) -> Call:
    x = generator.integers(-(1 << 62), 1 << 62, shape) if dtype == "int64" else bits(generator, shape, dtype)
    extents = list(shape)
    extents[axis] = k
    index = generator.integers(0, shape[axis], extents)
    return Call(op="gather", inputs={"x": x, "index": index}, attributes={"axis": axis})


def _rotary_rows(generator: np.random.Generator, *, dtype: str, rotary: int) -> Call:
    """Cosines of positions that are not in order, as multimodal prompts ask for them."""
    table = normal(generator, (4096, rotary), dtype)
    ids = np.concatenate([np.arange(100, 140), np.arange(7, 30), np.full(16, 4095), np.arange(40)[::-1]])
    return Call(op="embedding", inputs={"weight": table, "ids": ids})


def _loose_index(generator: np.random.Generator, *, dtype: str) -> Call:
    wide = np.full((64, 4), 1 << 40, np.int64)
    wide[::2, 1] = generator.integers(0, 500, 32)
    return Call(op="embedding", inputs={"weight": normal(generator, (500, 65), dtype), "ids": wide[::2, 1]})


def _loose_table(generator: np.random.Generator, *, dtype: str) -> Call:
    wide = np.full((500, 100), np.nan).astype(dtype_of(dtype))
    wide[:, 20:85] = normal(generator, (500, 65), dtype)
    return Call(op="embedding", inputs={"weight": wide[:, 20:85], "ids": generator.integers(0, 500, 40)})


def _put(generator: np.random.Generator, *, dtype: str, n: int, d: int, t: int, twice: bool) -> Call:
    index = generator.integers(0, n // 4, t) if twice else generator.permutation(n)[:t]
    return Call(
        op="index_put",
        inputs={
            "x": bits(generator, (n, d), dtype),
            "index": index,
            "values": bits(generator, (t, d), dtype),
        },
    )


def _add(generator: np.random.Generator, *, dtype: str, n: int, d: int, t: int, to: int) -> Call:
    x, values = normal(generator, (n, d), dtype), normal(generator, (t, d), dtype)
    return Call(op="index_add", inputs={"x": x, "index": generator.integers(0, to, t), "values": values})


def _ones(_: np.random.Generator, *, dtype: str) -> Call:
    """Small whole numbers: every sum is exact in every dtype, so no addition may be lost."""
    index = np.repeat(np.arange(8), 16)
    x, values = np.zeros((10, 17), np.float32), np.ones((128, 17), np.float32)
    inputs: dict[str, Array] = {"x": x.astype(dtype_of(dtype)), "values": values.astype(dtype_of(dtype))}
    return Call(op="index_add", inputs={**inputs, "index": index})


def _huge(_: np.random.Generator, *, h: int) -> Call:
    rows = (1 << 31) // h + 64
    weight = np.zeros((rows, h), np.int8)
    ids = np.array([0, rows - 1, rows - 64, (1 << 30) // h, (1 << 31) // h, (1 << 31) // h - 1])
    weight[ids] = np.arange(1, len(ids) + 1)[:, None]
    return Call(op="embedding", inputs={"weight": weight, "ids": ids})


def _case(op: str, what: str, dtype: str, **rest: object) -> Case:
    rest = {"exact": op not in ("index_add", "index_put"), **rest}
    return Case(id=f"gather/{op}-{what}-{dtype}", family="gather", op=op, dtype=dtype, **rest)  # type: ignore[arg-type]


def _tables() -> Iterator[Case]:
    for name in ("qwen3-32b", "deepseek-v3", "minimax-m2", "qwen3.5-27b"):
        for dtype in (*FLOATS, *_NARROW):
            for index in ("int64", "int32"):
                yield _case(
                    "embedding",
                    f"{name}-{index}",
                    dtype,
                    make=partial(_vocabulary, dtype=dtype, v=model(name).vocab_size, h=24, index=index),
                    geometry=f"{name} embedding",
                    edge="ids at both ends of the vocabulary and around powers of two",
                    profile="smoke" if name == "qwen3.5-27b" and dtype == "bfloat16" else "standard",
                )
    yield _case(
        "embedding",
        "beyond-2-31",
        "int8",
        make=partial(_huge, h=4096),
        edge="a table of more than 2**31 bytes: 32-bit offsets wrap",
        profile="full",
    )
    for dtype in FLOATS:
        for rank, ranks in ((0, 4), (1, 4), (3, 4), (7, 8)):
            yield _case(
                "embedding_shard",
                f"rank{rank}-of{ranks}",
                dtype,
                make=partial(
                    _shard, dtype=dtype, v=model("qwen3-32b").vocab_size, h=16, rank=rank, ranks=ranks
                ),
                geometry="qwen3-32b embedding",
                edge="ids just inside and just outside a rank's part",
                profile="smoke" if rank == 1 and dtype == "bfloat16" else "standard",
            )
        yield _case(
            "embedding",
            "rotary-rows",
            dtype,
            make=partial(_rotary_rows, dtype=dtype, rotary=core("qwen3-32b").qk_dim),
            geometry="qwen3-32b rotary table",
            edge="positions out of order and repeated",
        )
        yield _case(
            "embedding",
            "loose-index",
            dtype,
            make=partial(_loose_index, dtype=dtype),
            edge="ids with a stride",
        )
        yield _case(
            "embedding",
            "loose-table",
            dtype,
            make=partial(_loose_table, dtype=dtype),
            edge="a window of a wider table",
        )


def _outside() -> Iterator[Case]:
    for op in ("embedding", "gather", "index_put"):
        for what in ("last", "one-beyond", "far-beyond", "negative", "least"):
            for dtype in FLOATS if op == "embedding" else ("float32", "bfloat16"):
                beyond = what.endswith("beyond")
                yield _case(
                    op,
                    what,
                    dtype,
                    make=partial(_ids, op=op, dtype=dtype, what=what),
                    edge={"last": "the last row", "least": "minus the length of the table"}.get(
                        what, f"an id {what.replace('-', ' ')}: memory beside the table must not come out"
                    ),
                    switches=(_IDS[0],) if beyond else () if what == "last" else (_IDS[1],),
                    exact=True,
                    profile="smoke" if op == "embedding" and dtype == "float32" else "standard",
                )


def _elements() -> Iterator[Case]:
    for dtype in (*FLOATS, "int64"):
        for shape, axis, k in (
            ((7, 33), 1, 5),
            ((129, 17), 0, 200),
            ((3, 65, 9), 1, 64),
            ((2, 5, 1027), 2, 1),
        ):
            extents = "x".join(str(each) for each in shape)
            yield _case(
                "gather",
                f"{extents}-axis{axis}",
                dtype,
                make=partial(_gather, dtype=dtype, shape=shape, axis=axis, k=k),
                edge="every axis, more and fewer than there are",
                profile="smoke" if axis == 0 and dtype == "float32" else "standard",
            )
        yield _case(
            "gather",
            "logits",
            dtype,
            make=partial(_gather, dtype=dtype, shape=(2, model("qwen3-32b").vocab_size), axis=1, k=3),
            geometry="qwen3-32b logits",
            edge="log-probabilities of chosen tokens",
        )


def _writes() -> Iterator[Case]:
    for dtype in FLOATS:
        for n, d, t in ((8, 1, 8), (129, 33, 100), (4096, 128, 17)):
            yield _case(
                "index_put",
                f"distinct-{n}",
                dtype,
                make=partial(_put, dtype=dtype, n=n, d=d, t=t, twice=False),
                edge="rows written once, the others untouched",
                exact=True,
                profile="smoke" if n == 129 and dtype == "bfloat16" else "standard",
            )
        yield _case(
            "index_put",
            "duplicate",
            dtype,
            make=partial(_put, dtype=dtype, n=64, d=256, t=200, twice=True),
            edge="rows written many times: one writer's row stays, whole",
            switches=("duplicate_write",),
        )
        for n, d, t, to in ((8, 1, 100, 8), (129, 33, 1000, 129), (64, 512, 64, 1), (512, 128, 7, 512)):
            yield _case(
                "index_add",
                f"{t}-to-{to}",
                dtype,
                make=partial(_add, dtype=dtype, n=n, d=d, t=t, to=to),
                edge="all to one row" if to == 1 else "rows that several are added to",
                repeatable=False,
            )
        yield _case(
            "index_add",
            "whole-numbers",
            dtype,
            make=partial(_ones, dtype=dtype),
            edge="sums that every dtype holds: no addition may be lost to another",
            exact=True,
        )


def _extents() -> Iterator[Case]:
    for dtype in (*FLOATS, *_NARROW):
        yield _case(
            "embedding",
            "extents",
            dtype,
            make=partial(_rotary_rows, dtype=dtype, rotary=270),
            edge=OTHER_EXTENT,
            relations=("cuts:t", "cuts:h", "layouts", "again"),
            profile="smoke" if dtype == "bfloat16" else "standard",
        )
    for dtype in FLOATS:
        for op, make in (
            ("gather", partial(_gather, dtype=dtype, shape=(70, 40), axis=1, k=12)),
            ("index_put", partial(_put, dtype=dtype, n=70, d=66, t=40, twice=False)),
        ):
            yield _case(
                op,
                "extents",
                dtype,
                make=make,
                edge=OTHER_EXTENT,
                relations=("cuts:a" if op == "gather" else "cuts:d", "layouts", "again"),
                exact=True,
            )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    yield from _extents()
    yield from _tables()
    yield from _outside()
    yield from _elements()
    yield from _writes()
