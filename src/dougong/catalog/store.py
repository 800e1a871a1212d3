"""The catalog as a whole: finds records by id or alias, reads only what is asked for, remembers what it read.

Listing walks directories and parses nothing. A chip costs one file, a system two. Folders given by the user
come before the shipped one: a file there adds a record, or replaces the shipped record of the same id.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dougong.catalog.adhoc import from_chip, from_systems
from dougong.catalog.files import MAX_BYTES, Table, near, parse_toml_bytes
from dougong.catalog.hardware import Chip, Price, System
from dougong.catalog.hardware_files import read_chip, read_prices, read_source, read_system
from dougong.catalog.index import aliases, record_files, said_like, walk
from dougong.errors import CatalogError, InputError, UnknownId
from dougong.facts import Source

if TYPE_CHECKING:
    from dougong.catalog.models import Model

SHIPPED = Path(__file__).parent / "data"
FOLDERS: Mapping[str, str] = {
    "chip": "chips", "system": "systems", "model": "models", "price": "prices", "source": "sources",
}  # fmt: skip
MAX_CHIPS = 1_000_000
_TIMES = re.compile(r"\s*([+-]?\d[\d,_.]*)\s*[x×*]\s*(\S.*?)\s*", re.IGNORECASE)


class Catalog:
    """Records of chips, systems, prices and sources, in folders of one TOML file per record.

    Examples
    --------
    >>> catalog = Catalog.open()
    >>> catalog.system("16x nvidia-h100-sxm").domains[-1].plane
    'scale_out'
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self.roots = tuple(roots)
        self._paths: dict[str, dict[str, Path]] = {}
        self._aliases: dict[str, dict[str, list[str]]] = {}
        self._records: dict[tuple[str, str], Chip | System | tuple[Price, ...] | Source | None] = {}
        self._digests: dict[str, str] = {}

    @classmethod
    def open(cls, extra_dirs: Sequence[Path | str] = ()) -> Catalog:
        """The shipped catalog with the user's folders before it; the last folder given wins.

        The user's files are read at once, so that all their faults are reported together.
        """
        extra = [Path(folder) for folder in extra_dirs]
        for folder in extra:
            if not any((folder / name).is_dir() for name in FOLDERS.values()):
                parts = ", ".join(f"{name}/" for name in FOLDERS.values())
                what = f"{str(folder)!r} holds no records" if folder.is_dir() else f"{folder} is no folder"
                raise InputError(what, hint=f"a catalog folder holds some of {parts}")
        catalog = cls([*reversed(extra), SHIPPED])
        if extra:
            catalog.check(extra)
        return catalog

    def edition(self) -> str:
        """The calendar edition of the shipped data, for instance ``2026.11``."""
        return (SHIPPED / "EDITION").read_text(encoding="utf-8").strip()

    def content_hash(self) -> str:
        """A digest over the bytes of every file read so far: same files, same digest."""
        lines = "\n".join(f"{name} {digest}" for name, digest in sorted(self._digests.items()))
        return hashlib.sha256(lines.encode()).hexdigest()[:16]

    def ids(self, kind: str) -> tuple[str, ...]:
        """Ids of every record of a kind (``chip``, ``system``, ``model``, ``price``, ``source``)."""
        return tuple(sorted(self._files(kind)))

    def path(self, kind: str, record_id: str) -> Path:
        """The file of a record."""
        return self._files(kind)[self.resolve(kind, record_id)]

    def resolve(self, kind: str, wanted: str) -> str:
        """The id that ``wanted`` names: itself, in any case, or an alias; else UnknownId with near names."""
        files = self._files(kind)
        word = wanted.strip().lower()
        if word in files:
            return word
        owners = self._owners(kind)
        if word in owners:
            return owners[word][-1]
        said = said_like(
            word, {**{name: name for name in files}, **{name: ids[-1] for name, ids in owners.items()}}
        )
        if said is not None:
            return said
        raise UnknownId(kind, wanted.strip(), {*files, *owners})

    def chip(self, name: str) -> Chip:
        """The chip of this id or alias."""
        chip = self._read("chip", self.resolve("chip", name))
        assert isinstance(chip, Chip)
        return chip

    def system(self, name: str) -> System:
        """The system of this id or alias, ``N x chip``, ``N x system``, or a chip alone."""
        if system := self._named_system(name):
            return system
        match = _TIMES.fullmatch(name)
        if match:
            count = _count(match.group(1), name)
            unit = self._named_system(match.group(2))
            if unit is not None:
                return from_systems(unit, count) if count > 1 else unit
            return from_chip(self._chip_of_system(match.group(2)), count)
        return from_chip(self._chip_of_system(name), 1)

    def _named_system(self, name: str) -> System | None:
        try:
            system = self._read("system", self.resolve("system", name))
        except UnknownId:
            return None
        assert isinstance(system, System)
        return system

    def _chip_of_system(self, name: str) -> Chip:
        try:
            return self.chip(name)
        except UnknownId:
            known = {*self.ids("system"), *self.ids("chip"), *self._owners("system")}
            raise UnknownId("system", name.strip(), known) from None

    def source(self, source_id: str) -> Source:
        """The document of this id."""
        source = self._read("source", self.resolve("source", source_id))
        assert isinstance(source, Source)
        return source

    def price_list(self, list_id: str) -> tuple[Price, ...]:
        """Every price of one list."""
        prices = self._read("price", self.resolve("price", list_id))
        assert isinstance(prices, tuple)
        return prices

    def prices(self, subject: str) -> tuple[Price, ...]:
        """Every price of a chip, a system, ``electricity`` or ``grid``; parses only lists that name it."""
        needle = f'"{subject}"'.encode()
        found: list[Price] = []
        for list_id, path in sorted(self._files("price").items()):
            if path.stat().st_size <= MAX_BYTES and needle in path.read_bytes():
                found += [price for price in self.price_list(list_id) if price.subject == subject]
        return tuple(found)

    def model(self, name: str) -> Model:
        """The model of this id, alias or path of a ``config.json``."""
        from dougong.catalog.model_store import load_model  # its reader is not wanted by who lists chips

        model = load_model(name, self.roots)
        word = name.strip().lower()
        ids = [word] if word in self._files("model") else self._owners("model").get(word)
        if ids:  # a record goes before a file of the same name that happens to lie here
            path = self._files("model")[ids[-1]]
        else:
            given = Path(name.strip()).expanduser()
            path = given / "config.json" if given.is_dir() else given
        if path.is_file():  # what came through a pipe is gone
            self._digests[f"model/{model.id}"] = hashlib.sha256(path.read_bytes()).hexdigest()
        return model

    def check(self, only: Sequence[Path] | None = None) -> None:
        """Read every file (of the folders ``only``) and raise all their faults at once."""
        faults: list[str] = []
        for kind in ("source", "chip", "system", "price"):
            for record_id, path in self._files(kind).items():
                if only is not None and not any(path.is_relative_to(folder) for folder in only):
                    continue
                record = self._read(kind, record_id, faults)
                for alias in record.aliases if isinstance(record, Chip | System) else ():
                    word = alias.lower()
                    others = {*self._owners(kind).get(word, ()), *({word} & {*self._files(kind)})} - {
                        record_id
                    }
                    faults += [f"{path}: aliases: {alias!r} also names {other!r}" for other in sorted(others)]
        faults += self._model_faults(only)
        if faults:
            raise CatalogError(list(dict.fromkeys(faults)))

    def _model_faults(self, only: Sequence[Path] | None) -> list[str]:
        if only is not None and not any((folder / FOLDERS["model"]).is_dir() for folder in only):
            return []
        from dougong.catalog.model_store import check_models

        return check_models(self.roots, only)

    def _owners(self, kind: str) -> Mapping[str, list[str]]:
        """Alias -> ids that claim it; a replaced file still lends its aliases to its id."""
        if kind not in self._aliases:
            owners: dict[str, list[str]] = {}
            for root in reversed(self.roots):
                files = {path.stem.lower(): path for path in walk(root / FOLDERS[kind])}
                for alias, record_id in aliases(files):
                    ids = owners.setdefault(alias, [])
                    ids += [] if record_id in ids else [record_id]
            self._aliases[kind] = owners
        return self._aliases[kind]

    def _files(self, kind: str) -> Mapping[str, Path]:
        if kind not in self._paths:
            self._paths[kind] = record_files(self.roots, FOLDERS[kind])
        return self._paths[kind]

    def _read(
        self, kind: str, record_id: str, faults: list[str] | None = None
    ) -> Chip | System | tuple[Price, ...] | Source | None:
        key = (kind, record_id)
        if key in self._records:
            return self._records[key]
        found: list[str] = []
        record = self._parse(kind, record_id, found)
        if faults is not None:
            faults += found
        elif found:
            raise CatalogError(found)
        if not found:
            self._records[key] = record
        return record

    def _parse(
        self, kind: str, record_id: str, faults: list[str]
    ) -> Chip | System | tuple[Price, ...] | Source | None:
        path = self._files(kind)[record_id]
        try:
            with path.open("rb") as stream:
                content = stream.read(MAX_BYTES + 1)
        except OSError as error:
            faults.append(f"{path}: cannot be read ({error.strerror})")
            return None
        self._digests[f"{kind}/{record_id}"] = hashlib.sha256(content).hexdigest()
        raw = parse_toml_bytes(content, str(path), faults)
        if raw is None:
            return None
        table = Table(raw, where=str(path), faults=faults, sources=self._files("source"))
        if kind == "chip":
            return read_chip(table, path.stem)
        if kind == "system":
            return read_system(table, path.stem, lambda chip_id: self._chip_named(chip_id, table))
        if kind == "price":
            return read_prices(table, path.stem)
        return read_source(table, path.stem)

    def _chip_named(self, chip_id: str, table: Table) -> Chip | None:
        if chip_id not in self._files("chip"):
            table.fault(f"no chip is called {chip_id!r}{near(chip_id, self._files('chip'))}", "chip")
            return None
        chip = self._read("chip", chip_id, table.faults)
        return chip if isinstance(chip, Chip) else None


def _count(text: str, words: str) -> int:
    digits = text.replace(",", "").replace("_", "")
    if not digits.isdecimal() or len(digits) > 9 or not 1 <= int(digits) <= MAX_CHIPS:
        raise InputError(
            f"{words!r} asks for {text} chips; a whole number from 1 to {MAX_CHIPS:,} is legal",
            hint='write for instance "16 x nvidia-h100-sxm"',
        )
    return int(digits)
