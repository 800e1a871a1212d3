"""A measured run as text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.text import Text

from dougong.metrics import Estimate, Summary
from dougong.metrics.summary import Spread
from dougong.report.dump import plain
from dougong.report.numbers import UNKNOWN, exact, percent, plural, quantity
from dougong.report.parts import Columns, lines, listing, pairs, section

if TYPE_CHECKING:
    from dougong.measure.against import Against
    from dougong.measure.run import Measured

_LATENCIES = (
    ("TTFT", "ttft_s"),
    ("TPOT", "tpot_s"),
    ("ITL", "itl_s"),
    ("end to end", "e2e_s"),
    ("sent late by", "send_lag_s"),
)
_SHOWN = (0.5, 0.9, 0.99)
_MOST_ERRORS = 8


def sentence(summary: Summary, words: str) -> str:
    """The run in one sentence."""
    rate = summary.output_tokens_per_s
    said = f"{words}: " + (
        f"{quantity(rate.value, 'token')} output tokens/s" if rate else "an unknown token rate"
    )
    if summary.ttft_s:
        said += f", TTFT {quantity(summary.ttft_s.quantiles[0.5].value, 's')}"
    if summary.tpot_s:
        said += f", TPOT {quantity(summary.tpot_s.quantiles[0.5].value, 's')}"
    return said + " (medians)." if summary.ttft_s or summary.tpot_s else said + "."


def draw_measured(
    run: Measured, summary: Summary, *, late: str, beside: Against | None = None
) -> RenderableType:
    """The whole report of a run."""
    parts: list[RenderableType] = [Text(sentence(summary, run.load.words), style="bold")]
    notes = [*([late] if late else []), *_notes(run, summary)]
    parts += [draw_rates(summary), draw_latencies(summary), _draw_requests(summary)]
    if beside is not None:
        parts.append(draw_against(beside))
    parts.append(_draw_client(run))
    if notes:
        parts.append(section("Notes", lines(notes)))
    return Group(*parts)


def draw_rates(summary: Summary) -> RenderableType:
    """Rates over the counted part, with intervals."""
    rows = [
        ("requests", _rate(summary.requests_per_s, "1")),
        ("output tokens", _rate(summary.output_tokens_per_s, "token")),
        ("prompt tokens", _rate(summary.prompt_tokens_per_s, "token")),
    ]
    if summary.met_frac is not None and summary.goodput_requests_per_s is not None:
        share = f"{percent(summary.met_frac.value)} of requests meet the limits"
        rows.append(
            (
                "goodput",
                f"{quantity(summary.goodput_requests_per_s, '1')} requests/s; {share}{_range(summary.met_frac, '1')}",
            )
        )
    aside = f"per second, over {quantity(summary.window.seconds, 's')}; ranges hold the mean with 95 %"
    return section("Rates", pairs(rows), aside=aside)


def draw_latencies(summary: Summary) -> RenderableType:
    """Mean and quantiles of each latency, with intervals."""
    known: list[tuple[str, Spread]] = [
        (name, spread) for name, key in _LATENCIES if (spread := getattr(summary, key)) is not None
    ]
    columns = [("", "word"), ("mean", "number")]
    columns += [head for q in _SHOWN for head in ((f"p{q * 100:g}", "number"), ("95 % range", "spare"))]
    columns.append(("greatest", "number"))
    rows = [[name, *_latency_cells(spread)] for name, spread in known]
    aside = f"{plural(summary.counted, 'request')} counted, from when each was due"
    return section("Latency", Columns(columns, rows), aside=aside)


def draw_against(beside: Against) -> RenderableType:
    """Predicted beside measured."""
    table = listing(
        beside.rows,
        ("", "word", lambda row: row.name),
        ("predicted", "number", lambda row: quantity(row.predicted, row.dimension)),
        ("from", "spare", lambda row: quantity(row.low, row.dimension, 2)),
        ("to", "spare", lambda row: quantity(row.high, row.dimension, 2)),
        (
            "measured",
            "number",
            lambda row: quantity(row.measured.value if row.measured else None, row.dimension),
        ),
        (
            "predicted is off by",
            "number",
            lambda row: UNKNOWN if row.error_frac is None else f"{row.error_frac:+.0%}",
        ),
        ("in the interval", "word", lambda row: {True: "yes", False: "no", None: UNKNOWN}[row.inside]),
    )
    apart: Sequence[RenderableType] = (
        [lines([f"not the same question: {one}" for one in beside.differences])] if beside.differences else []
    )
    return section("Predicted and measured", table, *apart, aside=beside.plan)


def dump_measured(
    run: Measured, summary: Summary, *, late: str, beside: Against | None = None
) -> dict[str, Any]:
    """The run as JSON has it: base units, the unit in the name."""
    end = run.endpoint
    found: dict[str, Any] = {
        "kind": "measured",
        "endpoint": {
            "url": end.url,
            "model": end.model,
            "api": end.api,
            "server": end.server,
            "dialect": end.dialect,
            "full_length": end.full_length,
        },
        "load": {
            "words": run.load.words,
            "users": run.load.users,
            "rate_requests_per_s": run.load.rate_requests_per_s,
            "seed": run.load.seed,
        },
        "started_unix_s": run.started_unix_s,
        "stopped": run.stopped,
        "summary": plain(summary),
        "client": {**plain(run.overhead), "kept_up": not late},
        "counted_by": dict(run.counted_by),
        "notes": [*run.notes, *([late] if late else [])],
    }
    if beside is not None:
        found["beside_plan"] = {
            "plan": beside.plan,
            "differences": list(beside.differences),
            "rows": [
                {**plain(row), "error_frac": row.error_frac, "inside": row.inside} for row in beside.rows
            ],
        }
    return found


def _draw_requests(summary: Summary) -> RenderableType:
    ended = ", ".join(f"{exact(count)} {status}" for status, count in summary.by_status.items())
    rows: list[tuple[str, str]] = [("ended", ended)]
    if summary.prompt_tokens is not None and summary.output_tokens is not None:
        rows.append(
            (
                "length, mean",
                f"{quantity(summary.prompt_tokens, 'token')} tokens in, {quantity(summary.output_tokens, 'token')} out",
            )
        )
    if summary.in_flight is not None:
        rows.append(("in flight, mean", quantity(summary.in_flight, "1")))
    rows.append(("counted", summary.window.rule))
    shown = list(summary.errors.items())[:_MOST_ERRORS]
    rows += [(f"{exact(count)} times", words) for words, count in shown]
    if len(summary.errors) > _MOST_ERRORS:
        rows.append(("and", f"{len(summary.errors) - _MOST_ERRORS} kinds of errors more"))
    return section("Requests", pairs(rows))


def _draw_client(run: Measured) -> RenderableType:
    cost = run.overhead
    words = (
        f"{percent(cost.cpu_frac)} of a core; its clock ran {quantity(cost.beat_p50_s, 's', 2)} late "
        f"(99th percentile {quantity(cost.beat_p99_s, 's', 2)}); at most {exact(cost.peak_in_flight)} in flight"
    )
    counted = "; ".join(f"{how} ({exact(count)})" for how, count in run.counted_by.items()) or UNKNOWN
    return section("Client", pairs([("itself", words), ("tokens counted by", counted)]))


def _notes(run: Measured, summary: Summary) -> list[str]:
    notes = list(run.notes)
    if run.stopped:
        notes.append("the run was stopped before its end")
    if not summary.window.steady:
        notes.append("no steady part was found: filling and draining are counted in; a longer run tells more")
    if summary.itl_s is None and summary.ttft_s is not None:
        notes.append(
            "times of single tokens are not known: pieces of the stream hold several; no ITL is told"
        )
    cached = sum(record.cached_prompt_tokens or 0 for record in run.records)
    prompts = sum(record.prompt_tokens or 0 for record in run.records)
    if prompts and cached > 0.01 * prompts:
        notes.append(f"{percent(cached / prompts)} of prompt tokens came from a prefix cache")
    offered = run.load.rate_requests_per_s
    done = summary.requests_per_s
    if offered and done and done.high is not None and done.high < 0.95 * offered:
        notes.append(
            f"{quantity(offered, '1')} requests/s were offered and {quantity(done.value, '1')} answered: "
            "the queue grows, and latencies with it for as long as the run lasts"
        )
    return notes


def _rate(found: Estimate | None, dimension: str) -> str:
    return UNKNOWN if found is None else f"{quantity(found.value, dimension)}{_range(found, dimension)}"


def _range(found: Estimate, dimension: str) -> str:
    if found.low is None or found.high is None:
        return ""
    if dimension == "1" and found.high <= 1:
        return f" ({percent(found.low)}–{percent(found.high)})"
    return f" ({quantity(found.low, dimension)}–{quantity(found.high, dimension)})"


def _latency_cells(spread: Spread) -> list[str]:
    cells = [quantity(spread.mean.value, "s")]
    for q in _SHOWN:
        cells += [quantity(spread.quantiles[q].value, "s"), _span(spread.quantiles[q])]
    return [*cells, quantity(spread.greatest, "s")]


def _span(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return UNKNOWN
    return f"{quantity(found.low, 's')}–{quantity(found.high, 's')}"
