"""The fit of the forms to measured operators: robust least squares on ``log(predicted / measured)``.

Each family of operators has its own few parameters, fitted in their logarithms, so they stay positive. A weak
pull towards the starting value decides what the rows do not. Nothing is random: the same facts give the same
parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dougong.calibration.facts import Facts, Floats
from dougong.calibration.families import CHOSEN, FAMILIES, Family
from dougong.calibration.parameters import Parameters
from dougong.calibration.predict import log_ratio

ROBUST_SCALE = 0.1
"""Misses well above this weigh by their size, not their square [1]."""
PULL = 0.05
"""Weight of the pull to the start: one row's weight at twenty times the start's natural logarithm [1]."""
DIGITS = 4
"""Significant digits kept: the fit is not known better."""


def start() -> Parameters:
    """Parameters before any fit."""
    every = (*CHOSEN, *(one for family in FAMILIES for one in family.parameters))
    return Parameters(**{one.name: one.value for one in every})


@dataclass(frozen=True, slots=True)
class Fitted:
    """Result of a fit.

    Attributes
    ----------
    parameters
        The fitted parameters.
    facts
        The rows used, in file order.
    residual
        ``log(predicted / measured)`` of each row.
    """

    parameters: Parameters
    facts: Facts
    residual: Floats


def fit_operators(facts: Facts) -> Fitted:
    """Fit every family to the usable rows of ``facts``."""
    used = facts.used()
    p = start()
    for family in FAMILIES:
        p = fit_family(p, family, used.of(*family.ops))
    return Fitted(p, used, log_ratio(p, used))


def fit_family(p: Parameters, family: Family, facts: Facts) -> Parameters:
    """``p`` with the parameters of one family fitted to its rows, beginning at their values in ``p``."""
    names = [one.name for one in family.parameters]
    centre = np.log([one.value for one in family.parameters])
    begin = np.log([getattr(p, name) for name in names])

    def build(theta: Floats) -> Parameters:
        return replace(p, **dict(zip(names, np.exp(theta).tolist(), strict=True)))

    theta = minimise(lambda theta: log_ratio(build(theta), facts), begin, centre) if len(facts) else centre
    values = [_rounded(value) for value in np.exp(theta).tolist()]
    return replace(p, **dict(zip(names, values, strict=True)))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def minimise(
    residual: Callable[[Floats], Floats],
    begin: Floats,
    centre: Floats,
    *,
    pull: float = PULL,
    scale: float = ROBUST_SCALE,
    rounds: int = 200,
    settled: float = 1e-11,
) -> Floats:
    """Levenberg-Marquardt on robust residuals plus a pull to ``centre``.

    Parameters
    ----------
    residual
        Maps parameters to residuals; both dimensionless.
    begin, centre
        Where to start, and where the rows that say nothing leave a parameter.
    pull
        Weight of a unit of distance from the centre, in residuals [1].
    scale
        Residuals well above it weigh by their size, not their square [1].
    rounds
        Accepted steps at most.
    settled
        Share of the cost below which a step's gain ends the descent [1].
    """

    def cost(r: Floats, theta: Floats) -> float:
        robust = 2.0 * scale**2 * (np.sqrt(1.0 + (r / scale) ** 2) - 1.0)
        return float(robust.sum() + ((pull * (theta - centre)) ** 2).sum())

    theta, damping = begin.copy(), 1e-2
    r = residual(theta)
    now = cost(r, theta)
    for _ in range(rounds):
        jacobian = _jacobian(residual, theta, r)
        weight = 1.0 / np.sqrt(1.0 + (r / scale) ** 2)
        normal = jacobian.T @ (weight[:, None] * jacobian) + pull**2 * np.eye(len(theta))
        slope = jacobian.T @ (weight * r) + pull**2 * (theta - centre)
        for _ in range(30):
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -slope)
            trial = theta + np.clip(step, -1.0, 1.0)
            r_trial = residual(trial)
            if (then := cost(r_trial, trial)) <= now:
                break
            damping *= 4.0
        else:
            return theta
        done = now - then < settled * max(now, 1.0)
        theta, r, now, damping = trial, r_trial, then, damping / 3.0
        if done:
            return theta
    return theta


def _jacobian(residual: Callable[[Floats], Floats], theta: Floats, r: Floats) -> NDArray[np.float64]:
    width = 1e-5
    columns = [(residual(theta + width * unit) - r) / width for unit in np.eye(len(theta))]
    return np.stack(columns, axis=1)


def leave_one_out(facts: Facts, column: str) -> Mapping[str, tuple[Parameters, Floats]]:
    """Fit without each chip (``column = "chip"``) or document in turn, and predict what was left out.

    Returns
    -------
    Mapping
        Value of the column to the parameters fitted without it, and the residuals of its rows in file order.
    """
    used, whole = facts.used(), fit_operators(facts).parameters
    values = used.words[column]
    out: dict[str, tuple[Parameters, Floats]] = {}
    for value in sorted(set(values.tolist())):
        left, rest = used.where(values == value), used.where(values != value)
        p = whole
        for family in FAMILIES:
            # A family without rows of this chip or document is fitted already.
            if np.isin(left.words["op"], family.ops).any():
                p = fit_family(p, family, rest.of(*family.ops))
        out[value] = (p, log_ratio(p, left))
    return out


def gathered(facts: Facts, column: str, left_out: Mapping[str, tuple[Parameters, Floats]]) -> Floats:
    """Residuals of :func:`leave_one_out` back in file order of the usable rows."""
    values = facts.used().words[column]
    out = np.empty(len(values))
    for value, (_, residual) in left_out.items():
        out[values == value] = residual
    return out


def spread(residual: Floats | Sequence[float]) -> tuple[float, float]:
    """Median and 90th percentile of ``|residual|``."""
    size = np.abs(np.asarray(residual, dtype=np.float64))
    return float(np.median(size)), float(np.quantile(size, 0.9))
