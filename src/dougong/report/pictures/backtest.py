"""Predicted against measured, a dot per figure: right on the diagonal, off by two on the dashed lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dougong.backtest import Outcome, spread
from dougong.report.backtest import sentence
from dougong.report.numbers import compact, exact, percent, quantity
from dougong.report.pictures.canvas import INK, QUIET, Axes, colour_of, new_sheet, save, style, title

PANELS = (("tpot_s", "TPOT"), ("ttft_s", "TTFT"), ("rate", "Tokens/s per chip"))
"""(metric, title); rates of all phases share one panel."""
_MAKERS = 7  # as many as there are colours to tell apart; the rest share the eighth
_ROOM = 1.5  # beyond the outermost dots, as a factor


def backtest_picture(
    outcomes: Sequence[Outcome], path: Path, head: str = "Predicted against measured"
) -> None:
    """Draw predicted over measured by metric, coloured by the maker of the chip, to ``path``."""
    known = [outcome for outcome in outcomes if outcome.predicted and _panel(outcome.metric)]
    makers = _makers(known)
    panels = [(name, [o for o in known if _panel(o.metric) == metric]) for metric, name in PANELS]
    panels = [panel for panel in panels if panel[1]] or [("Nothing is predicted", [])]
    with style():
        sheet = new_sheet(5.0 * len(panels) + 0.4, 6.0)
        frames: Any = sheet.subplots(1, len(panels), squeeze=False)[0]
        for axes, (name, mine) in zip(frames, panels, strict=True):
            _draw(axes, name, mine, makers)
        names = list(dict.fromkeys(makers.values()))
        dots = [
            frames[0].plot([], [], "o", color=colour_of(index), label=_who(makers, index))[0]
            for index in names
        ]
        sheet.legend(handles=dots, loc="outside lower center", ncols=len(dots) or 1)
        title(sheet, head, sentence(known))
        save(sheet, path)


def _panel(metric: str) -> str:
    return "rate" if metric.endswith("per_chip") else metric if metric in ("tpot_s", "ttft_s") else ""


def _makers(known: Sequence[Outcome]) -> dict[str, int]:
    # Maker -> colour; those with most figures have one of their own.
    counts: dict[str, int] = {}
    for outcome in known:
        counts[outcome.groups["vendor"]] = counts.get(outcome.groups["vendor"], 0) + 1
    ordered = sorted(counts, key=lambda maker: (-counts[maker], maker))
    return {maker: min(index, _MAKERS) for index, maker in enumerate(ordered)}


def _who(makers: dict[str, int], index: int) -> str:
    mine = [maker for maker, at in makers.items() if at == index]
    return mine[0] if len(mine) == 1 else f"{len(mine)} more makers"


def _draw(axes: Axes, name: str, mine: Sequence[Outcome], makers: dict[str, int]) -> None:
    found = spread(mine)
    if found.median_abs is None or found.coverage is None:
        axes.set_title(name)
        return
    # Makers with few figures are drawn last, so that the many do not cover them.
    for index in dict.fromkeys(makers.values()):
        dots = [o for o in mine if makers[o.groups["vendor"]] == index]
        axes.plot(
            [o.measured for o in dots], [o.predicted for o in dots], "o", color=colour_of(index),
            markersize=3.2 if len(dots) > 200 else 5, alpha=0.35 if len(dots) > 200 else 0.9, markeredgewidth=0,
        )  # fmt: skip
    ends = [value for o in mine for value in (o.measured, o.predicted or o.measured)]
    low, high = min(ends) / _ROOM, max(ends) * _ROOM
    axes.plot([low, high], [low, high], color=INK, linewidth=1)
    for factor in (0.5, 2.0):
        axes.plot(
            [low, high], [low * factor, high * factor], color=QUIET, linewidth=0.8, linestyle=(0, (4, 4))
        )
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
    axes.grid(visible=True, color="#eeeeee", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.minorticks_off()
    tick = _rate_tick if name == PANELS[2][1] else _time_tick
    for side in (axes.xaxis, axes.yaxis):
        side.set_major_formatter(tick)
    axes.set_xlabel("measured")
    axes.set_ylabel("predicted")
    axes.set_title(name)
    axes.text(
        0.03, 0.97,
        f"{exact(found.predicted)} figures\nmedian error {percent(found.median_abs)}\n"
        f"in the interval {percent(found.coverage)}",
        transform=axes.transAxes, va="top", color=QUIET, fontsize=9,
    )  # fmt: skip


def _rate_tick(value: float, _: object) -> str:
    return compact(value)


def _time_tick(value: float, _: object) -> str:
    return quantity(value, "s")
