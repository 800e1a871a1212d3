"""How wrong predictions were over published cases, as text: errors by group, the worst, and the refused."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from dougong.backtest import AnyCase, Outcome, spread, summary
from dougong.backtest.case import METRICS, OPERATOR_METRICS
from dougong.backtest.run import NOTHING, OPERATOR, reasons, worst
from dougong.plan.types import Interval
from dougong.report.numbers import UNKNOWN, exact, percent, plural, quantity, span
from dougong.report.parts import Columns, listing, section

LEGEND = (
    "error: predicted over measured, minus one; bias: its median; width: upper over lower end of an interval"
)
TITLES = {
    "document": "By document",
    "vendor": "By maker of the chip",
    "system": "By system",
    "chip": "By chip",
    "family": "By model family",
    "engine_class": "By engine class",
    "regime": "By regime",
    "use": "By use",
    OPERATOR: "Operators",
}
"""Grouping -> heading."""
WORDS = {
    "ttft_s": "TTFT",
    "tpot_s": "TPOT",
    "prefill_tokens_per_s_per_chip": "prefill tokens/s per chip",
    "decode_tokens_per_s_per_chip": "decode tokens/s per chip",
    "output_tokens_per_s_per_chip": "output tokens/s per chip",
    "total_tokens_per_s_per_chip": "total tokens/s per chip",
    NOTHING: "nothing measured",
}
_HEADS = (
    ("figures", "number"), ("refused", "number"), ("median", "number"), ("mean", "spare"), ("p90", "number"),
    ("bias", "number"), ("in interval", "number"), ("width", "spare"),
)  # fmt: skip


def draw_backtest(
    cases: Sequence[AnyCase], outcomes: Sequence[Outcome], *, by: Sequence[str], most: int
) -> RenderableType:
    """Draw the errors overall, by metric and by groups, then the worst misses and the refused."""
    parts: list[RenderableType] = [Text(sentence(outcomes), style="bold")]
    parts.append(Text(LEGEND, style="dim"))
    tables = summary(outcomes, by)
    metrics = {words_of(name): row for name, row in tables["metric"].items()}
    parts.append(section("Errors by metric", _spreads({"all": tables["overall"], **metrics})))
    parts += [section(TITLES[name], _spreads(tables[name])) for name in (*by, OPERATOR) if tables.get(name)]
    if missed := worst(outcomes, most):
        told = {case.id: str(case) for case in cases}
        parts.append(section("Worst misses", _misses(missed, told), aside="--worst N shows more"))
    if refused := reasons(outcomes):
        parts.append(section("Refused", _refusals(refused), aside="counted in figures"))
    return Group(*parts)


def sentence(outcomes: Sequence[Outcome]) -> str:
    """Return how many figures were predicted and how well, in one sentence."""
    found = spread(outcomes)
    asked = f"{plural(found.predicted, 'figure')} of {plural(found.cases, 'case')} predicted"
    refused = f", {exact(found.refused)} refused" if found.refused else ""
    if found.median_abs is None or found.coverage is None:
        return f"No figure could be predicted{refused}."
    return (
        f"{asked}{refused}: median error {percent(found.median_abs)}, "
        f"{percent(found.coverage)} within their 80 % interval."
    )


def words_of(metric: str) -> str:
    """Return a metric as people write it."""
    return WORDS.get(metric, metric.replace("_", " "))


def amount(metric: str, value: float | None) -> str:
    """Print a value of a metric with its unit."""
    dimension = {**METRICS, **OPERATOR_METRICS}.get(metric, "1")
    return quantity(value, "1" if dimension == "token/s" else dimension)


def signed(fraction: float | None) -> str:
    """Print an error with its sign; beyond four times, as a ratio.

    Examples
    --------
    >>> signed(-0.123), signed(4.5)
    ('-12 %', '×5.5')
    """
    if fraction is None:
        return UNKNOWN
    if fraction > 3.0:
        return f"×{quantity(1.0 + fraction, '1', 2)}"
    return f"{'+' if fraction >= 0 else ''}{percent(fraction)}"


def range_of(outcome: Outcome) -> str:
    """Print the interval of a prediction."""
    if outcome.low is None or outcome.high is None:
        return UNKNOWN
    dimension = {**METRICS, **OPERATOR_METRICS}.get(outcome.metric, "1")
    bounds = Interval(outcome.predicted or 0.0, outcome.low, outcome.high)
    return span(bounds, "1" if dimension == "token/s" else dimension)


def _spreads(rows: Mapping[str, Mapping[str, Any]]) -> Columns:
    return Columns(
        [("", "words"), *_HEADS],
        [
            [
                name or "unnamed",
                exact(row["predicted"]),
                exact(row["refused"]),
                *(_share(row[key]) for key in ("median_abs", "mean_abs", "p90_abs")),
                signed(row["bias"]),
                _share(row["coverage"]),
                UNKNOWN if row["width_ratio"] is None else f"×{quantity(row['width_ratio'], '1', 2)}",
            ]
            for name, row in rows.items()
        ],
    )


def _share(fraction: float | None) -> str:
    return UNKNOWN if fraction is None else percent(fraction)


def _misses(missed: Sequence[Outcome], told: Mapping[str, str]) -> Columns:
    return listing(
        missed,
        ("case", "word", lambda item: item.id),
        ("metric", "note", lambda item: words_of(item.metric)),
        ("measured", "number", lambda item: amount(item.metric, item.measured)),
        ("predicted", "number", lambda item: amount(item.metric, item.predicted)),
        ("interval", "spare", range_of),
        ("error", "number", lambda item: signed(item.error_frac)),
        ("what", "words", lambda item: told[item.id]),
    )


def _refusals(refused: Mapping[str, Sequence[Outcome]]) -> Columns:
    return listing(
        refused.items(),
        ("figures", "number", lambda item: exact(len(item[1]))),
        ("cases", "number", lambda item: exact(len({outcome.id for outcome in item[1]}))),
        ("for instance", "word", lambda item: item[1][0].id),
        ("why", "words", lambda item: item[0]),
    )
