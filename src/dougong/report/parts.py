"""The few pieces every text report is made of: headings, tables without lines, indents, bars."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

T = TypeVar("T")

INDENT = 2
GAP = 2
BAR = "█"
_NARROWEST = 8
_LEAST = {"words": 24, "note": 10}
"""Columns that a cell which wraps keeps, however many numbers stand beside it."""


def section(title: str, *content: RenderableType, aside: str = "") -> Group:
    """Return a heading, its aside in a quieter voice, and what stands below it."""
    heading = Text(title, style="bold")
    if aside:
        heading.append(f"  {aside}", style="dim not bold")
    return Group(Text(""), heading, *(Padding(part, (0, 0, 0, INDENT)) for part in content))


@dataclass(frozen=True, slots=True)
class Columns:
    """A table without lines that goes without its spare columns where there is no room for them.

    Attributes
    ----------
    columns
        (heading, kind) with kind ``words`` and ``note`` (wrap; a note gives way first), ``word`` (does not),
        ``number`` (does not, to the right) or ``spare`` (a number that a narrow terminal goes without).
    rows
        One cell per column.
    header
        Whether the headings are drawn.
    """

    columns: Sequence[tuple[str, str]]
    rows: Sequence[Sequence[str | Text]]
    header: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw as many columns as the width takes."""
        drawn = Table(
            box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim", show_header=self.header
        )
        widths = self.widths(options.max_width)
        for at in widths:
            heading, kind = self.columns[at]
            justify = "right" if kind in ("number", "spare") else "left"
            drawn.add_column(Text(heading), justify=justify, width=widths[at], overflow="fold")
        for row in self.rows:
            drawn.add_row(
                *(cell if isinstance(cell, Text) else Text(cell) for cell in map(row.__getitem__, widths))
            )
        yield drawn

    def widths(self, room: int) -> dict[int, int]:
        """Return the columns that are drawn, each with its width."""
        natural = [max(map(cell_len, map(str, cells))) for cells in zip(*self._all_rows(), strict=True)]
        least = [
            min(width, _LEAST.get(kind, width))
            for width, (_, kind) in zip(natural, self.columns, strict=True)
        ]
        kept = list(range(len(self.columns)))

        def needed() -> int:
            return sum(least[at] + GAP for at in kept)

        for at in reversed(range(len(self.columns))):
            if needed() > room and self.columns[at][1] == "spare":
                kept.remove(at)
        while kept and needed() > room and max(least[at] for at in kept) > _NARROWEST:
            widest = max(kept, key=least.__getitem__)
            least[widest] -= 1
        # What is left over goes to the columns that wrap, in proportion to what they lack.
        wrapping = [at for at in kept if self.columns[at][1] in _LEAST]
        lacking = sum(natural[at] - least[at] for at in wrapping) or 1
        share = min(max(room - needed(), 0) / lacking, 1.0)
        more = {at: int((natural[at] - least[at]) * share) for at in wrapping}
        return {at: least[at] + more.get(at, 0) for at in kept}

    def _all_rows(self) -> list[Sequence[str | Text]]:
        headings = [heading if self.header else "" for heading, _ in self.columns]
        return [headings, *self.rows]


def listing(
    items: Iterable[T], *columns: tuple[str, str, Callable[[T], str | Text]], header: bool = True
) -> Columns:
    """Return a table of one row per item from (heading, kind, what the cell says of the item)."""
    rows = [[cell(item) for _, _, cell in columns] for item in items]
    return Columns([(heading, kind) for heading, kind, _ in columns], rows, header)


def pairs(rows: Iterable[tuple[str, str | Text]]) -> Table:
    """Return names and what is said of them, in two columns."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    drawn.add_column(style="dim", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, words in rows:
        drawn.add_row(Text(name), words if isinstance(words, Text) else Text(words))
    return drawn


def lines(words: Iterable[str | Text]) -> Group:
    """Return one paragraph per entry, hanging from a bullet."""
    drawn = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    drawn.add_column(no_wrap=True, width=1)
    drawn.add_column(overflow="fold")
    for entry in words:
        drawn.add_row(Text("-"), entry if isinstance(entry, Text) else Text(entry))
    return Group(drawn)


def bar(share: float, width: int = 24, style: str = "") -> Text:
    """Return a bar for a share of the longest one [1]; what is not nothing is seen."""
    cells = min(max(round(share * width), 1 if share > 0 else 0), width)
    return Text(BAR * cells, style=style)
