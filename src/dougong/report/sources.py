"""What an answer stood on: each figure as printed, with its place, grouped by document."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from dougong.facts import GRADES, Figure, Source, worst_grade
from dougong.plan.types import FigureUse
from dougong.report.parts import INDENT, listing, section


def sources_section(uses: Sequence[FigureUse]) -> RenderableType:
    """Figures by document, the best documents first."""
    groups: dict[str, list[FigureUse]] = {}
    for use in uses:
        groups.setdefault(use.figure.source, []).append(use)
    ordered = sorted(groups.items(), key=lambda item: (min(_rank(use.figure) for use in item[1]), item[0]))
    parts: list[RenderableType] = []
    for source_id, group in ordered:
        figures = Padding(_figures([use.figure for use in group]), (0, 0, 0, INDENT))
        parts += [_title(source_id, group[0].source), figures, Text("")]
    worst = worst_grade(use.figure for use in uses)
    aside = f"worst grade: {worst}" if worst else "no figure was read"
    return section("Sources", *parts[:-1], aside=aside)


def source_words(source_id: str, source: Source | None) -> str:
    """Return a document as one cites it."""
    if source is None:
        return source_id
    said = [source.title, ", ".join(part for part in (source.publisher, source.date) if part), source.address]
    return ". ".join(part for part in said if part)


def printed_words(figure: Figure) -> str:
    """Return what the document prints, and our reading where it differs."""
    basis = " ".join(part for part in (f"per {figure.per}" if figure.per else "", figure.direction) if part)
    said = f"“{figure.printed}”" + (f" {basis}" if basis else "")
    return f"{said}, read as {figure.read_as}: {figure.why}" if figure.read_as else said


def _title(source_id: str, source: Source | None) -> Text:
    return Text(source_id, style="cyan").append(
        f"  {source_words(source_id, source)}" if source else "", style="default"
    )


def _figures(figures: Sequence[Figure]) -> RenderableType:
    distinct = {(figure.record, figure.key, figure.printed): figure for figure in figures}
    return listing(
        [figure for _, figure in sorted(distinct.items())],
        ("figure", "word", lambda figure: f"{figure.record} {figure.key}"),
        ("printed", "words", printed_words),
        ("place", "words", lambda figure: figure.at),
        ("grade", "word", lambda figure: figure.grade),
        header=False,
    )


def _rank(figure: Figure) -> int:
    return GRADES.index(figure.grade)
