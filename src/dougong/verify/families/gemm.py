"""Linear layers: extents of real models, one token to a prompt, and the accumulators' edges."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from dougong.backends import Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import Case
from dougong.verify.numbers import normal

_PLACES = (("qwen3-32b q_proj", 8192, 5120), ("edge", 71, 130))
_ROWS = (1, 2, 7, 16, 17, 128)


def _linear(generator: np.random.Generator, *, m: int, n: int, k: int, dtype: str) -> Call:
    x = normal(generator, (m, k), dtype)
    weight = normal(generator, (n, k), dtype, scale=k**-0.5)
    return Call(op="linear", inputs={"x": x, "weight": weight})


def cases() -> Iterator[Case]:
    """Cases of the family."""
    for geometry, n, k in _PLACES:
        for dtype in FLOATS:
            for m in _ROWS:
                yield Case(
                    id=f"gemm/linear-m{m}-n{n}-k{k}-{dtype}",
                    family="gemm",
                    op="linear",
                    dtype=dtype,
                    make=partial(_linear, m=m, n=n, k=k, dtype=dtype),
                    geometry=geometry,
                    edge="rows that do not fill a tile" if m in (7, 17) else "extents of a real model",
                    relations=("row_chunks",) if m > 1 else (),
                    profile="smoke" if m in (1, 17) else "standard",
                )
