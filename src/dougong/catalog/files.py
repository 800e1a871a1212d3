"""Reads TOML record files: every fault of every file is collected, with its place, before anything is raised.

:class:`Table` walks one table. What a reader asks for is what is legal: a key that nobody asked for is a
fault, and so is everything in it that does not read. Nothing here knows a chip from a price; those readers
are in :mod:`dougong.catalog.hardware_files` and its neighbours.

The shapes are walked by hand and not by a validation package: importing one takes longer than opening the
catalog and reading a system, it stops at the shape, and units, sources and near names are half of all faults.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

from dougong import units
from dougong.errors import UnitError
from dougong.facts import GRADES, Figure, Unknown

MAX_BYTES = 1 << 20
"""No record is larger; a bigger file is refused before it is parsed [byte]."""

DIRECTIONS: Mapping[str, float] = {"one-way": 1.0, "two-way": 0.5}
"""What a printed link bandwidth counts, and the factor that makes it one-way."""

SANE: Mapping[str, tuple[float, float]] = {
    "FLOP/s": (1e6, 1e24),
    "byte": (1e3, 1e18),
    "byte/s": (1e3, 1e18),
    "s": (1e-12, 1e9),
    "W": (1e-3, 1e11),
}
"""What a chip or a system may have, in base units: a slip of a prefix beyond it would make nonsense of a plan."""

_ID = re.compile(r"[a-z0-9][a-z0-9._+-]{0,79}")
_FIGURE_KEYS = ("printed", "source", "at", "grade", "read_as", "why", "per", "direction", "rivals")
_MAX_TEXT = 2_000
_MISSING = object()


def parse_toml(path: Path, faults: list[str]) -> dict[str, object] | None:
    """Parse the record file at ``path``; on failure append one fault and return None."""
    try:
        if not path.is_file():
            faults.append(f"{path}: no such file")
            return None
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        faults.append(f"{path}: cannot be read ({error.strerror})")
        return None
    return parse_toml_bytes(content, str(path), faults)


def parse_toml_bytes(content: bytes, where: str, faults: list[str]) -> dict[str, object] | None:
    """Parse the bytes of a record file; ``where`` names it in faults."""
    if len(content) > MAX_BYTES:
        faults.append(f"{where}: larger than {MAX_BYTES} bytes; a record is a few kilobytes")
        return None
    try:
        return tomllib.loads(content.decode("utf-8"))
    except RecursionError:
        faults.append(f"{where}: not TOML: nested too deeply")
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, an integer of a million digits
        faults.append(f"{where}: not TOML: {error}")
    return None


def read_figure(
    raw: object,
    *,
    dimension: str,
    record: str,
    key: str,
    faults: list[str],
    where: str,
    place: str | None = None,
    per: Mapping[str, float] | None = None,
    directed: bool = False,
    sources: Collection[str] | None = None,
) -> Figure | Unknown:
    """Read one inline table as a figure in base units; faults are appended and yield an Unknown.

    Parameters
    ----------
    raw
        The table: ``printed``, ``source``, ``at``, ``grade``, perhaps ``read_as`` with ``why``, ``rivals``
        and the basis keys below; or ``unknown = "why"`` alone.
    dimension
        One of :data:`dougong.units.DIMENSIONS`.
    record, key
        What the figure will say it is: the id of the record and the name of the attribute.
    faults
        Collects ``file: place: what is wrong``.
    where
        The file, as it shall appear in faults.
    place
        The place in the file; ``key`` by default.
    per
        Legal values of the key ``per``, each with the factor that brings the printed value to the record's
        own basis. None: the figure has no such key.
    directed
        Whether ``direction`` is required; a two-way value is halved.
    sources
        Known source ids; None leaves them unchecked.
    """
    before = len(faults)
    table = Table(raw, where=where, place=place or key, record=record, faults=faults, sources=sources)
    if table.has("unknown"):
        reason = table.text("unknown")
        if extra := [name for name in _FIGURE_KEYS if table.has(name)]:
            table.fault(f"unknown stands beside {', '.join(extra)}; keep one or the other")
        table.close(also=_FIGURE_KEYS)
        return Unknown(reason, record, key)
    figure = _read_known(table, dimension, key, per, directed)
    rivals: list[Figure | None] = []
    for item in table.tables("rivals"):
        rivals.append(_read_known(item, dimension, key, per, directed))
        item.close()
    table.close()
    if figure is None or len(faults) > before:
        return Unknown("its line in the file is faulty", record, key)
    figure.rivals = tuple(rival for rival in rivals if rival is not None)
    return figure


def _read_known(
    table: Table, dimension: str, key: str, per: Mapping[str, float] | None, directed: bool
) -> Figure | None:
    printed, read_as, why = table.text("printed"), table.text("read_as", ""), table.text("why", "")
    source, grade, at = table.text("source"), table.text("grade", choices=GRADES), table.text("at", "")
    basis = "" if per is None else table.text("per", choices=tuple(per))
    direction = table.text("direction", choices=tuple(DIRECTIONS)) if directed else ""
    if read_as and not why:
        table.fault("read_as needs a why", "why")
    if source and table.sources is not None and source not in table.sources:
        table.fault(f"no source is called {source!r}{near(source, table.sources)}", "source")
    value = table.quantity("read_as" if read_as else "printed", read_as or printed, dimension)
    if value is None or not (source and grade):
        return None
    scale = (per or {}).get(basis, 1.0) * DIRECTIONS.get(direction, 1.0)
    return Figure(
        value * scale, printed=printed, read_as=read_as, why=why, source=source, at=at, grade=grade,
        per=basis, direction=direction, dimension=dimension, record=table.record, key=key,
    )  # fmt: skip


class Table:
    """One TOML table being read; faults go to a shared list and reading goes on.

    A getter without a default makes its key required. Getters return a harmless value where the file is at
    fault, so that one pass finds everything.
    """

    def __init__(
        self,
        raw: object,
        *,
        where: str,
        place: str = "",
        record: str = "",
        faults: list[str],
        sources: Collection[str] | None = None,
    ) -> None:
        self.where, self.place, self.record, self.faults, self.sources = where, place, record, faults, sources
        self._asked: set[str] = set()
        self.broken = not isinstance(raw, Mapping)
        self._raw: Mapping[str, object] = {} if self.broken else cast("Mapping[str, object]", raw)
        if self.broken:
            self.fault(f"a table is wanted here, not {_say(raw)}")

    def fault(self, what: str, key: str = "") -> None:
        """Note a fault of this table, or of ``key`` in it."""
        place = ".".join(part for part in (self.place, key) if part)
        self.faults.append(f"{self.where}: {place}: {what}" if place else f"{self.where}: {what}")

    def has(self, key: str) -> bool:
        """Whether the table holds ``key``."""
        return key in self._raw

    def keys(self) -> tuple[str, ...]:
        """The keys of the table, in file order."""
        return tuple(self._raw)

    def _get(self, key: str, default: object) -> object:
        self._asked.add(key)
        if key not in self._raw:
            if default is _MISSING and not self.broken:
                self.fault("is missing", key)
            return _MISSING
        return self._raw[key]

    def text(self, key: str, default: object = _MISSING, *, choices: Sequence[str] | None = None) -> str:
        """A string, perhaps one of ``choices``."""
        value = self._get(key, default)
        if value is _MISSING:
            return default if isinstance(default, str) else ""
        if not isinstance(value, str) or not value.strip() or len(value) > _MAX_TEXT:
            self.fault(f"a text is wanted, not {_say(value)}", key)
            return ""
        if choices is not None and value not in choices:
            self.fault(f"{value!r} is not one of {', '.join(choices)}{near(value, choices)}", key)
            return ""
        return value

    def identifier(self, key: str, *, expected: str | None = None) -> str:
        """An id: lower-case letters, digits and ``. _ + -``; the file's own must equal its name."""
        value = self.text(key)
        if value and not _ID.fullmatch(value):
            self.fault(f"{value!r} is no id: lower-case letters, digits, '.', '_', '+' and '-' are", key)
        elif value and expected is not None and value != expected:
            self.fault(f"{value!r} is not the name of the file ({expected!r})", key)
        return value

    def texts(self, key: str, *, choices: Sequence[str] | None = None) -> tuple[str, ...]:
        """An optional list of strings."""
        good: list[str] = []
        for value in self.items(key):
            if not isinstance(value, str) or not value.strip() or len(value) > _MAX_TEXT:
                self.fault(f"a list of texts is wanted; {_say(value)} is none", key)
            elif choices is not None and value not in choices:
                self.fault(f"{value!r} is not one of {', '.join(choices)}{near(value, choices)}", key)
            else:
                good.append(value)
        return tuple(good)

    def count(self, key: str, default: object = _MISSING, *, least: int = 1, most: int = 10_000_000) -> int:
        """A whole number between ``least`` and ``most``."""
        value = self._get(key, default)
        if value is _MISSING:
            return default if isinstance(default, int) else least
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.fault(f"a whole number from {least} to {most} is wanted, not {_say(value)}", key)
            return least
        return value

    def items(self, key: str) -> Sequence[object]:
        """An optional list of anything."""
        value = self._get(key, ())
        if value is _MISSING:
            return ()
        if not isinstance(value, list):
            self.fault(f"a list is wanted, not {_say(value)}", key)
            return ()
        return cast("list[object]", value)

    def table(self, key: str, *, required: bool = False) -> Table:
        """A sub-table; an absent optional one reads as empty."""
        value = self._get(key, _MISSING if required else None)
        return self._child({} if value is _MISSING else value, key)

    def tables(self, key: str) -> list[Table]:
        """An optional list of sub-tables."""
        return [self._child(value, f"{key}[{index}]") for index, value in enumerate(self.items(key))]

    def _child(self, raw: object, key: str) -> Table:
        place = f"{self.place}.{key}" if self.place else key
        return Table(
            raw, where=self.where, place=place, record=self.record, faults=self.faults, sources=self.sources
        )

    def figure(
        self,
        key: str,
        dimension: str,
        *,
        name: str = "",
        per: Mapping[str, float] | None = None,
        directed: bool = False,
        absent: str | None = None,
    ) -> Figure | Unknown:
        """A figure; see :func:`read_figure`. ``absent`` makes the key optional and says why it may lack."""
        place = f"{self.place}.{key}" if self.place else key
        value = self._get(key, _MISSING if absent is None else absent)
        if value is _MISSING:
            return Unknown(absent or "its line in the file is missing", self.record, name or place)
        return read_figure(
            value, dimension=dimension, record=self.record, key=name or place, faults=self.faults,
            where=self.where, place=place, per=per, directed=directed, sources=self.sources,
        )  # fmt: skip

    def quantity(self, key: str, text: str, dimension: str) -> float | None:
        """Read ``text`` in base units: finite and more than nothing, or a fault."""
        if not text:
            return None
        try:
            value = units.read(text, dimension)
        except UnitError as error:
            self.fault(f"{error.message}; {error.hint}", key)
            return None
        if value <= 0:
            self.fault(f"{text!r} is not more than zero", key)
            return None
        least, most = SANE.get(dimension, (0.0, math.inf))
        if not least <= value <= most:
            bounds = f"{units.show(least, dimension)} to {units.show(most, dimension)}"
            self.fault(f"{text!r} is like nothing ever built; {bounds} is read", key)
            return None
        return value

    def close(self, also: Iterable[str] = ()) -> None:
        """Fault every key that nobody asked for, with near names."""
        legal = self._asked.union(also)
        for key in self._raw:
            if key not in legal:
                self.fault(f"no such key here{near(key, legal)}; legal: {', '.join(sorted(legal))}", key)


def near(wanted: str, known: Iterable[str]) -> str:
    """The nearest known name as an aside, or nothing."""
    names = difflib.get_close_matches(wanted, sorted(known), n=1, cutoff=0.6)
    return f" (did you mean {names[0]!r}?)" if names else ""


def _say(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
