r"""How far an honest computation may be from the exact value, derived and not chosen.

Notes
-----
For ``y = f(x)`` put out in a dtype of unit roundoff ``u_d``, with products rounded to ``u_p`` and sums to ``u_a``:

.. math:: |\hat y - y| \le u_d |y| + u_a A + u_p P + F

``A`` (`accumulate`) and ``P`` (`product`) come from the inputs in float64. For a sum :math:`y = \sum_{i<n} t_i` the
worst case is :math:`A = n \sum |t_i|`, :math:`P = \sum |t_i|`; errors of independent sign give the root mean square
:math:`A = \sqrt n \, (\sum t_i^2 + y^2)^{1/2}` and :math:`P = (\sum t_i^2)^{1/2}`. Both gates are held: the RMS one
over all elements is sharp, and so is the worst one over each element, which takes the smaller of the worst case and
:math:`\lambda` root mean squares, with :math:`\lambda` such that of ``N`` elements of independent rounding errors none
lies beyond but with probability :data:`FALSE_ALARM`.

A result rounded to nearest is off by at most half a unit in the last place, evenly spread: :math:`u_d |y| / \sqrt 3` in
the root mean square. The mean of ``n`` squares of such errors strays from a third by no more than
:math:`\sqrt{\ln(1/p) / 2n}` with probability ``1 - p`` (Hoeffding), so truncation is told from rounding. The RMS of few
running sums may exceed their standard deviation by the factor of a chi-square tail (Laurent and Massart).

References
----------
N. J. Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., sections 3.1 (gamma_n) and 4.2 (summation);
W. Hoeffding, Probability inequalities for sums of bounded random variables, JASA 58 (1963), theorem 1;
B. Laurent and P. Massart, Adaptive estimation of a quadratic functional, Ann. Statist. 28 (2000), lemma 1;
N. J. Higham and T. Mary, A new approach to probabilistic rounding error analysis, SIAM J. Sci. Comput. 41 (2019),
theorem 2.4: :math:`\lambda` and the probability :math:`2 \exp(-\lambda^2 / 2)` of one element.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dougong.backends import Array

Floats = NDArray[np.float64]

UNIT_ROUNDOFF = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
    "float8_e4m3fn": 2.0**-4,
    "float8_e5m2": 2.0**-3,
}
"""Half a unit in the last place of 1, by dtype: IEEE 754 binary32/64/16, bfloat16, OCP OFP8."""

SMALLEST_NORMAL = {
    "float64": 2.0**-1022,
    "float32": 2.0**-126,
    "float16": 2.0**-14,
    "bfloat16": 2.0**-126,
    "float8_e4m3fn": 2.0**-6,
    "float8_e5m2": 2.0**-14,
}


LARGEST = {
    "float64": float(np.finfo(np.float64).max),
    "float32": (2 - 2.0**-23) * 2.0**127,
    "float16": 65504.0,
    "bfloat16": (2 - 2.0**-7) * 2.0**127,
    "float8_e4m3fn": 448.0,
    "float8_e5m2": 57344.0,
}

FALSE_ALARM = 1e-12
"""Probability that honest rounding crosses the worst gate of one output anywhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """A way of computing: unit roundoffs of products and of running sums."""

    name: str
    product: float
    accumulate: float


NATIVE = Precision(name="native", product=0.0, accumulate=2.0**-24)

CLASSES = (
    NATIVE,
    Precision(name="tf32", product=2.0**-11, accumulate=2.0**-24),
    Precision(name="bf16x1", product=2.0**-8, accumulate=2.0**-24),
    Precision(name="f22-accumulate", product=0.0, accumulate=2.0**-14),
    Precision(name="f16-accumulate", product=2.0**-11, accumulate=2.0**-11),
    Precision(name="bf16-accumulate", product=2.0**-8, accumulate=2.0**-8),
)
"""From best to worst. ``f22-accumulate``: running sums of 14 bits, as float8 products get on NVIDIA Hopper (DeepSeek-V3
Technical Report, arXiv:2412.19437, section 3.3.2)."""

_NARROWED_PRODUCTS = ("tf32", "bf16x1")


