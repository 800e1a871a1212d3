"""Which suite it was: the edition and a digest of every line that a verdict rests on."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import dougong

EDITION = "2026.11"

_ROOMS = ("ops", "backends/reference", "backends/port.py", "backends/dtypes.py", "verify")


@cache
def suite_digest() -> str:
    """Return the sha256 of the definitions, the reference, the bounds, the cases, the mutants and the judge."""
    root, found = Path(dougong.__file__).parent, hashlib.sha256()
    for room in _ROOMS:
        place = root / room
        files = sorted(place.rglob("*.py")) if place.is_dir() else [place]
        for file in files:
            content = file.read_bytes()
            found.update(f"{file.relative_to(root).as_posix()}\0{len(content)}\0".encode())
            found.update(content)
    return found.hexdigest()
