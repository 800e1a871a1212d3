"""Opens files of strangers: what is named may be a pipe, and a pipe that nobody writes to must not stop us."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from dougong.errors import InputError


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


def bounded_lines(
    path: Path, *, max_bytes: int, max_line_bytes: int, max_lines: int, hint: str
) -> Iterator[tuple[int, str]]:
    """Yield the lines of a text that are not blank, with their numbers, gzipped or not; a long one is refused.

    Parameters
    ----------
    path
        UTF-8 text, perhaps gzipped.
    max_bytes, max_line_bytes
        Longest text, unpacked, and longest line [byte].
    max_lines
        Most lines.
    hint
        What to do with a text that is longer.

    Raises
    ------
    InputError
        If the text is longer than allowed.
    OSError, EOFError, zlib.error, UnicodeDecodeError
        If it cannot be read.
    """
    with open_bytes(path) as raw:
        packed = raw.peek(2)[:2] == b"\x1f\x8b"
        stream = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if packed else raw
        size = number = 0
        while line := stream.readline(max_line_bytes + 1):
            number += 1
            size += len(line)
            if number > max_lines:
                raise InputError(f"{path}: line {number}: more than {max_lines:,} lines", hint=hint)
            if len(line) > max_line_bytes:
                raise InputError(f"{path}: line {number}: longer than {max_line_bytes >> 20} MiB")
            if size > max_bytes:
                raise InputError(f"{path}: longer than {max_bytes >> 20} MiB unpacked", hint=hint)
            if text := line.decode("utf-8-sig" if number == 1 else "utf-8").strip():
                yield number, text
