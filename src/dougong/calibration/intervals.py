"""Prediction intervals: how far predictions of cases that the fit never saw lie from what was measured.

Notes
-----
Split-conformal on out-of-fold residuals ``r = log(predicted / measured)``: the 80 % interval of a new prediction is
``[predicted * exp(-q_high), predicted * exp(-q_low)]`` with the empirical 10 % and 90 % quantiles of ``r``, taken at
the finite-sample ranks ``(n + 1) q``. Residuals are grouped by metric and engine class; a group of fewer than
:data:`LEAST_ROWS` borrows the metric's pooled residuals. A chip of a vendor without any end-to-end case takes the
widest of these and of leave-one-vendor-out residuals.

References
----------
Papadopoulos et al., Inductive Confidence Machines, ECML 2002; Vovk, Cross-conformal predictors, arXiv 1208.0806.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from dougong.calibration.parameters import data_file

LEVEL = 0.8
"""Nominal coverage of every interval that is printed."""
LEAST_ROWS = 20
METRICS = ("ttft_s", "tpot_s", "throughput")


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
    """Chip vendors (first word of the chip id) with end-to-end cases behind the intervals."""
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
    own = groups[engine] if engine in groups and groups[engine]["rows"] >= LEAST_ROWS else None
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


def quantiles(residuals: list[float], level: float = LEVEL) -> tuple[float, float]:
    """Factors ``(low, high)`` on a prediction from residuals ``log(predicted / measured)``.

    Examples
    --------
    >>> low, high = quantiles([math.log(1.25)] * 40)
    >>> round(low, 3), round(high, 3)
    (0.8, 0.8)
    """
    ordered, n = sorted(residuals), len(residuals)
    tail = (1.0 - level) / 2.0

    def at(share: float) -> float:
        return ordered[min(max(math.ceil((n + 1) * share) - 1, 0), n - 1)]

    lower = ordered[min(max(math.floor((n + 1) * tail) - 1, 0), n - 1)]
    return math.exp(-at(1.0 - tail)), math.exp(-lower)
