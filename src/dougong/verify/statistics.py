r"""Tests of random numbers that hold for every sample size: an honest generator fails one in :data:`ALARM` at most.

Notes
-----
A count of ``n`` trials of probability ``p`` is at least ``q n`` (for ``q > p``, or at most for ``q < p``) with a
probability of at most :math:`e^{-n D(q \| p)}`, :math:`D` the Kullback-Leibler divergence (Chernoff). The largest
distance of the empirical distribution of ``n`` independent numbers from their own is beyond :math:`\epsilon` with a
probability of at most :math:`2 e^{-2 n \epsilon^2}` (Dvoretzky, Kiefer, Wolfowitz, with Massart's constant). The sum
of squares of ``n`` standard normals is beyond :math:`n + 2 \sqrt{n t} + 2 t` or below :math:`n - 2 \sqrt{n t}` with a
probability of at most :math:`e^{-t}` each. Several tests share :data:`ALARM` evenly.

References
----------
H. Chernoff, Annals of Mathematical Statistics 23 (1952); P. Massart, Annals of Probability 18 (1990), theorem 1;
B. Laurent, P. Massart, Annals of Statistics 28 (2000), lemma 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dougong.backends.reference.elementary import erfc
from dougong.verify.bound import Floats

ALARM = 1e-13
"""Probability that one honest output fails; some hundred of them in a run make less than 1e-10."""

_CELLS = 8


def plausible(counts: Floats, trials: int, p: Floats, tests: int) -> NDArray[np.bool_]:
    """Whether each count of ``trials`` is likely enough under its probability, as one of ``tests`` tests."""
    q = counts / trials
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.where(q > 0, q * np.log(q / p), 0.0)
        down = np.where(q < 1, (1 - q) * np.log((1 - q) / (1 - p)), 0.0)
    return trials * (up + down) <= np.log(2.0 * tests / ALARM)


def follows(ranks: Floats, slack: float, tests: int) -> bool:
    """Whether ``ranks``, the distribution function at each number, are uniform but for ``slack``."""
    n = ranks.size
    ordered, steps = np.sort(ranks), np.arange(n + 1) / n
    distance = max(np.max(steps[1:] - ordered), np.max(ordered - steps[:-1]))
    return bool(distance <= np.sqrt(np.log(2.0 * tests / ALARM) / (2 * n)) + slack)


def unrelated(ranks: Floats, lag: int, tests: int) -> bool:
    """Whether numbers ``lag`` apart fill the unit square evenly; each number is in one pair."""
    n = len(ranks) // (2 * lag) * 2 * lag
    pairs = ranks[:n].reshape(-1, 2, lag)
    cells = np.minimum((pairs * _CELLS).astype(np.int64), _CELLS - 1)
    counts = np.bincount((cells[:, 0] * _CELLS + cells[:, 1]).ravel(), minlength=_CELLS**2)
    even = np.full(_CELLS**2, 1.0 / _CELLS**2)
    return bool(np.all(plausible(counts.astype(np.float64), n // 2, even, tests * _CELLS**2)))


def tails(ranks: Floats, tests: int) -> bool:
    """Whether both ends are reached as often as they should be: a bounded sum of uniforms is no normal number."""
    shares = np.array([1e-3, 1e-4])
    counts = [np.count_nonzero(side < share) for side in (ranks, 1.0 - ranks) for share in shares]
    return bool(np.all(plausible(np.array(counts, np.float64), ranks.size, np.tile(shares, 2), 4 * tests)))


def normal_ranks(y: Floats) -> Floats:
    """The normal distribution function."""
    return 0.5 * erfc(-y / np.sqrt(2.0))


def normal_moments(y: Floats, slack: float, tests: int) -> bool:
    """Whether mean and variance are those of a standard normal, but for ``slack``."""
    n, t = y.size, np.log(2.0 * tests / ALARM)
    square = float(np.sum(y * y))
    high, low = n + 2 * np.sqrt(n * t) + 2 * t, n - 2 * np.sqrt(n * t)
    return bool(
        abs(np.mean(y)) <= np.sqrt(2 * t / n) + slack and low * (1 - slack) <= square <= high * (1 + slack)
    )
