"""The matrix of what fits where, as a picture: colour is output of one chip, grey is a no with its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dougong.plan.types import Fit, FitCell
from dougong.report.fit import LEGEND, VERDICTS, fit_sentence
from dougong.report.numbers import compact
from dougong.report.pictures.canvas import INK, QUIET, Axes, new_sheet, plt, save, style, title

_NO = {
    "does-not-fit": "#e4e4e4",
    "misses-limit": "#f4dfc8",
    "unknown-figure": "#ffffff",
    "unsupported": "#ffffff",
}
_MARGIN = 3.2  # [inch]
_DARK = 0.55  # from this share of the colour scale on, words are white
_WRITTEN = 1500
"""Cells up to which each has its number; a larger matrix is read by colour alone."""


def fit_picture(fit: Fit, path: Path) -> None:
    """Draw the matrix to ``path``."""
    written = len(fit.models) * len(fit.systems) <= _WRITTEN
    wide, high = (0.7, 0.46) if written else (0.17, 0.17)  # of a cell [inch]
    with style():
        scale = _scale(fit)
        sheet = new_sheet(
            max(wide * len(fit.systems) + _MARGIN, 7.5), max(high * len(fit.models) + _MARGIN, 4.0)
        )
        axes = sheet.add_subplot()
        colours = [
            [_colour(fit.cells.get((model, system)), scale) for system in fit.systems] for model in fit.models
        ]
        axes.imshow(colours, aspect="auto")
        if written:
            _write(axes, fit, scale)
        size = 9 if written else 7
        columns, rows = range(len(fit.systems)), range(len(fit.models))
        axes.set_xticks(
            columns,
            fit.systems,
            rotation=40 if written else 60,
            ha="right",
            rotation_mode="anchor",
            fontsize=size,
        )
        axes.set_yticks(rows, fit.models, fontsize=size)
        axes.set_xticks([column + 0.5 for column in columns], minor=True)
        axes.set_yticks([row + 0.5 for row in rows], minor=True)
        axes.grid(which="minor", color="white", linewidth=2 if written else 0.5)
        axes.tick_params(which="both", length=0, colors=INK)
        axes.spines[:].set_visible(False)
        bar = sheet.colorbar(
            scale,
            ax=axes,
            shrink=0.6,
            pad=0.01,
            aspect=20 if written else 80,
            label="output tokens/s per chip",
        )
        bar.outline.set_visible(False)
        bar.ax.yaxis.set_major_formatter(_tick)
        title(
            sheet,
            fit_sentence(fit),
            LEGEND if written else "grey: does not fit; white: not known or not read",
        )
        save(sheet, path)


def _tick(value: float, _: object) -> str:
    return compact(value)


def _rate(cell: FitCell | None) -> float | None:
    return cell.tokens_per_s_per_chip if cell is not None and cell.verdict == "fits" else None


def _scale(fit: Fit) -> Any:
    rates = [rate for cell in fit.cells.values() if (rate := _rate(cell))] or [1.0]
    norm = plt.colors.LogNorm(min(rates), max(max(rates), min(rates) * 1.25))
    colours = plt.colors.LinearSegmentedColormap.from_list("output", plt.colormaps["YlGnBu"]([0.1, 0.5, 0.9]))
    return plt.cm.ScalarMappable(norm, colours)


def _colour(cell: FitCell | None, scale: Any) -> Any:
    rate = _rate(cell)
    if rate:
        return scale.to_rgba(rate)
    return plt.colors.to_rgba(_NO.get(cell.verdict, "#ffffff") if cell else "#ffffff")


def _write(axes: Axes, fit: Fit, scale: Any) -> None:
    for row, model in enumerate(fit.models):
        for column, system in enumerate(fit.systems):
            cell = fit.cells.get((model, system))
            if cell is None:
                continue
            rate = _rate(cell)
            words = compact(rate) if rate else VERDICTS.get(cell.verdict, cell.verdict)
            ink = QUIET if not rate else "white" if scale.norm(rate) > _DARK else INK
            axes.text(column, row, words, ha="center", va="center", fontsize=8, color=ink)
