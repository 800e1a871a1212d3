"""What all pictures share: the sheet, the colours, and a file that is the same for the same answer."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

from dougong.errors import EnvironmentLacking

try:
    import matplotlib
    import matplotlib.figure  # pyright: ignore[reportUnusedImport]  # named through plt
    import matplotlib.patches  # pyright: ignore[reportUnusedImport]
except ImportError as error:
    raise EnvironmentLacking(
        "pictures need matplotlib, which is not installed", hint="pip install 'dougong[plot]'"
    ) from error

plt: Any = matplotlib
Axes = Any
"""matplotlib without its stubs: they change with each version and leave most keyword arguments open."""

INK, QUIET, PALE, BAD = "#222222", "#6b6b6b", "#d9d9d9", "#b2182b"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6000", "#999999")
"""Colours told apart by most eyes (Okabe and Ito, 2008); the eighth is for the rest."""

_STYLE = {
    "font.size": 10,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "legend.frameon": False,
    "svg.hashsalt": "dougong",
    "figure.constrained_layout.use": True,
}


_LETTERS_PER_INCH = 11


def style() -> Any:
    """Return the context in which a sheet is made and drawn."""
    return plt.rc_context(_STYLE)


def new_sheet(width: float, height: float) -> Any:
    """Return an empty sheet [inch], without the global state of pyplot."""
    return plt.figure.Figure(figsize=(width, height))


def title(sheet: Any, head: str, below: str) -> None:
    """Write what the picture is of, and what was asked, over everything, broken to the width."""
    columns = int(sheet.get_figwidth() * _LETTERS_PER_INCH)
    words = "\n".join([head, *textwrap.wrap(below, columns)])
    sheet.suptitle(words, fontsize=11, x=0.01, ha="left", color=INK)


def save(sheet: Any, path: Path) -> None:
    """Write the sheet; no date, so the same answer gives the same bytes."""
    dated = {"Date": None} if path.suffix.lower() == ".svg" else {"Software": None}
    try:
        sheet.savefig(path, dpi=150, metadata=dated, facecolor="white")
    except OSError as error:
        raise EnvironmentLacking(f"{path} cannot be written: {error.strerror}") from error


def colour_of(index: int) -> str:
    """Return the colour of the n-th series."""
    return SERIES[min(index, len(SERIES) - 1)]