def classes(dtype: str) -> tuple[Precision, ...]:
    """Return the classes that can be told for inputs of ``dtype``, from best to worst.

    Products of narrower inputs are exact in float32, so narrowed products say something of float32 only.
    """
    if dtype == "float32":
        return CLASSES
    return tuple(each for each in CLASSES if each.name not in _NARROWED_PRODUCTS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Bound:
    """Factors of ``u_a`` and ``u_p``, for the RMS and for the worst element; every array broadcasts to the output.

    Attributes
    ----------
    floor
        Absolute error that no class scales: half a step of an integer, the ULP of a function [as the output].
    floor_rms
        The root mean square of the same, where it is less than the whole floor [as the output].
    """

    accumulate_rms: Floats
    accumulate_worst: Floats
    product_rms: Floats
    product_worst: Floats
    floor: Floats
    floor_rms: Floats | None = None

    def allowed(self, value: Floats, dtype: str, precision: Precision) -> tuple[Floats, Floats]:
        """Return the errors allowed by the RMS and by the worst-case gate, element by element.

        Parameters
        ----------
        value
            The exact result.
        dtype
            That of the output; an integer is not rounded but by the floor.
        """
        rounded, floor_rms = self._rounding(value, dtype)
        sigmas = math.sqrt(2.0 * math.log(2.0 * max(value.size, 1) / FALSE_ALARM))
        few = _few(value.size)
        rms = rounded * _spread(_distinct(value)) + floor_rms
        worst = rounded + np.minimum(self.floor, sigmas * floor_rms)
        for roundoff, typical, most in (
            (precision.accumulate, self.accumulate_rms, self.accumulate_worst),
            (precision.product, self.product_rms, self.product_worst),
        ):
            rms = rms + few * roundoff * typical
            worst = worst + roundoff * np.minimum(most, sigmas * typical)
        return rms, worst

    def allowed_slice(self, value: Floats, dtype: str, precision: Precision, count: int) -> Floats:
        """Return the error allowed by the RMS gate of a slice of ``count`` elements that may share a running sum."""
        rounded, floor_rms = self._rounding(value, dtype)
        shared = precision.accumulate * self.accumulate_rms + precision.product * self.product_rms
        return rounded * _spread(min(count, _distinct(value))) + floor_rms + _few(1) * shared

    def not_told(self, value: Floats, dtype: str, told: Sequence[Precision]) -> list[str]:
        """Name the classes whose mean bound is at most twice that of the first: another one would look the same."""
        rounded, floor_rms = self._rounding(value, dtype)
        fixed = float(np.mean(rounded) * _spread(value.size) + np.mean(floor_rms))
        sums, products = float(np.mean(self.accumulate_rms)), float(np.mean(self.product_rms))
        means = [fixed + each.accumulate * sums + each.product * products for each in told]
        # Without products of inputs a class that only narrows products is no other class.
        others = (
            each
            for each in zip(told, means, strict=True)
            if products or each[0].accumulate > told[0].accumulate
        )
        return [each.name for each, mean in others if mean <= 2 * means[0] and each is not told[0]]

    def picked(self, pick: Callable[[Floats], Floats], shape: tuple[int, ...]) -> Bound:
        """Return the bound of some elements of an output of ``shape``."""
        parts: dict[str, Any] = {each.name: getattr(self, each.name) for each in fields(self)}
        spread: dict[str, Any] = {
            name: part if part is None else pick(np.broadcast_to(part, shape)) for name, part in parts.items()
        }
        return Bound(**spread)

    def _rounding(self, value: Floats, dtype: str) -> tuple[Floats, Floats]:
        # A subnormal keeps half its step; a stack that flushes them loses all of it, which a switch decides.
        least, roundoff = SMALLEST_NORMAL.get(dtype, 0.0), UNIT_ROUNDOFF.get(dtype, 0.0)
        rounded = np.maximum(np.abs(value), least) * roundoff
        return rounded, self.floor if self.floor_rms is None else self.floor_rms


def _spread(count: int) -> float:
    """Return the RMS of ``count`` rounding errors over half a unit in the last place; one in 1e12 is larger."""
    return min(1.0, 1 / 3 + math.sqrt(math.log(1 / FALSE_ALARM) / (2 * max(count, 1)))) ** 0.5


def _distinct(value: Floats) -> int:
    """Return how many rounding errors are independent: equal values are off by the same, however many they are."""
    sample = value.ravel()[:: max(value.size // 2048, 1)]
    told = len(np.unique(sample))
    return value.size if told == sample.size else told


def _few(count: int) -> float:
    """Return the RMS of ``count`` normal errors over their standard deviation, at most; one in 1e6 is larger."""
    t = math.log(1e6) / max(count, 1)
    return (1 + 2 * t**0.5 + 2 * t) ** 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What holds an output that no distance can: an index among equal values, a drawn token.

    Attributes
    ----------
    holds
        From all outputs, as they came, to a boolean array that broadcasts to this one: True where it is right.
    says
        What is wrong where it is not, in a few words.
    """

    holds: Callable[[Mapping[str, Array]], NDArray[np.bool_]]
    says: str


def summation(
    length: int,
    l1: Floats,
    l2: Floats,
    value: Floats,
    *,
    floor: Floats | float = 0.0,
    floor_rms: Floats | None = None,
) -> Bound:
    """Bound of a sum of ``length`` terms, from the norms of the terms of each element."""
    return Bound(
        accumulate_rms=np.sqrt(length) * np.hypot(l2, value),
        accumulate_worst=length * l1,
        product_rms=l2,
        product_worst=l1,
        floor=np.asarray(floor, np.float64),
        floor_rms=floor_rms,
    )
