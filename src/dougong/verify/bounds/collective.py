r"""Bounds of collectives.

Notes
-----
Ranks exchange partial sums in the dtype of the vector: of ``r`` ranks each of :math:`r - 1` additions rounds to it, the
last of which is the rounding of the result. The floor carries the others: at most :math:`(r - 2) u_d \sum |x|`. A
row-parallel layer rounds each rank's partial sum to the dtype besides.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.bound import UNIT_ROUNDOFF, Bound, summation
from dougong.verify.bounds.gemm import norms


def _sum(call: Call, exact: Mapping[str, Array], ranks: int) -> Bound:
    x = np.abs(np.nan_to_num(call.inputs["x"].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0))
    l1, l2 = (each.reshape(exact["y"].shape) if each.size == exact["y"].size else each for each in (
        np.sum(x, axis=0), np.sqrt(np.sum(x * x, axis=0))
    ))  # fmt: skip
    value = np.where(np.isfinite(exact["y"]), exact["y"], 0.0)
    roundoff = UNIT_ROUNDOFF[call.inputs["x"].dtype.name]
    typical = roundoff * np.sqrt(max(ranks - 2, 0)) * np.hypot(l2, value)
    return summation(ranks, l1, l2, value, floor=roundoff * (ranks - 2) * l1, floor_rms=typical)


def reduced(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """A sum over ranks; the largest is exact."""
    if call.get("reduce", "sum") == "max":
        return {}
    return {"y": _sum(call, exact, len(call.inputs["x"]))}


def row_parallel_linear(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """A linear layer in as many parts as ranks, each rounded, and their sum."""
    x, weight, ranks = call.inputs["x"], call.inputs["weight"], int(call.get("ranks", 2))
    l1, l2 = norms(x, weight)
    seams = [x.shape[1] * rank // ranks for rank in range(ranks + 1)]
    wide = [each.astype(np.float64) for each in (x, weight)]
    squares = np.zeros(l1.shape)
    size = np.zeros(l1.shape)
    for rank in range(ranks):
        part = wide[0][:, seams[rank] : seams[rank + 1]] @ wide[1][:, seams[rank] : seams[rank + 1]].T
        size, squares = size + np.abs(part), squares + part * part
    roundoff = UNIT_ROUNDOFF[x.dtype.name]
    typical = roundoff * np.sqrt(squares + max(ranks - 2, 0) * (squares + exact["y"] ** 2))
    bound = summation(x.shape[1], l1, l2, exact["y"], floor=roundoff * (ranks - 1) * size, floor_rms=typical)
    return {"y": bound}


def column_parallel_linear(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """A linear layer: no sum is cut."""
    x, weight = call.inputs["x"], call.inputs["weight"]
    l1, l2 = norms(x, weight)
    return {"y": summation(x.shape[1], l1, l2, exact["y"])}


BOUNDS = {
    "all_reduce": reduced,
    "reduce_scatter": reduced,
    "row_parallel_linear": row_parallel_linear,
    "column_parallel_linear": column_parallel_linear,
}
