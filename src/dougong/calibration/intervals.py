"""Prediction intervals: how far predictions of cases that the fit never saw lie from what was measured.

Notes
-----
Split-conformal on out-of-fold residuals ``r = log(predicted / measured)``: the 80 % interval of a new prediction is
``[predicted * exp(-q_high), predicted * exp(-q_low)]`` with the 10 % and 90 % quantiles of ``r``. Rows of one document
miss alike, and the next case stands in none of them: a row weighs ``n ** -0.5`` where its fold has ``n``, and the case
to come weighs as much as one row, so that equal weights give the ranks ``(n + 1) q`` of exchangeable rows.

Residuals are grouped by metric and engine class where a class has :data:`LEAST_ROWS` of them from
:data:`LEAST_FOLDS` folds; classes that have fewer share one group per metric, and where that is thin too, all rows of
the metric (Mondrian taxonomy: the guarantee holds within each group). A group of fewer rows gives sizes ``|r|``, as
a symmetric interval, and so does one of fewer than :data:`SIGN_FOLDS` folds: rows of a document err to one side, and
with five documents all on one side no sign test would call it the side of the next. A chip of a maker with cases from
fewer than :data:`LEAST_FOLDS` folds takes the widest of these and of residuals of makers left out whole, each maker
with one vote.

References
----------
Papadopoulos et al., Inductive Confidence Machines, ECML 2002; Vovk, Cross-conformal predictors, arXiv 1208.0806;
Vovk, Conditional validity of inductive conformal predictors (Mondrian), arXiv 1209.2673;
Tibshirani et al., Conformal Prediction Under Covariate Shift (weighted quantiles), arXiv 1904.06019.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dougong.calibration.parameters import data_file

LEVEL = 0.8
"""Nominal coverage of every interval that is printed."""
LEAST_ROWS, LEAST_FOLDS = 20, 3
SIGN_FOLDS = 6
"""Least folds that can tell which way a group errs: ``2 / 2 ** 6`` is below 5 %, ``2 / 2 ** 5`` is not."""
METRICS = ("ttft_s", "tpot_s", "prefill", "decode", "throughput")
"""What has intervals of its own: latencies, rates of one phase, and rates end to end."""


def kind_of(metric: str) -> str:
    """The word of :data:`METRICS` for a metric of a case or a plan.

    Examples
    --------
    >>> kind_of("prefill_tokens_per_s_per_chip"), kind_of("output_tokens_per_s_per_chip")
    ('prefill', 'throughput')
    """
    first = metric.split("_", 1)[0]
    return metric if metric in METRICS else first if first in METRICS else "throughput"


@dataclass(frozen=True, slots=True)
class Band:
    """Factors from a prediction to the ends of its interval [1], and the number of residuals they rest on."""

    low: float
    high: float
    rows: int
    group: str


@lru_cache(maxsize=1)
def _table() -> Mapping[str, Any]:
    return tomllib.loads(data_file("intervals.toml"))


def vendors() -> frozenset[str]:
    """Chip vendors (first word of the chip id) with end-to-end cases of enough folds behind the intervals."""
    return frozenset(_table()["vendors"])


def band(metric: str, engine: str, chip: str, table: Mapping[str, Any] | None = None) -> Band:
    """The interval factors of a metric for an engine class on a chip.

    Parameters
    ----------
    metric
        One of :data:`METRICS`.
    engine
        Engine class id.
    chip
        Chip id; its first word is the vendor.
    table
        ``vendors`` and ``band`` as in ``intervals.toml``; None: as shipped.
    """
    table = _table() if table is None else table
    groups: Mapping[str, Any] = table["band"][metric]
    own = groups.get(engine)
    if chip.split("-", 1)[0] not in table["vendors"]:
        # Never told more exactly than a chip of a vendor that was seen.
        ends, group = [groups["all"], groups["unseen-vendor"], *([own] if own else [])], "unseen-vendor"
    else:
        ends, group = ([own], engine) if own else ([groups["all"]], "all")
    return Band(
        # A biased group may have both quantiles on one side; the prediction itself stays inside its interval.
        low=min(1.0, *(end["low"] for end in ends)),
        high=max(1.0, *(end["high"] for end in ends)),
        rows=max(int(end["rows"]) for end in ends),
        group=group,
    )


def quantiles(
    residuals: Sequence[float], weights: Sequence[float] | None = None, level: float = LEVEL
) -> tuple[float, float]:
    """Factors ``(low, high)`` on a prediction from residuals ``log(predicted / measured)``.

    Parameters
    ----------
    residuals
        Of predictions that did not see their row.
    weights
        Of the rows; None: equal.
    level
        Share of new cases that the interval is to hold [1].

    Examples
    --------
    >>> low, high = quantiles([math.log(1.25)] * 40)
    >>> round(low, 3), round(high, 3)
    (0.8, 0.8)
    """
    share = (1.0 + level) / 2.0
    return math.exp(-_upper(residuals, weights, share)), math.exp(
        _upper([-r for r in residuals], weights, share)
    )


def symmetric(
    residuals: Sequence[float], weights: Sequence[float] | None = None, level: float = LEVEL
) -> tuple[float, float]:
    """As :func:`quantiles`, from the sizes of the residuals: where too few tell which way a class errs."""
    size = _upper([abs(r) for r in residuals], weights, level)
    return math.exp(-size), math.exp(size)


def _upper(values: Sequence[float], weights: Sequence[float] | None, share: float) -> float:
    # The least value that, with a new row of mean weight counted above all, has `share` of the weight at or below it.
    weights = [1.0] * len(values) if weights is None else weights
    total, squares = sum(weights), sum(weight * weight for weight in weights)
    wanted, met = share * (total + squares / total) * (1.0 - 1e-12), 0.0
    ordered = sorted(zip(values, weights, strict=True))
    for value, weight in ordered:
        met += weight
        if met >= wanted:
            return value
    return ordered[-1][0]
