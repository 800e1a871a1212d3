r"""Bounds of reductions and scans.

Notes
-----
A sum in any order has partial sums of at most :math:`\max_k |S_k|` in its own order and of :math:`(\sum t^2)^{1/2}` in
a random one; the larger of both stands in the root mean square, so that sorted inputs raise no alarm. A mean adds one
division. In :math:`\sqrt{\sum x^2}` the root halves the relative error of the sum, whose terms are rounded once
where products are not exact, and adds three units.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.bound import Bound, Floats
from dougong.verify.bounds.functions import ULPS


def _finite(x: Array) -> Floats:
    return np.where(np.isfinite(x), x, 0.0)


def _gates(typical: Floats, most: Floats) -> Bound:
    zero = np.zeros(())
    return Bound(
        accumulate_rms=typical,
        accumulate_worst=np.maximum(most, typical),
        product_rms=zero,
        product_worst=zero,
        floor=zero,
    )


def _norms(call: Call) -> tuple[Floats, int, int]:
    x = _finite(call.inputs["x"].astype(np.float64))
    axis = int(call.get("axis", -1))
    return x, axis, max(x.shape[axis], 1)


def total(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """Sum, and division by ``n`` for a mean."""
    x, axis, n = _norms(call)
    l1, l2 = np.sum(np.abs(x), axis=axis), np.sqrt(np.sum(x * x, axis=axis))
    partial = np.max(np.abs(np.cumsum(x, axis=axis)), axis=axis, initial=0.0)
    typical, most = np.sqrt(n) * np.maximum(l2, partial), n * l1
    if call.op == "sum":
        return {"y": _gates(typical, most)}
    divided = 2.0 * ULPS["divide"] * np.abs(_finite(exact["y"]))
    return {"y": _gates(typical / n + divided, most / n + divided)}


def vector_norm(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """Half the relative error of the sum of squares, and a root."""
    _, _, n = _norms(call)
    y = _finite(exact["y"])
    root = 2.0 * ULPS["sqrt"] + 1.0
    return {"y": _gates(y * (0.5 * np.sqrt(2.0 * n) + root), y * (0.5 * n + root))}


def cumsum(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """Every running sum has its own length."""
    x, axis, _ = _norms(call)
    shape = [1] * x.ndim
    shape[axis] = x.shape[axis]
    length = np.arange(1, x.shape[axis] + 1, dtype=np.float64).reshape(shape)
    l1, l2 = np.cumsum(np.abs(x), axis=axis), np.sqrt(np.cumsum(x * x, axis=axis))
    # A scan in blocks may pass through any sum of neighbours: twice the largest running sum bounds them all.
    partial = 2.0 * np.maximum.accumulate(np.abs(np.cumsum(x, axis=axis)), axis=axis)
    return {"y": _gates(np.sqrt(length) * np.maximum(l2, partial), length * l1)}


BOUNDS = {"sum": total, "mean": total, "vector_norm": vector_norm, "cumsum": cumsum}
