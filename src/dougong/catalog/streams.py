"""Opens files of strangers: what is named may be a pipe, and a pipe that nobody writes to must not stop us."""

from __future__ import annotations

import io
import os
from pathlib import Path


def open_bytes(path: Path) -> io.BufferedReader:
    """Open ``path`` for reading; an idle pipe reads as empty instead of waiting for ever.

    Raises
    ------
    OSError
        As ``open`` does: no such file, a folder, no permission.
    """
    at_once = getattr(os, "O_NONBLOCK", 0)
    raw = io.FileIO(path, opener=lambda name, flags: os.open(name, flags | at_once))
    if at_once:
        os.set_blocking(raw.fileno(), True)  # once open, a pipe with a writer is waited for
    return io.BufferedReader(raw)
