"""Structured logs: one JSON object per line, no prompts, no keys, written by a thread."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path
from typing import IO, Any

from dougong.errors import EnvironmentLacking
from dougong.gateway.background import Background

STDERR = Path("-")


class Log:
    """A log file; without one, nothing is written.

    Parameters
    ----------
    path
        A file to append to; ``-`` is stderr.

    Raises
    ------
    EnvironmentLacking
        The file cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: IO[str] | None = None
        self._failed = 0
        if path == STDERR:
            self._file = sys.stderr
        elif path is not None:
            try:
                self._file = path.open("a", encoding="utf-8")
            except OSError as fault:
                raise EnvironmentLacking(f"the log {path} cannot be written: {fault.strerror}") from None
        self._writer = None if self._file is None else Background[dict[str, Any]]("dougong-log", self._write)

    @property
    def lost(self) -> int:
        """Lines that could not be written."""
        return self._failed + (self._writer.lost if self._writer is not None else 0)

    def say(self, event: str, **facts: Any) -> None:
        """Write a line, soon; facts that are None are left out."""
        if self._writer is not None:
            self._writer.put({"time_unix_s": round(time.time(), 6), "event": event, **facts})

    def close(self) -> None:
        """Write what waits."""
        if self._writer is not None:
            self._writer.close()
        if self._file is not None and self._file is not sys.stderr:
            with contextlib.suppress(OSError):
                self._file.close()

    def _write(self, batch: list[dict[str, Any]]) -> None:
        assert self._file is not None
        lines = [json.dumps({k: v for k, v in facts.items() if v is not None}) + "\n" for facts in batch]
        try:
            self._file.write("".join(lines))
            self._file.flush()
        except (OSError, ValueError):  # ValueError: the stream was closed
            self._failed += len(batch)
