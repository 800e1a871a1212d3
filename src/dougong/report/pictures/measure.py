"""A measured run: latencies as distributions, and what went on over time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dougong.metrics import RequestRecord, Summary, tpot_s, ttft_s
from dougong.report.measure import sentence
from dougong.report.numbers import quantity
from dougong.report.pictures.canvas import INK, PALE, QUIET, Axes, colour_of, new_sheet, save, style, title

if TYPE_CHECKING:
    from dougong.measure.run import Measured

_SLICES = 60


def measured_picture(run: Measured, summary: Summary, path: Path) -> None:
    """Draw distributions of TTFT and TPOT, and tokens and requests in flight over time, to ``path``."""
    records = [record for record in run.records if record.status == "ok"]
    counted = [record for record in records if summary.window.holds(record.arrival_s)]
    with style():
        sheet = new_sheet(11.0, 6.4)
        frames: Any = sheet.subplots(2, 2)
        _distribution(frames[0][0], "TTFT", [value for r in counted if (value := ttft_s(r)) is not None], 0)
        _distribution(frames[0][1], "TPOT", [value for r in counted if (value := tpot_s(r)) is not None], 1)
        _tokens(frames[1][0], records, summary)
        _in_flight(frames[1][1], run.records, summary)
        title(sheet, f"{run.endpoint.model} at {run.endpoint.url}", sentence(summary, run.load.words))
        save(sheet, path)


def _distribution(axes: Axes, name: str, values: Sequence[float], colour: int) -> None:
    ordered = sorted(values)
    axes.set_title(name)
    axes.set_ylabel("share of requests")
    if not ordered:
        axes.text(0.5, 0.5, "not known", transform=axes.transAxes, ha="center", color=QUIET)
        return
    shares = [(at + 1) / len(ordered) for at in range(len(ordered))]
    axes.step(ordered, shares, where="post", color=colour_of(colour))
    for q in (0.5, 0.9, 0.99):
        value = ordered[min(int(q * len(ordered)), len(ordered) - 1)]
        axes.axhline(q, color=PALE, linewidth=0.8, zorder=0)
        axes.annotate(
            f"p{q * 100:g} {quantity(value, 's')}", (value, q), xytext=(4, -10), textcoords="offset points",
            fontsize=8, color=QUIET,
        )  # fmt: skip
    axes.set_ylim(0, 1.02)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(_time_tick)


def _time_tick(value: float, _: object) -> str:
    return quantity(value, "s")


def _tokens(axes: Axes, records: Sequence[RequestRecord], summary: Summary) -> None:
    axes.set_title("Output tokens/s")
    times = [time for record in records for time in record.token_s]
    end = max((record.end_s for record in records), default=0.0)
    if not times or end <= 0:
        axes.text(
            0.5, 0.5, "times of tokens are not known", transform=axes.transAxes, ha="center", color=QUIET
        )
        return
    width = end / _SLICES
    counts = [0] * _SLICES
    for time in times:
        counts[min(int(time / width), _SLICES - 1)] += 1
    axes.bar(
        [(at + 0.5) * width for at in range(_SLICES)], [count / width for count in counts], width=width * 0.95,
        color=colour_of(2),
    )  # fmt: skip
    _window(axes, summary)


def _in_flight(axes: Axes, records: Sequence[RequestRecord], summary: Summary) -> None:
    axes.set_title("Requests in flight")
    begun = sorted(record.arrival_s for record in records)
    ended = sorted(record.end_s for record in records)
    times = sorted([*begun, *ended])
    axes.step(
        times, [bisect_right(begun, time) - bisect_right(ended, time) for time in times], where="post",
        color=INK, linewidth=1,
    )  # fmt: skip
    axes.set_ylim(bottom=0)
    _window(axes, summary)


def _window(axes: Axes, summary: Summary) -> None:
    axes.axvspan(
        summary.window.start_s, summary.window.end_s, color=PALE, alpha=0.4, zorder=0, label="counted"
    )
    axes.set_xlabel("s")
    axes.legend(loc="lower right", fontsize=8)
