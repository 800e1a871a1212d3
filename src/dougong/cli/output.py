"""Where results go: data to stdout, words about it to stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import click

from dougong.cli.words import Faults

T = TypeVar("T")

PICTURES = (".png", ".svg")
_WORTH_A_BAR = 20


def print_json(content: Mapping[str, object]) -> None:
    """Print a record under its schema number."""
    from dougong.report.dump import to_json

    click.echo(to_json(content))


def told_in(seconds: float, what: str) -> None:
    """Say on stderr how much was looked at; a clock has no place in the answer itself."""
    click.echo(f"{what} priced in {seconds:.2f} s", err=True)


def counted(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def progress(items: Sequence[T], label: str) -> AbstractContextManager[Iterable[T]]:
    """Show on a terminal how far a long walk over ``items`` is; elsewhere only walk."""
    hidden = len(items) < _WORTH_A_BAR or not sys.stderr.isatty()
    return click.progressbar(items, label=label, file=sys.stderr, hidden=hidden)


def check_picture(file: str | None, faults: Faults) -> None:
    """Fault a picture's file that could not be written, before anything is computed."""
    if file is None:
        return
    path = Path(file)
    if path.suffix.lower() not in PICTURES:
        faults.add("--plot", f"{file!r} is no {' or '.join(PICTURES)} file")
    if not path.parent.is_dir():
        faults.add("--plot", f"there is no folder {str(path.parent)!r}")


def write_picture(file: str, draw: Callable[[Path], None]) -> None:
    """Draw a picture and say where it is."""
    draw(Path(file))
    click.echo(f"drawn: {file}", err=True)
