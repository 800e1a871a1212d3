"""Bounds of products of quantised matrices: their bits are exact, so scales and sums are all that rounds."""

from __future__ import annotations

from collections.abc import Mapping

from dougong.backends import Array, Call
from dougong.backends.reference.quantised_gemm import DEQUANTISED
from dougong.verify.bound import UNIT_ROUNDOFF, Bound, summation
from dougong.verify.bounds.gemm import norms

_SCALINGS = 3
"""Roundings of a term by its scales: both multiplied, then the sum by them, in float32."""

_WIDENED = ("linear_w8a16", "linear_w4a16", "linear_mxfp4", "linear_nvfp4")
"""Where a stack widens the weights to the dtype of the activations before it multiplies, which rounds them once."""


def product(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """Sum over ``k`` of dequantised terms."""
    x, weight = DEQUANTISED[call.op](call)
    l1, l2 = norms(x, weight)
    roundoff = _SCALINGS * UNIT_ROUNDOFF["float32"]
    if call.op in _WIDENED:
        roundoff += UNIT_ROUNDOFF[call.inputs["x"].dtype.name]
    # A row or block shares its scale and so its rounding: the terms do not err independently.
    scales = UNIT_ROUNDOFF["float32"] * _SCALINGS * l1 if call.op not in _WIDENED else roundoff * l2
    return {
        "y": summation(x.shape[-1], l1, l2, exact["y"], floor=roundoff * l1, floor_rms=scales),
    }


BOUNDS = dict.fromkeys(DEQUANTISED, product)
