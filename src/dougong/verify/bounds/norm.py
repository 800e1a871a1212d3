r"""Bounds of norms.

Notes
-----
With :math:`S = \sum x^2`, :math:`r = (S / n + \epsilon)^{-1/2}` a relative error :math:`\delta` of ``S`` is at
most :math:`\delta / 2` in ``r``, and a whole row shares it. A centred row has the error of its mean besides, which
counts by :math:`|\mu| / \sigma`: the condition of the problem.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.bound import SMALLEST_NORMAL, UNIT_ROUNDOFF, Bound, Floats

_FLOAT32 = UNIT_ROUNDOFF["float32"]

_STEPS = 4 + 4
"""Roundoffs of 1 / sqrt (2 ULP: OpenCL C 3.0, table 65, rsqrt) and of the four float32 products around it."""

_EXP_STEPS = 2 * 3 + 4
"""Roundoffs of exp (3 ULP, the same table), of 1 +, of the quotient and of the product with it."""


def _sum_of_squares(x: Floats) -> tuple[Floats, Floats]:
    """Relative error of ``sum x^2`` over the unit roundoff of the sum: RMS and worst, per row."""
    length = x.shape[-1]
    squares = x * x
    total = np.sum(squares, axis=-1, keepdims=True)
    l2 = np.sqrt(np.sum(squares * squares, axis=-1, keepdims=True))
    typical = np.sqrt(length) * np.hypot(np.divide(l2, total, out=np.zeros_like(l2), where=total > 0), 1.0)
    return typical, np.full_like(total, float(length))


def _wide(call: Call, name: str) -> Floats:
    return np.nan_to_num(call.inputs[name].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _scaled(call: Call, value: Floats, x: Floats, *, narrowings: int, steps: int = _STEPS) -> Bound:
    """Bound of ``x`` times a row's ``1 / sqrt``; ``narrowings`` counts roundings to the dtype on the way."""
    y = np.abs(np.nan_to_num(value, nan=0.0, posinf=0.0, neginf=0.0))
    typical, most = _sum_of_squares(x)
    # A square of float32 is rounded, and by as much as its factors are where they are narrowed.
    l2 = typical / np.sqrt(x.shape[-1]) if x.shape[-1] else typical
    narrow = narrowings * UNIT_ROUNDOFF[call.inputs["x"].dtype.name]
    # What is subnormal before its weight keeps half a step of those, and no relative digit.
    least = SMALLEST_NORMAL[call.inputs["x"].dtype.name] * np.abs(_factor(call))
    narrowed = narrow * np.where(y > 0, np.maximum(y, least), 0.0)
    return Bound(
        accumulate_rms=y * typical / 2,
        accumulate_worst=y * most / 2,
        product_rms=y * np.maximum(l2, 1.0),
        product_worst=2 * y,
        floor=narrowed + y * steps * _FLOAT32,
        floor_rms=narrowed / np.sqrt(3) + y * steps * _FLOAT32,
    )


def _factor(call: Call) -> Floats:
    """What a normed row is multiplied by; of a gate, no less than its SiLU."""
    factor = np.ones(()) if "weight" not in call.inputs else _wide(call, "weight")
    factor = factor + float(call.get("weight_offset", 0.0))
    return factor * np.maximum(np.abs(_wide(call, "gate")), 1.0) if "gate" in call.inputs else factor


def rms_norm(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """A model may round the normed row to its dtype before the weight, and once more the offset weight."""
    return {
        "y": _scaled(call, exact["y"], _wide(call, "x"), narrowings=1 + bool(call.get("weight_offset", 0.0)))
    }


def add_rms_norm(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """The sum itself must be exact once rounded; its norm may be taken before or after that rounding."""
    x = _wide(call, "x") + _wide(call, "residual")
    return {"y": _scaled(call, exact["y"], x, narrowings=3)}


def gated_rms_norm(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """The gate's SiLU may be rounded, and so may the normed row and its product with the weight."""
    gate = np.abs(_wide(call, "gate"))
    bound = _scaled(call, exact["y"], _wide(call, "x"), narrowings=3, steps=_STEPS + _EXP_STEPS)
    # exp is conditioned by its argument: one roundoff of the gate's own product with -1 / ln 2.
    y = np.abs(np.nan_to_num(exact["y"], nan=0.0, posinf=0.0, neginf=0.0))
    extra = y * gate * _FLOAT32
    return {
        "y": Bound(
            accumulate_rms=bound.accumulate_rms,
            accumulate_worst=bound.accumulate_worst,
            product_rms=bound.product_rms,
            product_worst=bound.product_worst,
            floor=bound.floor + extra,
            floor_rms=(bound.floor if bound.floor_rms is None else bound.floor_rms) + extra,
        )
    }


def layer_norm(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """The error of the mean over the standard deviation, that of the variance, and the roundings around them."""
    x, weight = _wide(call, "x"), np.abs(_wide(call, "weight"))
    length, eps = x.shape[-1], float(call.get("eps", 1e-5))
    mean = np.mean(x, axis=-1, keepdims=True)
    centred = x - mean
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    deviation = np.sqrt(variance + eps)
    l1, l2 = (np.sum(np.abs(x), -1, keepdims=True), np.sqrt(np.sum(x * x, -1, keepdims=True)))
    mean_rms = np.sqrt(length) * np.hypot(l2, np.sum(x, -1, keepdims=True)) / length
    normed = np.abs(centred) / deviation
    typical, most = _sum_of_squares(centred)
    share = variance / (variance + eps)
    bias = np.abs(_wide(call, "bias")) if "bias" in call.inputs else 0.0
    # The difference from the mean is rounded once, with the mean's own last bit in it.
    once = weight * ((np.abs(x) + np.abs(mean)) / deviation + _STEPS * normed) + bias
    dtype = call.inputs["x"].dtype.name
    least = np.where(normed > 0, np.maximum(normed, SMALLEST_NORMAL[dtype]), 0.0)
    narrow = UNIT_ROUNDOFF[dtype] * weight * least
    return {
        "y": Bound(
            accumulate_rms=weight * (mean_rms / deviation + normed * share * typical / 2),
            accumulate_worst=weight * (l1 / deviation + normed * share * most / 2),
            product_rms=weight * normed,
            product_worst=2 * weight * normed,
            floor=once * _FLOAT32 + narrow,
            floor_rms=once * _FLOAT32 + narrow / np.sqrt(3),
        )
    }


def l2_norm(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """As RMSNorm without a weight."""
    return {"y": _scaled(call, exact["y"], _wide(call, "x"), narrowings=0)}


BOUNDS = {
    "rms_norm": rms_norm,
    "add_rms_norm": add_rms_norm,
    "gated_rms_norm": gated_rms_norm,
    "layer_norm": layer_norm,
    "l2_norm": l2_norm,
}
