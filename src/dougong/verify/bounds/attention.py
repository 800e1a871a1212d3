r"""Bounds of attention.

Notes
-----
With weights :math:`p_s` and an absolute error :math:`\delta_s` of each logit, to first order

.. math:: \delta y = \sum_s p_s \delta_s (v_s - y)

so a logit's error counts by how far its value is from the mean. A logit errs by its sum over ``d`` and by the
rounding of its scaling; a weight by exp (3 ULP: OpenCL C 3.0, table 65, and its argument's own roundings). Of
float16 and bfloat16 the weights may be rounded once before they are multiplied with the values, divided by their sum
or not, as flash attention does (Dao, arXiv:2307.08691, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.attention import Problem, logits, packed, packed_problems, problem_of, weights
from dougong.verify.bound import UNIT_ROUNDOFF, Bound, Floats

_FLOAT32 = UNIT_ROUNDOFF["float32"]
_TANH_STEPS = 2 * 5
"""Roundoffs of tanh: 5 ULP (OpenCL C 3.0, table 65)."""


def _finite(x: Floats) -> Floats:
    return np.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)


def attended(
    problem: Problem, dtype: str, *, logit: tuple[Floats, Floats] | None = None, value: float = 0.0
) -> dict[str, Floats]:
    """Fields of the bound of one problem's answer ``[b, h, t, e]``.

    Parameters
    ----------
    dtype
        That in which weights may be rounded.
    logit
        Further errors of the logits, RMS and worst, where keys or queries are themselves results.
    value
        Relative error of the values, where they are.
    """
    q, k, v = (_finite(each) for each in (problem.q, problem.k, problem.v))
    problem = Problem(
        q=q,
        k=k,
        v=v,
        visible=problem.visible,
        bias=problem.bias,
        scale=problem.scale,
        softcap=problem.softcap,
        sinks=problem.sinks,
    )
    p, score = weights(problem)[0], logits(problem)
    # A row that sees nothing may answer with the mean of the values, which is a sum like any other.
    p = np.where(np.any(p > 0, axis=-1, keepdims=True), p, 1.0 / max(p.shape[-1], 1))
    y = p @ v
    width, keys = q.shape[-1], k.shape[-2]
    turned = np.swapaxes(k, -1, -2)
    scale = abs(problem.scale)
    l1 = scale * (np.abs(q) @ np.abs(turned))
    l2 = scale * np.sqrt((q * q) @ (turned * turned))
    slope: Floats | float = 1.0
    raw = np.abs(_finite(score))
    if problem.softcap:
        slope = 1.0 - (np.clip(raw / problem.softcap, 0.0, 1.0)) ** 2
    highest = np.max(np.where(np.isfinite(score), score, -np.inf), axis=-1, keepdims=True, initial=-np.inf)
    own = _FLOAT32 * (
        8 + 3 * raw + np.abs(_finite(highest)) + np.abs(_finite(np.asarray(problem.bias, np.float64)))
    )
    if problem.softcap:
        own = own + _FLOAT32 * _TANH_STEPS * raw
    further = (np.zeros(()), np.zeros(())) if logit is None else logit

    def typical(delta: Floats) -> Floats:
        square = (p * delta) ** 2
        spread = square @ (v * v) - 2 * y * (square @ v) + y * y * np.sum(square, axis=-1, keepdims=True)
        return np.sqrt(np.maximum(spread, 0.0))

    def worst(delta: Floats) -> Floats:
        moved = p * delta
        return moved @ np.abs(v) + np.abs(y) * np.sum(moved, axis=-1, keepdims=True)

    values_l1 = p @ np.abs(v)
    values_l2 = np.sqrt((p * p) @ (v * v))
    weights_l2 = np.sqrt(np.sum(p * p, axis=-1, keepdims=True))
    narrow = UNIT_ROUNDOFF[dtype] if dtype != "float32" else 0.0
    return {
        "accumulate_rms": np.hypot(
            typical(slope * np.sqrt(width) * np.hypot(l2, raw)),
            np.sqrt(keys) * np.hypot(np.hypot(values_l2, y), y * np.hypot(weights_l2, 1.0)),
        ),
        "accumulate_worst": worst(slope * width * l1) + keys * (values_l1 + np.abs(y)),
        "product_rms": np.hypot(typical(slope * l2), values_l2),
        "product_worst": worst(slope * l1) + values_l1,
        "floor": worst(own + further[1])
        + narrow * (values_l1 + 2 * np.abs(y))
        + (4 * _FLOAT32 + value) * (values_l1 + np.abs(y)),
        # Weights that are alike round alike: their common error does not average out.
        "floor_rms": typical(own + further[0])
        + narrow * (np.hypot(values_l2, y * weights_l2) + np.abs(y))
        + 4 * _FLOAT32 * np.abs(y)
        + value * values_l2,
    }


def attention(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """The bound of a batch."""
    del exact
    return {"y": Bound(**attended(problem_of(call), call.inputs["q"].dtype.name))}


def attention_varlen(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """The bounds of packed sequences, joined as their answers are."""
    del exact
    dtype = call.inputs["q"].dtype.name
    return {"y": joined([attended(each, dtype) for each in packed_problems(call)])}


def joined(parts: list[dict[str, Floats]]) -> Bound:
    """Join the fields of several problems to the bound of ``[t, h, e]``."""
    return Bound(**{name: packed([part[name] for part in parts]) for name in parts[0]})


BOUNDS = {"attention": attention, "attention_varlen": attention_varlen}
