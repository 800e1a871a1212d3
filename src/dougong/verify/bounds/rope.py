r"""Bounds of rotary position embedding: the condition of an angle is the angle itself.

Notes
-----
An angle is a position times a frequency in float32, so a relative error :math:`\delta` of the frequency moves it by
:math:`p f \delta`. The frequency comes from a power (16 ULP: OpenCL C 3.0, table 65, pow) or from the exponential of a
product of size :math:`\ln(base) 2 i / dim`, which loses as many roundoffs; the pair of frequency 1 is exact either way.
Sine and cosine add 4 ULP (the same table), of 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.rope import (
    angles,
    attention_factor,
    blend,
    dim_of,
    joined,
    scaling_of,
    split,
    tables,
    turned,
)
from dougong.verify.bound import UNIT_ROUNDOFF, Bound, Floats, summation

_FLOAT32 = UNIT_ROUNDOFF["float32"]
_TRIG = 8 * _FLOAT32


def _steps(call: Call) -> tuple[Floats, Floats]:
    """Roundoffs of a frequency and of its product with a position: RMS and worst [dim/2]."""
    dim, scaling = dim_of(call), scaling_of(call)
    power = np.log(float(call.get("base", 1e4))) * 2 * np.arange(dim // 2) / dim
    typical, worst = 4 + 2 * power, 2 * 16 + 2 + 4 * power
    if scaling.get("type") == "dynamic":  # the base is itself a power; its error counts by 2 i / dim
        typical, worst = typical + 2 * power, worst + 36 * power
    typical[0] = worst[0] = 0.0
    if scaling:
        share = blend(call)
        # Where two frequencies are blended, the roundings of the share count by their quotient.
        mixed = np.where((share > 0) & (share < 1), 4.0 * float(scaling.get("factor", 1.0)), 1.0)
        typical, worst = typical + mixed, worst + 2 * mixed
    return typical, worst


def _moved(call: Call, positions: Array) -> tuple[Floats, Floats]:
    """Error of cos and sin, RMS and worst [t dim/2]."""
    at = np.abs(angles(call, positions))
    far = np.any(np.abs(np.atleast_2d(positions).astype(np.float64)) > 2.0**24, axis=0)
    typical, worst = _steps(call)
    factor, beyond = attention_factor(call), far[:, None].astype(np.float64)
    return (
        factor * (np.minimum(at * (typical + beyond) * _FLOAT32, 1.0) + _TRIG),
        factor * (np.minimum(at * (worst + beyond) * _FLOAT32, 2.0) + _TRIG),
    )


def rope_angles(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """The error of the angle; tables are not rounded further than to float32."""
    typical, worst = _moved(call, call.inputs["positions"])
    nothing = np.zeros(())
    bound = Bound(
        accumulate_rms=nothing,
        accumulate_worst=nothing,
        product_rms=nothing,
        product_worst=nothing,
        floor=worst,
        floor_rms=typical,
    )
    return {"cos": bound, "sin": bound}


def _turning(
    call: Call, x: Array, cos: Floats, sin: Floats, moved: tuple[Floats, Floats], narrowings: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """Errors of a turned head, RMS and worst, and the L2 and L1 norms of its two terms."""
    style = str(call.get("style", "neox"))
    narrow = narrowings * (UNIT_ROUNDOFF[x.dtype.name] if x.dtype.itemsize < 4 else 0.0) + 2 * _FLOAT32
    first, second, rest = split(np.abs(np.nan_to_num(x.astype(np.float64))), 2 * cos.shape[-1], style)
    still = np.zeros_like(rest)

    def both(a: Floats, b: Floats) -> Floats:
        return joined(a, b, still, style)

    cos, sin = np.abs(cos)[:, None], np.abs(sin)[:, None]
    l1 = both(first * cos + second * sin, second * cos + first * sin)
    l2 = both(np.hypot(first * cos, second * sin), np.hypot(second * cos, first * sin))
    typical, worst = (each[:, None] for each in moved)
    sum_, length = first + second, np.hypot(first, second)
    return (
        both(length * typical, length * typical) + narrow * l2,
        both(sum_ * worst, sum_ * worst) + narrow * l1,
        l2,
        l1,
    )


def _turned(
    call: Call,
    exact: Mapping[str, Array],
    cos: Floats,
    sin: Floats,
    moved: tuple[Floats, Floats],
    narrowings: int,
) -> dict[str, Bound]:
    typical, worst, l2, l1 = _turning(call, call.inputs["x"], cos, sin, moved, narrowings)
    return {"y": summation(2, l1, l2, exact["y"], floor=worst, floor_rms=typical)}


def rope(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """The error of the angle; cos, sin and both products may be rounded to the dtype, as the models' code has it."""
    positions = call.inputs["positions"]
    return _turned(call, exact, *tables(call, positions), _moved(call, positions), 2)


def rope_cached(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """Both products may be rounded to the dtype."""
    positions = call.inputs["positions"]
    cos, sin = (call.inputs[name].astype(np.float64)[positions] for name in ("cos", "sin"))
    nothing = np.zeros_like(cos)
    return _turned(call, exact, cos, sin, (nothing, nothing), 1)


def rope_scores(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """Errors of turned queries and keys, times the other, and the sum; what is turned may be rounded to the dtype."""
    sides: dict[str, tuple[Floats, Floats, Floats]] = {}
    for name in ("q", "k"):
        x, positions = call.inputs[name], call.inputs[f"{name}_positions"]
        cos, sin = tables(call, positions)
        typical, worst, _, _ = _turning(call, x, cos, sin, _moved(call, positions), 2)
        value = turned(call, x, cos, sin)
        once = UNIT_ROUNDOFF[x.dtype.name] * np.abs(value)
        sides[name] = value, typical + once, worst + once
    (q, q_rms, q_worst), (k, k_rms, k_worst) = sides["q"], sides["k"]

    def product(a: Floats, b: Floats) -> Floats:
        return np.einsum("thd,shd->hts", a, b)

    rms = np.sqrt(product(q_rms**2, k**2) + product(q**2, k_rms**2))
    worst = product(q_worst, np.abs(k)) + product(np.abs(q), k_worst)
    return {
        "scores": summation(
            q.shape[-1],
            product(np.abs(q), np.abs(k)),
            np.sqrt(product(q**2, k**2)),
            exact["scores"],
            floor=worst,
            floor_rms=rms,
        )
    }


BOUNDS = {
    "rope_angles": rope_angles,
    "rope": rope,
    "rope_cached": rope_cached,
    "mrope": rope,
    "rope_scores": rope_scores,
}
