"""Finds models by id, alias or path, and reads only the file that is asked for.

An id or alias of the catalog comes before a path of the same words; ``./name``, a name that ends in ``.json``
or any existing path is read as a Hugging Face configuration.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from dougong.catalog.files import Table, parse_toml
from dougong.catalog.index import aliases, record_files, said_like
from dougong.catalog.model_files import Raw, merged_config, read_model
from dougong.catalog.models import Model
from dougong.errors import CatalogError, UnknownId

MAX_LINEAGE = 8
"""Bases of bases that are followed before a lineage is called circular."""


def model_ids(dirs: Sequence[Path]) -> tuple[str, ...]:
    """Ids of every model in the folders, sorted."""
    return tuple(sorted(_shelf(tuple(dirs)).files))


def load_model(wanted: str, dirs: Sequence[Path]) -> Model:
    """The model that ``wanted`` names: an id or alias in any case, or a path of a configuration.

    Raises
    ------
    UnknownId
        With near names, if it is none of these.
    CatalogError
        With every fault of the record or configuration.
    """
    shelf = _shelf(tuple(dirs))
    word = wanted.strip()
    record_id = shelf.resolve(word)
    if record_id is not None:
        return shelf.model(record_id)
    path = _path(word)
    if path is not None:
        from dougong.catalog.hf import read_config_file

        return read_config_file(path)
    hint = None
    if word.endswith(".json") or word.startswith((".", "~", os.sep)):
        hint = f"there is no file or folder {word!r}"
    raise UnknownId("model", word, shelf.names(), hint=hint)


def check_models(dirs: Sequence[Path], only: Sequence[Path] | None = None) -> list[str]:
    """Every fault of every model record, of the folders ``only`` if given."""
    shelf = _Shelf(tuple(dirs))
    faults: list[str] = []
    owners: dict[str, str] = {}
    for record_id, path in sorted(shelf.files.items()):
        if only is not None and not any(path.is_relative_to(folder) for folder in only):
            continue
        model = shelf.read(record_id, faults)
        for alias in model.aliases if model else ():
            word = alias.lower()
            others = {owners.setdefault(word, record_id), *({word} & {*shelf.files})} - {record_id}
            faults += [f"{path}: aliases: {alias!r} also names {other!r}" for other in sorted(others)]
    return sorted(dict.fromkeys(faults))


def _path(word: str) -> Path | None:
    if not word or "\0" in word:
        return None
    try:
        path = Path(word).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError):  # a name longer than the file system takes, the home of nobody
        return None


@lru_cache(maxsize=16)
def _shelf(dirs: tuple[Path, ...]) -> _Shelf:
    return _Shelf(dirs)


class _Shelf:
    """The model files of some folders, and what was read of them."""

    def __init__(self, dirs: tuple[Path, ...]) -> None:
        self.dirs = dirs
        self.files: Mapping[str, Path] = record_files(dirs, "models")
        self._aliases: dict[str, str] | None = None
        self._models: dict[str, Model] = {}
        self._sources: frozenset[str] | None = None

    def resolve(self, word: str) -> str | None:
        """The id that ``word`` names, or None."""
        key = word.lower()
        if key in self.files:
            return key
        if self._aliases is None:
            self._aliases = dict(aliases(self.files))
        if key in self._aliases:
            return self._aliases[key]
        # A path that happens to be said like an id stays a path.
        return (
            None if _path(word) else said_like(key, {**self._aliases, **{name: name for name in self.files}})
        )

    def names(self) -> set[str]:
        """Every id and alias."""
        return {*self.files, *(self._aliases or {})}

    def model(self, record_id: str) -> Model:
        """The record of this id, read once."""
        if record_id not in self._models:
            faults: list[str] = []
            model = self.read(record_id, faults)
            if model is None:
                raise CatalogError(faults)
            self._models[record_id] = model
        return self._models[record_id]

    def read(self, record_id: str, faults: list[str]) -> Model | None:
        """Read one record, appending its faults."""
        path = self.files[record_id]
        raw = parse_toml(path, faults)
        if raw is None:
            return None
        if self._sources is None:
            self._sources = frozenset(record_files(self.dirs, "sources"))
        return read_model(
            raw, path.stem, where=str(path), base_config=lambda base: self.config(base, path, faults, 1),
            faults=faults, sources=self._sources,
        )  # fmt: skip

    def config(self, record_id: str, asked_by: Path, faults: list[str], depth: int) -> Raw | None:
        """The configuration of a base; a circle of bases is a fault."""
        if record_id not in self.files:
            faults.append(f"{asked_by}: base: no model has the id {record_id!r}")
            return None
        if depth > MAX_LINEAGE:
            faults.append(f"{asked_by}: base: the lineage is longer than {MAX_LINEAGE} or goes in a circle")
            return None
        path = self.files[record_id]
        raw = parse_toml(path, faults)
        if raw is None:
            return None
        table = Table(raw, where=str(path), record=record_id, faults=faults)
        return merged_config(raw, table, lambda base: self.config(base, path, faults, depth + 1))
