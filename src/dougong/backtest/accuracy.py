"""The accuracy page: what was predicted for published measurements, with the misses in the open."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dougong.backtest.case import AnyCase, Case
from dougong.backtest.run import Outcome, summary

_HEAD = """# Accuracy

Written by `python -m dougong.backtest`; a test compares it with a fresh run. Every row is a published
measurement with every condition its source states (`tests/published/cases/`), put to the same formulas as a
plan. *Error* is predicted over measured, minus one. Nothing is fitted on a single row; what the shared
parameters were fitted on, and the errors without it, stands in [calibration](guides/calibration.md).
"""

_COLUMNS = ("cases", "predicted", "refused", "median_abs", "p90_abs", "bias", "coverage")
_TITLES = ("cases", "figures", "refused", "median error", "90th percentile", "bias", "in the interval")
_GROUPINGS = (
    ("metric", "By metric"),
    ("engine_class", "By engine class"),
    ("regime", "By regime"),
    ("vendor", "By maker of the chip"),
    ("family", "By model family"),
    ("document", "By document"),
)


def accuracy_page(cases: Sequence[AnyCase], outcomes: Sequence[Outcome]) -> str:
    """The page as Markdown: serving cases that are stated well, operators, then every single figure."""
    kinds = {case.id: "serving" if isinstance(case, Case) else "operator" for case in cases}
    validate = [o for o in outcomes if kinds[o.id] == "serving" and o.groups["use"] == "validate"]
    operators = [o for o in outcomes if kinds[o.id] == "operator"]
    by = tuple(name for name, _ in _GROUPINGS if name != "metric")
    parts = [_HEAD, "## Serving\n", _spreads({"all": summary(validate, ())["overall"]})]
    tables = summary(validate, by)
    for name, title in _GROUPINGS:
        parts += [f"\n### {title}\n", _spreads(tables[name])]
    if operators:
        parts += ["\n## Operators\n", _spreads(summary(operators, ("family",))["family"])]
    parts += ["\n## Every figure\n", _figures(cases, [*validate, *operators])]
    parts += ["\n## Without a prediction\n", _refusals(outcomes)]
    return "\n".join(parts).rstrip() + "\n"


def _spreads(groups: Mapping[str, Any]) -> str:
    lines = ["| | " + " | ".join(_TITLES) + " |", "|---" * (len(_TITLES) + 1) + "|"]
    for name, row in groups.items():
        cells = [_cell(column, row[column]) for column in _COLUMNS]
        lines.append(f"| {name or 'unnamed'} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return ""
    if column in ("cases", "predicted", "refused"):
        return str(int(value))
    return percent(value, signed=column == "bias")


def percent(value: float, *, signed: bool = False) -> str:
    """A share as whole percent.

    Examples
    --------
    >>> percent(-0.123, signed=True)
    '-12 %'
    """
    return f"{100 * value:{'+' if signed else ''}.0f} %"


def _figures(cases: Sequence[AnyCase], outcomes: Sequence[Outcome]) -> str:
    named = {case.id: case for case in cases}
    lines = ["| case | what | metric | measured | predicted | error |", "|---|---|---|---|---|---|"]
    for outcome in outcomes:
        if outcome.predicted is None or outcome.error_frac is None:
            continue
        cells = (
            outcome.id,
            describe(named[outcome.id]),
            outcome.metric,
            f"{outcome.measured:.4g}",
            f"{outcome.predicted:.4g}",
            percent(outcome.error_frac, signed=True),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def describe(case: AnyCase) -> str:
    """A case in a few words: what ran where, how, and how long."""
    if not isinstance(case, Case):
        shape = ", ".join(f"{name} {value:g}" for name, value in case.shape.items())
        return f"{case.op} on {case.chip}: {shape}"
    layouts = "; ".join(
        f"{phase} {placed}" if phase != "all" else str(placed) for phase, placed in case.layouts.items()
    )
    lengths = "/".join(
        str(tokens) for tokens in (case.prompt_tokens or case.context_tokens, case.output_tokens) if tokens
    )
    return f"{case.model} on {case.system}, {case.engine}, {layouts}, {lengths}"


def _refusals(outcomes: Sequence[Outcome]) -> str:
    reasons: dict[str, set[str]] = {}
    for outcome in outcomes:
        if outcome.refused is not None:
            line = outcome.refused.splitlines()[0].replace("|", "\\|")
            reasons.setdefault(line, set()).add(outcome.id)
    lines = ["| reason | cases | ids |", "|---|---|---|"]
    for reason, ids in sorted(reasons.items(), key=lambda pair: (-len(pair[1]), pair[0])):
        listed = ", ".join(sorted(ids)[:12]) + (", …" if len(ids) > 12 else "")
        lines.append(f"| {reason} | {len(ids)} | {listed} |")
    return "\n".join(lines)
