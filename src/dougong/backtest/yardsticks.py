"""What simpler predictors say of the same rows: the bare roofline, and an affine one fitted on other chips.

Notes
-----
The affine roofline is ``a * bare + b`` with ``a`` and ``b`` from least squares of relative errors over the rows of all
other chips: two numbers, and a bar that table-driven planners are known to miss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from dougong.backtest.results import Held
from dougong.backtest.run import quantile


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """Sizes of errors of pairs of measured and predicted."""

    figures: int
    median: float
    mean: float
    p90: float
    bias: float  # median signed error


def errors_of(pairs: Sequence[tuple[float, float | None]]) -> Errors | None:
    """Errors of (measured, predicted) pairs; those without a prediction do not count; None without any.

    Examples
    --------
    >>> errors_of([(1.0, 1.5), (2.0, 1.0), (4.0, None)]).median
    0.5
    """
    signed = sorted(guess / measured - 1.0 for measured, guess in pairs if guess is not None)
    sizes = sorted(abs(error) for error in signed)
    if not sizes:
        return None
    return Errors(
        figures=len(sizes),
        median=quantile(sizes, 0.5) or 0.0,
        mean=fmean(sizes),
        p90=quantile(sizes, 0.9) or 0.0,
        bias=quantile(signed, 0.5) or 0.0,
    )


def affine(held: Sequence[Held]) -> dict[tuple[str, str], float]:
    """Predictions ``a * bare + b`` by (id, metric), ``a`` and ``b`` from the rows of all other chips."""
    out: dict[tuple[str, str], float] = {}
    for metric in sorted({item.metric for item in held}):
        rows = [item for item in held if item.metric == metric and item.bare is not None]
        for chip in sorted({item.case.chip for item in rows}):
            others = [item for item in rows if item.case.chip != chip]
            if len(others) < 3:
                continue
            a, b = fit_affine([(item.bare or 0.0, item.measured) for item in others])
            for item in rows:
                if item.case.chip == chip:
                    out[item.case.id, metric] = a * (item.bare or 0.0) + b
    return out


def fit_affine(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """``a`` and ``b`` that make ``(a x + b) / y - 1`` least in squares over (x, y) pairs, neither below zero.

    Examples
    --------
    >>> [round(value, 6) for value in fit_affine([(1.0, 3.0), (2.0, 5.0), (4.0, 9.0)])]
    [2.0, 1.0]
    """
    x, y = np.array(pairs).T
    ones = np.ones(len(y))
    a, b = np.linalg.lstsq(np.stack([x / y, ones / y], axis=1), ones, rcond=None)[0].tolist()
    if a < 0 or b < 0:  # one of them does harm: leave it out
        a, b = (
            (0.0, float(np.sum(1 / y) / np.sum(1 / y**2)))
            if a < 0
            else (float(np.sum(x / y) / np.sum((x / y) ** 2)), 0.0)
        )
    return a, b
