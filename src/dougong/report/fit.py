"""The matrix of what fits where, as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.text import Text

from dougong.plan.types import Fit, FitCell
from dougong.report.numbers import compact, exact, plural
from dougong.report.parts import GAP, listing, section
from dougong.report.why import notes_section

VERDICTS = {
    "fits": "fits",
    "misses-limit": "slow",
    "does-not-fit": "no",
    "unknown-figure": "?",
    "unsupported": "not read",
}
"""Verdict -> what stands in the cell; a cell that fits shows its tokens/s per chip instead."""

LEGEND = (
    "cell: output tokens/s per chip; slow: fits, misses a limit; no: does not fit; ?: a figure is unknown"
)
_STYLES = {"fits": "green", "misses-limit": "yellow", "does-not-fit": "red"}
_REASONS = 12


def draw_fit(fit: Fit) -> RenderableType:
    """Draw the matrix, some systems at a time, and the reason of every cell that is not a yes."""
    parts: list[RenderableType] = [Text(fit_sentence(fit), style="bold"), Text(LEGEND, style="dim")]
    parts.append(_Matrix(fit))
    if reasons := _reasons(fit):
        shown = listing(
            reasons[:_REASONS],
            ("pairs", "number", lambda item: exact(len(item[1]))),
            ("for instance", "words", lambda item: f"{item[1][0].model} on {item[1][0].system}"),
            ("verdict", "word", lambda item: item[1][0].verdict),
            ("why", "words", lambda item: item[0][1]),
        )
        rest = f"{len(reasons) - _REASONS} more in --json" if len(reasons) > _REASONS else ""
        parts.append(section("Reasons", shown, aside=rest))
    if fit.notes:
        parts.append(notes_section(fit.notes))
    parts.append(Text(f"\ncatalog edition {fit.edition}", style="dim"))
    return Group(*parts)


def fit_sentence(fit: Fit) -> str:
    """Return how many pairs fit, in one sentence."""
    cells = _cells(fit)
    good = sum(cell.verdict == "fits" for cell in cells)
    return (
        f"{exact(good)} of {exact(len(cells))} pairs fit "
        f"({plural(len(fit.models), 'model')} on {plural(len(fit.systems), 'system')})."
    )


def _cells(fit: Fit) -> list[FitCell]:
    pairs = ((model, system) for model in fit.models for system in fit.systems)
    return [fit.cells[pair] for pair in pairs if pair in fit.cells]


def _reasons(fit: Fit) -> list[tuple[tuple[str, str], list[FitCell]]]:
    # One line per reason, not per pair: a hole in a chip's record is the same hole for every model.
    told: dict[tuple[str, str], list[FitCell]] = {}
    for cell in _cells(fit):
        if cell.detail:
            told.setdefault((cell.verdict, cell.detail), []).append(cell)
    return sorted(told.items(), key=lambda item: -len(item[1]))


@dataclass(frozen=True, slots=True)
class _Matrix:
    """The matrix, as many systems beside each other as the width takes."""

    fit: Fit

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        name = max(map(len, (*self.fit.models, "model"))) + 2
        beside: list[str] = []
        used = name
        for system in self.fit.systems:
            if beside and used + len(system) + 2 > options.max_width:
                yield from self._part(beside)
                beside, used = [], name
            beside.append(system)
            used += len(system) + 2
        yield from self._part(beside)

    def _part(self, systems: Sequence[str]) -> RenderResult:
        # Lines and not a table: of ten thousand cells a table measures each several times.
        cells = [
            [_cell(self.fit.cells.get((model, system))) for system in systems] for model in self.fit.models
        ]
        widths = [
            max(len(name), *(len(words) for words, _ in column))
            for name, column in zip(systems, zip(*cells, strict=True), strict=True)
        ]
        first = max(map(len, (*self.fit.models, "model")))
        yield Text("")
        yield _line("model".ljust(first), [(name, "dim") for name in systems], widths, "dim")
        for model, row in zip(self.fit.models, cells, strict=True):
            yield _line(model.ljust(first), row, widths)


def _line(first: str, cells: Sequence[tuple[str, str]], widths: Sequence[int], style: str = "") -> Text:
    line = Text(first, style, no_wrap=True, overflow="ignore")
    for (words, cell_style), width in zip(cells, widths, strict=True):
        line.append(" " * GAP).append(words.rjust(width), cell_style)
    return line


def _cell(cell: FitCell | None) -> tuple[str, str]:
    """Return words and style of a cell."""
    if cell is None:
        return "", ""
    words = VERDICTS.get(cell.verdict, cell.verdict)
    if cell.verdict == "fits" and cell.tokens_per_s_per_chip is not None:
        words = compact(cell.tokens_per_s_per_chip)
    return words, _STYLES.get(cell.verdict, "dim")
