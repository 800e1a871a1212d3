"""The matrix of what fits where, as a picture: colour is output of one chip, grey is a no with its kind."""

from __future__ import annotations

import math
from pathlib import Path

from dougong.plan.types import Fit, FitCell
from dougong.report.fit import LEGEND, VERDICTS, fit_sentence
from dougong.report.numbers import compact
from dougong.report.pictures.canvas import INK, QUIET, new_sheet, plt, save, style, title

_NO = {
    "does-not-fit": "#e4e4e4",
    "misses-limit": "#f4dfc8",
    "unknown-figure": "#ffffff",
    "unsupported": "#ffffff",
}
_CELL, _MARGIN = 0.46, 3.2  # [inch]
_DARK = 0.55  # from this share of the colour scale on, words are white


def fit_picture(fit: Fit, path: Path) -> None:
    """Draw the matrix to ``path``."""
    rates = [cell.tokens_per_s_per_chip for cell in fit.cells.values() if _has_rate(cell)]
    logs = [math.log10(rate) for rate in rates if rate] or [0.0]
    low, high = min(logs), max(max(logs), min(logs) + 0.1)
    with style():
        colours = plt.colormaps["YlGnBu"]
        width = max(_CELL * 1.5 * len(fit.systems) + _MARGIN, 7.0)
        sheet = new_sheet(width, max(_CELL * len(fit.models) + _MARGIN, 4.0))
        axes = sheet.add_subplot()
        for row, model in enumerate(fit.models):
            for column, system in enumerate(fit.systems):
                cell = fit.cells.get((model, system))
                if cell is None:
                    continue
                share = (math.log10(cell.tokens_per_s_per_chip or 1.0) - low) / (high - low)
                face = colours(0.1 + 0.8 * share) if _has_rate(cell) else _NO.get(cell.verdict, "#ffffff")
                axes.add_patch(_square(column, row, face))
                words = (
                    compact(cell.tokens_per_s_per_chip or 0.0) if _has_rate(cell) else VERDICTS[cell.verdict]
                )
                ink = "white" if _has_rate(cell) and share > _DARK else INK if _has_rate(cell) else QUIET
                axes.text(column, row, words, ha="center", va="center", fontsize=8, color=ink)
        axes.set_xlim(-0.5, len(fit.systems) - 0.5)
        axes.set_ylim(len(fit.models) - 0.5, -0.5)
        axes.set_xticks(range(len(fit.systems)), fit.systems, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(fit.models)), fit.models)
        axes.tick_params(length=0, colors=INK)
        for spine in axes.spines.values():
            spine.set_visible(False)
        title(sheet, fit_sentence(fit), LEGEND)
        save(sheet, path)


def _has_rate(cell: FitCell) -> bool:
    return cell.verdict == "fits" and cell.tokens_per_s_per_chip is not None


def _square(column: int, row: int, face: object) -> object:
    return plt.patches.Rectangle(
        (column - 0.48, row - 0.46), 0.96, 0.92, facecolor=face, edgecolor="#cccccc", linewidth=0.5
    )
