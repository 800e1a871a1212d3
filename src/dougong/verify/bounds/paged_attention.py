"""Bounds of decode attention: those of attention, and the rounding of a cache in 8 bits once it is scaled."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.attention import Problem
from dougong.backends.reference.paged_attention import merge_weights, problems
from dougong.verify.bound import UNIT_ROUNDOFF, Bound, Floats, summation
from dougong.verify.bounds.attention import attended

_FLOAT32 = UNIT_ROUNDOFF["float32"]


def paged_attention(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """A scaled 8-bit key or value may be rounded to the dtype of the queries."""
    del exact
    dtype = call.inputs["q"].dtype.name
    scaled = UNIT_ROUNDOFF[dtype] if "k_scale" in call.inputs else 0.0
    parts = [
        attended(each, dtype, logit=_of_keys(each, scaled) if scaled else None, value=scaled)
        for each in problems(call)
    ]
    return {
        "y": Bound(**{name: np.stack([part[name][0].swapaxes(0, 1) for part in parts]) for name in parts[0]})
    }


def _of_keys(problem: Problem, roundoff: float) -> tuple[Floats, Floats]:
    q, k = (np.abs(np.nan_to_num(each)) for each in (problem.q, np.swapaxes(problem.k, -1, -2)))
    scale = abs(problem.scale) * roundoff
    return scale * np.sqrt((q * q) @ (k * k)), scale * (q @ k)


def merge_attention(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """A weight errs by exp and by its argument; the sum goes over the parts."""
    weight, log_sum = merge_weights(call)
    parts = np.where(weight[..., None] > 0, np.nan_to_num(call.inputs["parts"].astype(np.float64)), 0.0)
    finite = np.where(np.isfinite(log_sum), log_sum, 0.0)
    size = np.abs(np.nan_to_num(call.inputs["log_sums"].astype(np.float64), neginf=0.0))
    steps = _FLOAT32 * (12 + 2 * size + 2 * np.abs(finite))[..., None]
    terms = weight[..., None] * np.abs(parts)
    count = parts.shape[0]
    floor = np.sum(steps * (terms + weight[..., None] * np.abs(exact["y"])), axis=0)
    nothing = np.zeros(())
    return {
        "y": summation(
            count, np.sum(terms, axis=0), np.sqrt(np.sum(terms**2, axis=0)), exact["y"], floor=floor
        ),
        # log adds 3 ULP (OpenCL C 3.0, table 65) of a number of the size of log(count), then the largest is added.
        "log_sum": Bound(
            accumulate_rms=nothing,
            accumulate_worst=nothing,
            product_rms=nothing,
            product_worst=nothing,
            floor=_FLOAT32 * (count + 12 + 8 * np.log(count) + np.max(size, axis=0) + np.abs(finite)),
        ),
    }


BOUNDS = {"paged_attention": paged_attention, "merge_attention": merge_attention}
