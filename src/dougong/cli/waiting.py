"""Shows that something is under way, on a terminal as a line that moves, elsewhere as a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

import click

QUIET_S = 10.0  # between two lines where there is no terminal


class Waiting:
    """A bar for bytes and a clock for engines, on stderr; nothing where JSON is wanted."""

    def __init__(self, silent: bool = False) -> None:
        self._silent = silent
        self._live: Any = None
        self._task: Any = None
        self._what = ""
        self._said_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def bytes(self, what: str, done: int, total: int | None) -> None:
        """Show ``done`` of ``total`` bytes."""
        if self._silent:
            return
        if sys.stderr.isatty():
            live = self._bar()
            if what != self._what:
                self._what = what
                live.reset(self._task, description=what, total=total, completed=done)
            live.update(self._task, completed=done, total=total)
        elif self._due():
            of = f" of {total / 1e6:,.0f}" if total else ""
            click.echo(f"{what}: {done / 1e6:,.0f}{of} MB", err=True)

    def engine(self, name: str, seconds: float, line: str) -> None:
        """Show for how long an engine is waited for, and what it printed last."""
        if self._silent:
            return
        if sys.stderr.isatty():
            live = self._bar()
            live.update(self._task, description=f"{name} {seconds:.0f} s  {line[:80]}", total=None)
        elif self._due():
            click.echo(f"{name} is loading for {seconds:.0f} s: {line[:160]}", err=True)

    def _due(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._said_s < QUIET_S:
            return False
        self._said_s = now_s
        return True

    def _bar(self) -> Any:
        if self._live is None:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn

            self._live = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                DownloadColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._live.start()
            self._task = self._live.add_task("", total=None)
        return self._live
