"""Runs a predictor over published cases and says how wrong it was, by group and out of sample."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Protocol

from dougong.backtest.case import AnyCase, Case
from dougong.plan.types import Interval

OPERATOR = "operator"
"""Stands for the regime of an operator case."""

GROUPS: Mapping[str, Callable[[AnyCase], str]] = {
    "document": lambda case: case.source.document,
    "vendor": lambda case: case.vendor,
    "system": lambda case: case.system if isinstance(case, Case) else case.chip,
    "chip": lambda case: case.chip,
    "family": lambda case: case.family if isinstance(case, Case) else case.op,
    "engine_class": lambda case: case.engine_class if isinstance(case, Case) else case.library,
    "regime": lambda case: case.regime if isinstance(case, Case) else OPERATOR,
    "use": lambda case: case.use if isinstance(case, Case) else "validate",
}
"""How a case is filed, by name of the grouping."""


BY = ("vendor", "family", "engine_class", "regime")
"""Groupings that a summary shows where none are asked for."""

NOTHING = "none"
"""Stands for the metric of a case that measures nothing we predict; such a case is always refused."""


class Predict(Protocol):
    """Answers one case: a prediction with its interval per metric, or the reason why there is none."""

    def __call__(self, case: AnyCase) -> Mapping[str, Interval] | str:
        """Predict the metrics of ``case`` in base units."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One metric of one case: measured against predicted."""

    id: str
    metric: str
    measured: float
    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    error_frac: float | None = None  # predicted / measured - 1
    refused: str | None = None
    tolerance: float | None = None
    known_miss: str = ""
    groups: Mapping[str, str]

    @property
    def covered(self) -> bool | None:
        """Whether the interval holds the measurement; None without a prediction."""
        if self.low is None or self.high is None:
            return None
        return self.low <= self.measured <= self.high

    def row(self) -> dict[str, Any]:
        """The JSON form of one outcome."""
        return {
            "id": self.id, "metric": self.metric, "measured": self.measured, "predicted": self.predicted,
            "low": self.low, "high": self.high, "error_frac": self.error_frac, "refused": self.refused,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Errors of a set of outcomes."""

    cases: int  # cases with at least one prediction
    predicted: int  # metrics predicted
    refused: int  # metrics without a prediction
    median_abs: float | None  # median |predicted / measured - 1|
    p90_abs: float | None
    mean_abs: float | None
    bias: float | None  # median signed error
    coverage: float | None  # share of measurements inside their interval
    width_ratio: float | None  # median of the interval's upper over its lower end

    def row(self) -> dict[str, Any]:
        """The JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


def run(cases: Iterable[AnyCase], predict: Predict) -> list[Outcome]:
    """Hold every case against the predictor.

    A case that is refused by its record, or by the predictor, yields refused outcomes, one per metric, so
    that nothing leaves the count. A metric the predictor does not answer is refused too.

    Parameters
    ----------
    cases
        Serving and operator cases.
    predict
        See :class:`Predict`; called once per case that its record does not refuse.
    """
    return [outcome for case in cases for outcome in _outcomes(case, predict)]


def _outcomes(case: AnyCase, predict: Predict) -> list[Outcome]:
    groups = {name: group(case) for name, group in GROUPS.items()}
    answer = case.refused if case.refused is not None else predict(case)
    found: list[Outcome] = []
    for metric, value in (dict(case.measured) or {NOTHING: math.nan}).items():
        blank = Outcome(
            id=case.id,
            metric=metric,
            measured=value,
            tolerance=case.tolerance,
            known_miss=case.known_miss,
            groups=groups,
        )
        found.append(_answered(blank, answer))
    return found


def _answered(blank: Outcome, answer: Mapping[str, Interval] | str) -> Outcome:
    if isinstance(answer, str):
        return replace(blank, refused=answer)
    guess = answer.get(blank.metric)
    if guess is None:
        return replace(blank, refused=f"{blank.metric} is not predicted for this case")
    if not blank.measured > 0:
        return replace(blank, refused=f"{blank.metric} is not measured as a positive number")
    nothing = guess.value == 0 and blank.metric.startswith("gain")  # a feature may be said to gain nothing
    if not (math.isfinite(guess.value) and (guess.value > 0 or nothing)):
        return replace(blank, refused=f"the prediction of {blank.metric} is not finite")
    error = guess.value / blank.measured - 1
    return replace(blank, predicted=guess.value, low=guess.low, high=guess.high, error_frac=error)


def spread(outcomes: Sequence[Outcome]) -> Spread:
    """Median, 90th percentile and mean of |error|, bias, coverage and width of intervals of a set of outcomes."""
    errors = sorted(outcome.error_frac for outcome in outcomes if outcome.error_frac is not None)
    sizes = sorted(abs(error) for error in errors)
    held = [outcome.covered for outcome in outcomes if outcome.covered is not None]
    widths = sorted(outcome.high / outcome.low for outcome in outcomes if outcome.low and outcome.high)
    return Spread(
        cases=len({outcome.id for outcome in outcomes if outcome.error_frac is not None}),
        predicted=len(errors),
        refused=len(outcomes) - len(errors),
        median_abs=quantile(sizes, 0.5),
        p90_abs=quantile(sizes, 0.9),
        mean_abs=fmean(sizes) if sizes else None,
        bias=quantile(errors, 0.5),
        coverage=sum(held) / len(held) if held else None,
        width_ratio=quantile(widths, 0.5),
    )


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Quantile of sorted values, linear between neighbours; None of nothing.

    Examples
    --------
    >>> quantile([1.0, 2.0, 4.0], 0.5)
    2.0
    """
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def summary(outcomes: Sequence[Outcome], by: Sequence[str] = BY) -> dict[str, Any]:
    """Errors overall, by metric, by every grouping in ``by`` (names of :data:`GROUPS`), and of operators by kind.

    Groupings are of serving cases: a library is no engine class, and an operator no family of models.
    """
    serving = [outcome for outcome in outcomes if outcome.groups["regime"] != OPERATOR]
    operators = [outcome for outcome in outcomes if outcome.groups["regime"] == OPERATOR]
    tables: dict[str, Any] = {
        "overall": spread(outcomes).row(),
        "metric": table(outcomes, lambda outcome: outcome.metric),
    }
    for name in by:
        tables[name] = table(serving, lambda outcome, name=name: outcome.groups[name])
    if operators:
        tables[OPERATOR] = table(operators, lambda outcome: outcome.groups["family"])
    return tables


def table(outcomes: Sequence[Outcome], key: Callable[[Outcome], str]) -> dict[str, Any]:
    """Errors of every group that ``key`` makes, as rows, by name of the group."""
    groups: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault(key(outcome), []).append(outcome)
    return {name: spread(members).row() for name, members in sorted(groups.items())}


def reasons(outcomes: Iterable[Outcome]) -> dict[str, list[Outcome]]:
    """Refused outcomes by the first line of their reason, the most frequent first."""
    told: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        if outcome.refused is not None:
            told.setdefault(outcome.refused.splitlines()[0], []).append(outcome)
    return dict(sorted(told.items(), key=lambda item: (-len(item[1]), item[0])))


def log_error(outcome: Outcome) -> float:
    """``|log(predicted / measured)|`` [1]: half is as far off as double; 0 without a prediction."""
    return abs(math.log(outcome.predicted / outcome.measured)) if outcome.predicted else 0.0


def worst(outcomes: Iterable[Outcome], count: int) -> list[Outcome]:
    """The ``count`` predictions that lie furthest off, furthest first."""
    return sorted((o for o in outcomes if o.predicted), key=lambda o: (-log_error(o), o.id))[:count]


def leave_one_group_out(
    cases: Sequence[AnyCase], fit: Callable[[Sequence[AnyCase]], Predict], *, group: str = "document"
) -> list[Outcome]:
    """Predict every case with a predictor that was fitted without the case's group.

    Parameters
    ----------
    cases
        Serving and operator cases.
    fit
        Makes a predictor from training cases.
    group
        A name of :data:`GROUPS`.

    Returns
    -------
    list of Outcome
        In the order of the groups' names, cases in their own order within.
    """
    filed: dict[str, list[AnyCase]] = {}
    for case in cases:
        filed.setdefault(GROUPS[group](case), []).append(case)
    found: list[Outcome] = []
    for name in sorted(filed):
        training = [case for case in cases if GROUPS[group](case) != name]
        found += run(filed[name], fit(training))
    return found


def to_json(outcomes: Sequence[Outcome], by: Sequence[str] = BY) -> dict[str, Any]:
    """The JSON form of a run: ``schema``, one row per metric, and the summary."""
    rows = [outcome.row() for outcome in outcomes]
    for row in rows:
        if isinstance(row["measured"], float) and math.isnan(row["measured"]):
            row["measured"] = None
    return {"schema": 1, "cases": rows, "summary": summary(outcomes, by)}
