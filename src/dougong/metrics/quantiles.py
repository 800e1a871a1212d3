"""Quantiles, means and shares of a sample, each with its confidence interval.

Intervals take the values as independent draws. Requests that share batches are not quite that: between runs the
spread is wider than within one, so repeat a run before a small difference is believed.

References
----------
Hahn and Meeker, "Statistical Intervals", 1991, section 5.2 (quantiles by order statistics).
Wilson, "Probable inference", J. Am. Stat. Assoc. 22, 1927 (shares).
Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5 (Student's t).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

LEVEL = 0.95
"""Coverage of every interval unless another is asked for."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure of a sample with its confidence interval.

    Attributes
    ----------
    value
        The figure, in the unit of the sample.
    low, high
        Ends of the interval; None where the sample is too small to say.
    count
        Size of the sample.
    """

    value: float
    low: float | None
    high: float | None
    count: int


def quantile(values: Sequence[float], q: float, *, level: float = LEVEL) -> Estimate | None:
    """Quantile ``q`` of a sample, in the values' unit; None of an empty one.

    Notes
    -----
    The value lies between order statistics, ``h = (n - 1) q`` (Hyndman and Fan type 7, as numpy does). The ends
    are the order statistics below and above which the quantile lies with probability at most ``(1 - level) / 2``
    each, whatever the distribution: binomial tails. A tail that no order statistic bounds has no end: the 99th
    percentile of 100 values has no upper one.
    """
    if not values:
        return None
    ordered, n = sorted(values), len(values)
    at = (n - 1) * q
    below = int(at)
    above = min(below + 1, n - 1)
    value = ordered[below] + (ordered[above] - ordered[below]) * (at - below)
    lower, upper = _ranks(n, q, level)
    return Estimate(
        value=value,
        low=min(ordered[lower - 1], value) if lower >= 1 else None,
        high=max(ordered[upper - 1], value) if upper <= n else None,
        count=n,
    )


def mean(values: Sequence[float], *, level: float = LEVEL) -> Estimate | None:
    """Mean of a sample, in the values' unit, with Student's interval; None of an empty one."""
    if not values:
        return None
    value, n = fmean(values), len(values)
    if n < 2:
        return Estimate(value, None, None, n)
    half = student(1 - (1 - level) / 2, n - 1) * stdev(values, value) / math.sqrt(n)
    return Estimate(value, value - half, value + half, n)


def proportion(hits: int, count: int, *, level: float = LEVEL) -> Estimate | None:
    """Share of hits [1] with Wilson's interval; None of no trials."""
    if not count:
        return None
    z, share = NormalDist().inv_cdf(1 - (1 - level) / 2), hits / count
    centre = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    below = 1 + z * z / count
    return Estimate(share, max((centre - half) / below, 0.0), min((centre + half) / below, 1.0), count)


def student(probability: float, freedom: int) -> float:
    """Quantile of Student's t [1].

    Exact for one and two degrees of freedom; beyond, the expansion in ``1 / freedom`` errs by under 1 % at the
    97.5th percentile.
    """
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:
        return (2 * probability - 1) * math.sqrt(2 / (4 * probability * (1 - probability)))
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


def _ranks(n: int, q: float, level: float) -> tuple[int, int]:
    """Ranks, from 1, of the ends; 0 and ``n + 1`` stand for no end."""
    tail = (1 - level) / 2
    if q <= 0 or q >= 1:
        return (1, n + 1) if q <= 0 else (0, n)
    lower, upper, total = 0, n + 1, 0.0
    log_q, log_p = math.log(q), math.log1p(-q)
    # P(X_(r) > quantile) = P(Binomial(n, q) < r); the sum runs once through the ranks that matter.
    start = max(int(n * q - 12 * math.sqrt(n * q * (1 - q)) - 12), 0)
    for rank in range(start, n + 1):
        log_choose = math.lgamma(n + 1) - math.lgamma(rank + 1) - math.lgamma(n - rank + 1)
        total += math.exp(log_choose + rank * log_q + (n - rank) * log_p)
        # total is P(Binomial <= rank): a low end at rank + 1 fails with this probability.
        if total <= tail:
            lower = rank + 1
        if total >= 1 - tail:
            upper = rank + 1
            break
    return lower, upper
