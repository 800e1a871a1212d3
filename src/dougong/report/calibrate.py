"""What runs taught a calibration, as text and as JSON."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from dougong.report.dump import plain
from dougong.report.numbers import UNKNOWN, percent, plural, quantity
from dougong.report.parts import Columns, listing, section

if TYPE_CHECKING:
    from dougong.measure.calibrate import Calibrated, Told

_METRICS = (("output tokens/s", "throughput"), ("TPOT", "tpot_s"), ("TTFT", "ttft_s"))
_STAGES = ("before", "after", "unseen")


def draw_calibrated(found: Calibrated) -> RenderableType:
    """Errors before, after and on runs left out; each run; each parameter."""
    rates = {stage: _spread(found.cases, stage, "throughput") for stage in _STAGES}
    head = (
        f"{plural(len(found.cases), 'run')}: output tokens/s were predicted {_said(rates['before'])} off, and are "
        f"{_said(rates['after'])}; each run by the others, {_said(rates['unseen'])}."
    )
    table = [
        [name, *(_cell(_spread(found.cases, stage, metric)) for stage in _STAGES)]
        for name, metric in _METRICS
    ]
    columns = [("", "word"), ("before", "number"), ("after", "number"), ("run left out", "number")]
    cases = [
        [
            one.case.name,
            f"{one.case.workload.prompt_tokens:.0f}",
            f"{one.case.workload.output_tokens:.0f}",
            f"{one.case.users:g}",
            quantity(one.case.measured["throughput"], "token"),
            *(_error(one, stage) for stage in _STAGES),
        ]
        for one in found.cases
    ]
    heads = [("run", "words"), ("prompt", "number"), ("output", "number"), ("users", "number")]
    heads += [("tokens/s", "number"), ("before", "number"), ("after", "number"), ("left out", "number")]
    parameters = listing(
        list(found.after),
        ("", "word", str),
        ("before", "number", lambda name: _value(name, found.before[name])),
        ("after", "number", lambda name: _value(name, found.after[name])),
    )
    return Group(
        Text(head, style="bold"),
        section("Error", Columns(columns, table), aside="median and greatest of |predicted / measured - 1|"),
        section("Runs", Columns(heads, cases), aside="error of output tokens/s"),
        section("Parameters", parameters, aside=f"engine class on {found.local.chip}"),
    )


def dump_calibrated(found: Calibrated, folder: str) -> dict[str, Any]:
    """The same as JSON has it."""
    return {"kind": "calibrated", "folder": folder, **plain(found)}


def _spread(cases: Any, stage: str, metric: str) -> tuple[float, float] | None:
    from dougong.measure.calibrate import errors

    found = [abs(error) for error in errors(cases, stage, metric)]
    return (median(found), max(found)) if found else None


def _said(found: tuple[float, float] | None) -> str:
    return UNKNOWN if found is None else percent(found[0])


def _cell(found: tuple[float, float] | None) -> str:
    return UNKNOWN if found is None else f"{percent(found[0])}, {percent(found[1])}"


def _error(one: Told, stage: str) -> str:
    predicted = getattr(one, stage)
    if "throughput" not in predicted:
        return UNKNOWN
    return f"{predicted['throughput'] / one.case.measured['throughput'] - 1:+.1%}"


def _value(name: str, value: float) -> str:
    return quantity(value, "s" if name.endswith("_s") else "1")
