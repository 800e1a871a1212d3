"""Puts a drawing on a stream: as wide as the terminal, coloured where wanted, in ASCII where need be."""

from __future__ import annotations

import os
import shutil
import sys
from io import StringIO
from typing import TextIO

from rich.console import Console, RenderableType

MIN_WIDTH, MAX_WIDTH, FILE_WIDTH = 60, 140, 110
"""Columns: fewer are not readable, more are not read; what goes to a file has no terminal to ask."""

_ASCII = str.maketrans(
    {
        "–": "-", "—": "-", "−": "-", "×": "x", "·": "|", "…": "...", "≤": "<=", "≥": ">=", "≈": "~",
        "µ": "u", "μ": "u", "α": "alpha", "β": "beta", "∞": "inf", "²": "2", "₂": "2", "→": "->",
        "█": "#", "▓": "=", "▒": "+", "░": ":", "▪": "*",
        "‘": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " ", "\u202f": " ",
    }
)  # fmt: skip


def show(drawing: RenderableType, stream: TextIO | None = None) -> None:
    """Print ``drawing`` to ``stream`` (stdout)."""
    out: TextIO = stream or sys.stdout
    text = render(drawing, width=width_of(out), colour=wants_colour(out))
    out.write(text if prints(out, text) else to_ascii(text))


def to_ascii(text: str) -> str:
    """Return ``text`` with plain stand-ins for what is not ASCII."""
    return text.translate(_ASCII).encode("ascii", "replace").decode()


def render(drawing: RenderableType, *, width: int = FILE_WIDTH, colour: bool = False) -> str:
    """Return ``drawing`` as text, ``width`` columns wide; without colour there is no escape code in it."""
    buffer = StringIO()
    console = Console(
        file=buffer,
        width=width,
        force_terminal=colour,
        no_color=not colour,
        color_system="standard" if colour else None,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    console.print(drawing)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().splitlines())


def width_of(stream: TextIO) -> int:
    """Columns to draw in."""
    fallback = (FILE_WIDTH, 24)
    columns = (
        shutil.get_terminal_size(fallback).columns
        if stream.isatty() or "COLUMNS" in os.environ
        else FILE_WIDTH
    )
    return max(MIN_WIDTH, min(columns, MAX_WIDTH))


def wants_colour(stream: TextIO) -> bool:
    """Whether ``stream`` is a terminal whose user has not declined colour (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def prints(stream: TextIO, text: str) -> bool:
    """Whether the encoding of ``stream`` has every glyph of ``text``."""
    try:
        text.encode(getattr(stream, "encoding", None) or "ascii", getattr(stream, "errors", None) or "strict")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
