"""Low-rank adapters: ranks 8 to 256, none, one and many in a batch, zero adapters, merged weights."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from dougong.backends import Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.geometry import matrix
from dougong.verify.numbers import normal

_MIXES = {
    "mixed": "four adapters and none, row by row, out of order",
    "one": "one adapter for all",
    "none": "no adapter: the base alone, bit for bit what it is without",
    "zero": "an adapter of zeros, as one is before training",
    "sparse": "one row of many has an adapter",
    "loud": "adapters whose scalings differ a thousandfold: the neighbour's would be seen",
}


def _linear(generator: np.random.Generator, *, dtype: str, m: int, n: int, k: int, r: int, mix: str) -> Call:
    adapters = 4
    adapter = generator.integers(-1, adapters, m)
    scaling = np.array([0.5, 1.0, 2.0, 0.25], np.float32)
    up = normal(generator, (adapters, n, r), dtype, scale=r**-0.5)
    if mix == "one":
        adapter[:] = 2
    if mix == "none":
        adapter[:] = -1
    if mix == "zero":
        up[:] = 0
    if mix == "sparse":
        adapter[:] = -1
        adapter[m // 2] = 3
    if mix == "loud":
        scaling = np.array([8.0, 0.01, 3.0, 0.1], np.float32)
    return Call(
        op="lora_linear",
        inputs={
            "x": normal(generator, (m, k), dtype),
            "weight": normal(generator, (n, k), dtype, scale=k**-0.5),
            "down": normal(generator, (adapters, r, k), dtype, scale=k**-0.5),
            "up": up,
            "scaling": scaling,
            "adapter": adapter,
        },
    )


def _merge(generator: np.random.Generator, *, dtype: str, n: int, k: int, r: int) -> Call:
    return Call(
        op="lora_merge",
        inputs={
            "weight": normal(generator, (n, k), dtype, scale=k**-0.5),
            "down": normal(generator, (r, k), dtype, scale=k**-0.5),
            "up": normal(generator, (n, r), dtype, scale=r**-0.5),
            "scaling": np.array(1.5, np.float32),
        },
    )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    _, wide = matrix("qwen3-32b", "q_proj")
    for dtype in FLOATS:
        for r in (8, 16, 64, 256):
            yield Case(
                id=f"lora/linear-rank{r}-{dtype}",
                family="lora",
                op="lora_linear",
                dtype=dtype,
                make=partial(_linear, dtype=dtype, m=9, n=256, k=wide, r=r, mix="mixed"),
                geometry="qwen3-32b q_proj",
                edge=f"rank {r}; {_MIXES['mixed']}",
                relations=("row_chunks",),
                profile="smoke" if r == 16 and dtype == "bfloat16" else "standard",
            )
            yield Case(
                id=f"lora/merge-rank{r}-{dtype}",
                family="lora",
                op="lora_merge",
                dtype=dtype,
                make=partial(_merge, dtype=dtype, n=96, k=1024, r=r),
                edge="a merged weight",
            )
        yield Case(
            id=f"lora/linear-extents-{dtype}",
            family="lora",
            op="lora_linear",
            dtype=dtype,
            make=partial(_linear, dtype=dtype, m=34, n=34, k=66, r=34, mix="mixed"),
            edge=OTHER_EXTENT,
            relations=("cuts:m", "cuts:n", "cuts:k", "cuts:r", "layouts", "again"),
        )
        for mix, edge in _MIXES.items():
            for m in (1, 17):
                yield Case(
                    id=f"lora/linear-{mix}-m{m}-{dtype}",
                    family="lora",
                    op="lora_linear",
                    dtype=dtype,
                    make=partial(_linear, dtype=dtype, m=m, n=130, k=515, r=8, mix=mix),
                    edge=edge,
                    profile="smoke" if mix == "loud" and m == 17 and dtype == "float32" else "standard",
                )
