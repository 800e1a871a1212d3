"""Finds record files and the aliases written in them, without parsing a whole file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dougong.catalog.files import MAX_BYTES

_ALIASES = re.compile(rb"^aliases\s*=\s*\[[^\]]*\]", re.MULTILINE)


def squash(word: str) -> str:
    """A name as it is said: "CloudMatrix 384" and "cloudmatrix-384" are one."""
    return re.sub(r"[\s_-]+", "", word.lower())


def said_like(word: str, names: Mapping[str, str]) -> str | None:
    """The one id among ``names`` (name -> id) that ``word`` says, blanks and hyphens aside; None if not just one."""
    wanted = squash(word)
    owners = {owner for name, owner in names.items() if wanted and squash(name) == wanted}
    return owners.pop() if len(owners) == 1 else None


def record_files(roots: Sequence[Path], folder: str) -> dict[str, Path]:
    """Id and file of every record below ``folder`` of the roots; the first root that has an id wins."""
    found: dict[str, Path] = {}
    for root in reversed(roots):
        for path in walk(root / folder):
            found[path.stem.lower()] = path
    return found


def walk(folder: Path) -> Iterator[Path]:
    """Record files of a folder and of its vendor folders, in a stable order."""
    if folder.is_dir():
        for entry in sorted(folder.iterdir()):
            if entry.suffix == ".toml" and entry.is_file():
                yield entry
            elif entry.is_dir():
                yield from sorted(path for path in entry.glob("*.toml") if path.is_file())


def aliases(files: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """(alias, id) of every file, by a scan of its text: far cheaper than parsing every file."""
    for record_id, path in files.items():
        with path.open("rb") as stream:
            match = _ALIASES.search(stream.read(MAX_BYTES))
        if match:
            try:
                listed: list[object] = tomllib.loads(match.group().decode("utf-8"))["aliases"]
            except ValueError:  # the file is faulty; reading it will say how
                continue
            yield from ((alias.strip().lower(), record_id) for alias in listed if isinstance(alias, str))
