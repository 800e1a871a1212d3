r"""Bounds of low-rank adapters.

Notes
-----
:math:`h = D x` is a sum of ``k`` terms, :math:`\delta = s U h` one of ``r``. The error of ``h`` reaches the result
through :math:`s |U|`; ``h``, :math:`\delta`, the scaling and the base may each be rounded to the dtype before they
are added, which the floor carries.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.bound import UNIT_ROUNDOFF, Bound, Floats


def _norms(a: Array, b: Array) -> tuple[Floats, Floats, Floats]:
    """Product, L1 norm and L2 norm of the terms of ``a @ b.T``."""
    return a @ b.T, np.abs(a) @ np.abs(b).T, np.sqrt((a * a) @ (b * b).T)


def lora_linear(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """Row by row with its own adapter."""
    x, weight, downs, ups, scaling = (
        call.inputs[name].astype(np.float64) for name in ("x", "weight", "down", "up", "scaling")
    )
    k = x.shape[-1]
    base, l1, l2 = _norms(x, weight)
    typical, most = np.sqrt(k) * np.hypot(l2, base), k * l1
    product, product_most = l2.copy(), l1.copy()
    floor = np.abs(base)
    for a in np.unique(call.inputs["adapter"]):
        if a < 0:
            continue
        rows = call.inputs["adapter"] == a
        size, up = abs(scaling[a]), ups[a]
        r = up.shape[-1]
        h, h1, h2 = _norms(x[rows], downs[a])
        delta, d1, d2 = _norms(h, up)
        through, squares = np.abs(up), up * up
        typical[rows] += size * (
            np.sqrt(k) * np.sqrt((h2 * h2 + h * h) @ squares.T) + np.sqrt(r) * np.hypot(d2, delta)
        )
        most[rows] += size * (k * (h1 @ through.T) + r * d1)
        product[rows] += size * (np.sqrt((h2 * h2) @ squares.T) + d2)
        product_most[rows] += size * (h1 @ through.T + d1)
        floor[rows] += size * (d1 + 3.0 * np.abs(delta))
    roundoff = UNIT_ROUNDOFF[call.inputs["x"].dtype.name]
    bound = Bound(
        accumulate_rms=typical,
        accumulate_worst=most,
        product_rms=product,
        product_worst=product_most,
        floor=roundoff * floor,
    )
    return {"y": bound}


def lora_merge(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """A sum of ``r`` terms onto a weight."""
    down, up, scaling = (call.inputs[name].astype(np.float64) for name in ("down", "up", "scaling"))
    delta, l1, l2 = _norms(up, down.T)
    r, size = down.shape[0], np.abs(scaling)
    bound = Bound(
        accumulate_rms=size * np.sqrt(r) * np.hypot(l2, delta) + np.abs(exact["y"]),
        accumulate_worst=size * r * l1 + np.abs(exact["y"]),
        product_rms=size * l2,
        product_worst=size * l1,
        floor=UNIT_ROUNDOFF[call.inputs["down"].dtype.name] * 3.0 * size * np.abs(delta),
    )
    return {"y": bound}


BOUNDS = {"lora_linear": lora_linear, "lora_merge": lora_merge}
