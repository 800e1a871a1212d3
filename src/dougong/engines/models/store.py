"""The cache of models: a folder per source and revision, with a record of what was fetched and its hashes."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from dougong.errors import InputError
from dougong.places import cache_dir

RECORD = "dougong-model.json"
SCHEMA = 1
_RECORD_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file of a model, with its length [byte] and hash in hex."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A model in the cache.

    Attributes
    ----------
    source
        As the user may say it again.
    revision
        The commit or version that was fetched.
    """

    source: str
    revision: str
    fetched: str
    files: tuple[StoredFile, ...]
    folder: Path

    @property
    def size(self) -> int:
        """All files together [byte]."""
        return sum(file.size for file in self.files)

    @property
    def sha256(self) -> str:
        """Hash of the one file, or of the sorted list of names and hashes."""
        return content_hash({file.path: file.sha256 for file in self.files})

    def complete(self) -> bool:
        """Say whether every file is there in its length."""
        paths = [(self.folder / file.path, file.size) for file in self.files]
        return bool(paths) and all(path.is_file() and path.stat().st_size == size for path, size in paths)


def content_hash(files: Mapping[str, str]) -> str:
    """Return one hash for files by name and hash: of a single file its own."""
    if len(files) == 1:
        return next(iter(files.values()))
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def models_dir() -> Path:
    """Return the folder of all cached models."""
    return cache_dir() / "models"


def folder_of(kind: str, name: str) -> Path:
    """Return the folder of one source; every part of ``name`` becomes one plain word."""
    words = "--".join(part for part in name.split("/"))
    if not words or any(letter in words for letter in '\\:*?"<>|') or words.startswith(".") or "\0" in words:
        raise InputError(f"{name!r} is no name of a model")
    return models_dir() / kind / words


def write_record(stored: Stored) -> None:
    """Write the record of a fetched model; it is there wholly or not at all."""
    content = {"schema": SCHEMA, **{key: value for key, value in asdict(stored).items() if key != "folder"}}
    part = stored.folder / f"{RECORD}.part"
    part.write_text(json.dumps(content, indent=1), encoding="utf-8")
    part.replace(stored.folder / RECORD)


def make_record(source: str, revision: str, files: Sequence[StoredFile], folder: Path) -> Stored:
    """Return the record of what was fetched just now, and write it."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    stored = Stored(source=source, revision=revision, fetched=now, files=tuple(files), folder=folder)
    write_record(stored)
    return stored


def read_record(folder: Path) -> Stored | None:
    """Read the record of a folder; None where there is none that can be used."""
    path = folder / RECORD
    try:
        if path.stat().st_size > _RECORD_BYTES:
            return None
        content = cast(dict[str, Any], json.loads(path.read_text(encoding="utf-8")))
        files = tuple(
            StoredFile(path=str(file["path"]), size=int(file["size"]), sha256=str(file["sha256"]))
            for file in content["files"]
        )
        if content["schema"] != SCHEMA or not all(is_safe(file.path) for file in files):
            return None
        return Stored(
            source=str(content["source"]),
            revision=str(content["revision"]),
            fetched=str(content["fetched"]),
            files=files,
            folder=folder,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None  # half-written, or not ours: it is fetched again


def is_safe(path: str) -> bool:
    """Say whether a path from elsewhere stays below the folder it is put in."""
    parts = path.replace("\\", "/").split("/")
    return bool(path) and not any(part in ("", ".", "..") or ":" in part or "\0" in part for part in parts)


def list_stored() -> list[Stored]:
    """Return every model in the cache, by source."""
    found = [read_record(path.parent) for path in models_dir().glob(f"*/*/{RECORD}")]
    return sorted((one for one in found if one is not None), key=lambda stored: stored.source)


def remove(stored: Stored) -> None:
    """Remove a model from the cache."""
    shutil.rmtree(stored.folder)
