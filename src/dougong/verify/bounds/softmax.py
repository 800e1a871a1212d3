r"""Bounds of softmax.

Notes
-----
With :math:`s_i = x_i - \max x` rounded once and an exponential of 3 units, :math:`w_i = e^{s_i}` has the relative error
:math:`\epsilon_i = 6 + |s_i|`. The sum :math:`Z` of ``n`` positive terms has the relative error
:math:`\bar\epsilon = \sum_i p_i \epsilon_i`, plus at most ``n`` and typically :math:`\sqrt{n \sum p_i^2 + n} \le
\sqrt{2 n}` roundings. The quotient adds one division (2.5 units). A scale is one more rounding of the argument.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.softmax import lse, shifted
from dougong.verify.bound import UNIT_ROUNDOFF, Bound, Floats
from dougong.verify.bounds.functions import ULPS, UNDERFLOW, computed

_EXP, _DIVIDE, _LOG = 2.0 * ULPS["exp"], 2.0 * ULPS["divide"], 2.0 * ULPS["log"]


def _finite(x: Array) -> Floats:
    return np.where(np.isfinite(x), x, 0.0)


def _gates(typical: Floats, most: Floats, floor: Floats | float) -> Bound:
    zero = np.zeros(())
    return Bound(
        accumulate_rms=typical,
        accumulate_worst=most,
        product_rms=zero,
        product_worst=zero,
        floor=np.asarray(floor, np.float64),
    )


def normaliser_error(p: Floats, errors: Floats) -> tuple[Floats, Floats]:
    """Relative error of the sum of ``e ** s``, typical and at most [unit roundoffs], from the terms' own errors."""
    n = p.shape[-1]
    carried = np.sum(p * errors, axis=-1, keepdims=True)
    return carried + np.sqrt(2.0 * n), carried + n


def softmax(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """Exponential, sum and quotient."""
    scale = call.get("scale", 1.0)
    p = _finite(exact["y"])
    x = call.inputs["x"].astype(np.float64) * scale
    s = np.abs(_finite(shifted(x)))
    roundings = s if scale == 1.0 else s + 2.0 * np.abs(_finite(x))
    errors = _EXP + np.minimum(roundings, 1e6)
    typical, most = normaliser_error(p, errors)
    return {"y": _gates(p * (errors + typical + _DIVIDE), p * (errors + most + _DIVIDE), UNDERFLOW)}


def log_softmax(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """The shift, the logarithm of the sum, and their difference."""
    x = call.inputs["x"].astype(np.float64)
    y = _finite(exact["y"])
    s = np.abs(_finite(shifted(x)))
    p = np.where(np.isfinite(exact["y"]), np.exp(y), 0.0)
    typical, most = normaliser_error(p, _EXP + s)
    total = np.abs(np.log(np.maximum(np.sum(np.exp(-s) * np.isfinite(x), axis=-1, keepdims=True), 1.0)))
    rest = s + _LOG * total + np.abs(y)
    return {"y": _gates(rest + typical, rest + most, 0.0)}


def logsumexp(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """The logarithm of the sum, and the largest value added again."""
    x = call.inputs["x"].astype(np.float64)
    s = np.abs(_finite(shifted(x)))
    y = _finite(exact["y"])
    with np.errstate(invalid="ignore"):
        p = np.where(np.isfinite(x), np.exp(x - y[..., None]), 0.0)
    typical, most = normaliser_error(np.minimum(p, 1.0), _EXP + s)
    total = np.log(np.maximum(np.sum(np.exp(-s) * np.isfinite(x), axis=-1), 1.0))
    rest = _LOG * total + np.abs(y)
    # No kernel of its own: the sum and its logarithm are results too, rounded to the dtype.
    rounded = UNIT_ROUNDOFF[call.inputs["x"].dtype.name] * (1.0 + total)
    return {"y": _gates(rest + typical[..., 0], rest + most[..., 0], rounded)}


def softmax_merge(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """A softmax over few parts, then a weighted sum of them."""
    values, parts = (call.inputs[name].astype(np.float64) for name in ("values", "lse"))
    finite = np.isfinite(parts)
    parts, total = np.where(finite, parts, -1e300), lse(parts, axis=0)
    s = np.where(finite, np.abs(parts - np.max(parts, axis=0)), 0.0)
    with np.errstate(invalid="ignore"):
        weights = np.where(finite, np.exp(parts - total), 0.0)
    # The parts' own sizes count: lse - total is a difference of rounded numbers where a stack forms it so.
    errors = _EXP + s + 2.0 * np.where(finite, np.abs(parts), 0.0) + 2.0 * np.abs(_finite(total))
    count = parts.shape[0]
    carried = np.sum(weights * errors, axis=0)
    each = np.einsum("sm,smd->md", weights * (errors + 2.0), np.abs(values))
    around = (carried + count + _DIVIDE)[:, None] * np.einsum("sm,smd->md", weights, np.abs(values))
    settled = np.abs(_finite(total)) + _LOG * np.log(max(count, 2)) + carried + count
    return {"y": computed(each + around), "total": computed(settled)}


BOUNDS = {
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": logsumexp,
    "softmax_merge": softmax_merge,
}
