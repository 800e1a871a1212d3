"""What an engine prints: the last lines in memory, more of them in a file, both bounded, secrets left out."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from pathlib import Path

LINES = 200
LINE_BYTES = 4000
FILE_BYTES = 4 << 20


class EngineLog:
    """A ring of lines with a file behind it; when the file is full it becomes ``.1`` and a new one begins.

    Parameters
    ----------
    path
        The file; None keeps lines in memory only.
    secrets
        Words that are replaced wherever they stand.
    """

    def __init__(self, path: Path | None = None, secrets: Iterable[str] = ()) -> None:
        self.path = path
        self.lost_lines = 0  # lines that the disk did not take
        self._secrets = tuple(filter(None, secrets))
        self._ring: deque[str] = deque(maxlen=LINES)
        self._lock = threading.Lock()
        self._size = 0
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._size = path.stat().st_size if path.exists() else 0

    def add(self, raw: bytes) -> None:
        """Take one line as the engine printed it."""
        line = raw[:LINE_BYTES].decode("utf-8", errors="replace").rstrip()
        line = "".join(letter for letter in line if letter.isprintable() or letter == "\t")
        for secret in self._secrets:
            line = line.replace(secret, "…")
        if not line:
            return
        with self._lock:
            self._ring.append(line)
            self._write(f"{line}\n".encode())

    def tail(self, count: int = 12) -> tuple[str, ...]:
        """Return the last lines, oldest first."""
        with self._lock:
            return tuple(self._ring)[-count:]

    def _write(self, line: bytes) -> None:
        if self.path is None:
            return
        try:
            if self._size + len(line) > FILE_BYTES:
                self.path.replace(self.path.with_suffix(f"{self.path.suffix}.1"))
                self._size = 0
            with self.path.open("ab") as file:
                file.write(line)
            self._size += len(line)
        except OSError:
            self.lost_lines += 1  # a full disk is no reason to stop serving
