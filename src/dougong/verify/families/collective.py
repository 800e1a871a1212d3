"""Collectives of two to four ranks: odd and even sizes, small and large, and layers cut over ranks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from dougong.backends import Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import Case
from dougong.verify.families.listing import listed
from dougong.verify.geometry import matrix, model
from dougong.verify.numbers import bits, dtype_of, normal

_REDUCING = ("all_reduce", "reduce_scatter")
_MOVING = ("all_gather", "all_to_all", "broadcast")


def _vector(generator: np.random.Generator, *, op: str, dtype: str, ranks: int, n: int) -> Call:
    length = n * ranks if op in ("reduce_scatter", "all_to_all") else n
    make = normal if op in _REDUCING else bits
    attributes = {"root": ranks - 1} if op == "broadcast" else {}
    return Call(op=op, inputs={"x": make(generator, (ranks, length), dtype)}, attributes=attributes)


def _whole(generator: np.random.Generator, *, dtype: str, ranks: int) -> Call:
    """Whole numbers, another power of two on each rank: a lost or doubled rank shows exactly."""
    x = np.repeat(2.0 ** np.arange(ranks)[:, None], 1003, axis=1) * generator.integers(1, 3, 1003)
    return Call(op="all_reduce", inputs={"x": x.astype(dtype_of(dtype))})


def _largest(generator: np.random.Generator, *, dtype: str, ranks: int) -> Call:
    x = normal(generator, (ranks, 515), dtype) - dtype_of(dtype).type(8)
    return Call(op="all_reduce", inputs={"x": x.astype(dtype_of(dtype))}, attributes={"reduce": "max"})


def _poisoned(generator: np.random.Generator, *, dtype: str, ranks: int) -> Call:
    x = normal(generator, (ranks, 131), dtype)
    x[ranks - 1, 0], x[0, 130], x[0, 64] = np.nan, np.inf, np.inf
    x[1, 64] = -np.inf
    return Call(op="all_reduce", inputs={"x": x})


def _layer(
    generator: np.random.Generator, *, op: str, dtype: str, ranks: int, m: int, n: int, k: int
) -> Call:
    return Call(
        op=op,
        inputs={
            "x": normal(generator, (m, k), dtype),
            "weight": normal(generator, (n, k), dtype, scale=k**-0.5),
        },
        attributes={"ranks": ranks},
    )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    hidden = model("qwen3-32b").hidden_size
    for ranks in (2, 3, 4):
        for op in (*_REDUCING, *_MOVING):
            for n in (1, 7, 1024, 100_003 if op not in ("reduce_scatter", "all_to_all") else 25_001):
                for dtype in FLOATS if n in (7, 1024) else ("float32", "bfloat16"):
                    yield listed(
                        "collective",
                        op,
                        f"{op.replace('_', '-')}-{ranks}-ranks-n{n}",
                        dtype,
                        partial(_vector, op=op, dtype=dtype, ranks=ranks, n=n),
                        "sizes that no number of ranks divides, and ones that one message does not hold",
                        exact=op in _MOVING,
                        profile="smoke" if n == 7 and ranks == 4 and dtype == "bfloat16" else "standard",
                    )
        for dtype in FLOATS:
            yield listed(
                "collective",
                "all_reduce",
                f"all-reduce-{ranks}-ranks-hidden",
                dtype,
                partial(_vector, op="all_reduce", dtype=dtype, ranks=ranks, n=4 * hidden),
                "the residual of four tokens",
                geometry="qwen3-32b hidden",
                provenance=("ROCm/aiter#4855",),
            )
            yield listed(
                "collective",
                "all_reduce",
                f"all-reduce-{ranks}-ranks-whole-numbers",
                dtype,
                partial(_whole, dtype=dtype, ranks=ranks),
                "a rank that is lost or counted twice",
                exact=True,
                profile="smoke" if ranks == 4 and dtype == "float32" else "standard",
            )
            yield listed(
                "collective",
                "all_reduce",
                f"all-reduce-{ranks}-ranks-largest",
                dtype,
                partial(_largest, dtype=dtype, ranks=ranks),
                "the largest of negative numbers",
                exact=True,
            )
            yield listed(
                "collective",
                "all_reduce",
                f"all-reduce-{ranks}-ranks-nan",
                dtype,
                partial(_poisoned, dtype=dtype, ranks=ranks),
                "one rank's NaN and infinities reach every rank, and no other element",
            )
            for op in ("row_parallel_linear", "column_parallel_linear"):
                for m, n, k in ((1, 96, matrix("qwen3-32b", "o_proj")[1]), (17, 132, 516)):
                    yield listed(
                        "collective",
                        op,
                        f"{op.replace('_', '-')}-{ranks}-ranks-m{m}",
                        dtype,
                        partial(_layer, op=op, dtype=dtype, ranks=ranks, m=m, n=n, k=k),
                        "a layer cut over ranks is the layer",
                        geometry="qwen3-32b o_proj" if m == 1 else "edge",
                        provenance=("baidu/vLLM-Kunlun#366",),
                        profile="smoke" if ranks == 4 and m == 17 and dtype == "float32" else "standard",
                    )
