"""Reads rows of files that others wrote: bounded, typed, every fault with its place, never a crash."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from dougong.errors import InputError

MAX_FILE_BYTES = 64 << 20
MAX_FAULTS = 200
MAX_TEXT = 2_000
MAX_COUNT = 10_000_000


def read_text(path: Path) -> str:
    """Text of a file no larger than :data:`MAX_FILE_BYTES`.

    Raises
    ------
    InputError
        If the file is missing, no regular file, too large, or not UTF-8.
    """
    try:
        if not path.is_file():
            raise InputError(f"{path}: no such file" if not path.exists() else f"{path}: not a regular file")
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # a NUL byte in the name
        raise InputError(f"{str(path)!r}: no file name ({error})") from error
    if len(raw) > MAX_FILE_BYTES:
        raise InputError(f"{path}: larger than {MAX_FILE_BYTES >> 20} MiB", hint="split the file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 (byte {error.start})") from error


class Faults:
    """Faults of a file in order; the list is bounded, the count is not."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.count = 0

    def add(self, place: str, what: str) -> None:
        """Note one fault."""
        self.count += 1
        if len(self.lines) < MAX_FAULTS:
            self.lines.append(f"{place}: {what}")

    def report(self) -> tuple[str, ...]:
        """The lines, with a last one for what was cut."""
        cut = self.count - len(self.lines)
        return (*self.lines, f"and {cut} more") if cut else tuple(self.lines)


class Row:
    """One record with a place; readers of its fields note faults and return None."""

    def __init__(self, raw: Mapping[str, object], place: str, faults: Faults) -> None:
        self.raw, self.place, self.faults = raw, place, faults
        self.ok = True

    def fault(self, what: str) -> None:
        """Note that this row cannot be used."""
        self.ok = False
        self.faults.add(self.place, what)

    def text(self, key: str, *, required: bool = False) -> str:
        """A string; empty where it is absent."""
        value = self.raw.get(key)
        if value is None or value == "":
            if required:
                self.fault(f"{key} is missing")
            return ""
        if not isinstance(value, str):
            self.fault(f"{key} must be text, is {_show(value)}")
            return ""
        if len(value) > MAX_TEXT:
            self.fault(f"{key} is longer than {MAX_TEXT} characters")
            return ""
        return value

    def number(
        self, key: str, *, low: float = 0.0, high: float = 1e15, required: bool = False
    ) -> float | None:
        """A finite number in ``low..high``."""
        value = self.raw.get(key)
        if value is None or value == "":
            if required:
                self.fault(f"{key} is missing")
            return None
        number = as_number(value)
        if number is None or not low <= number <= high:
            self.fault(f"{key} must be a number in {low:g}..{high:g}, is {_show(value)}")
            return None
        return number

    def count(self, key: str, *, low: int = 1, high: int = MAX_COUNT, required: bool = False) -> int | None:
        """A whole number in ``low..high``."""
        number = self.number(key, low=low, high=high, required=required)
        if number is not None and number != int(number):
            self.fault(f"{key} must be a whole number, is {number:g}")
            return None
        return None if number is None else int(number)

    def table(self, key: str) -> dict[str, Any]:
        """A nested record; empty where it is absent."""
        value = self.raw.get(key)
        if value is None:
            return {}
        table = (
            cast("dict[str, Any]", value) if isinstance(value, dict) else None
        )  # JSON and TOML keys are text
        if table is None:
            self.fault(f"{key} must be a table, is {_show(cast('object', value))}")
            return {}
        if len(table) > 100:
            self.fault(f"{key} has more than 100 entries")
            return {}
        return table

    def flag(self, key: str) -> bool | None:
        """A truth value, or None where it is absent."""
        value = self.raw.get(key)
        if value is not None and not isinstance(value, bool):
            self.fault(f"{key} must be true or false, is {_show(value)}")
            return None
        return value

    def numbers(self, key: str) -> dict[str, float]:
        """A table of positive finite numbers; nulls, texts and lists are left out, the rest are faults."""
        found: dict[str, float] = {}
        for name, value in self.table(key).items():
            if value is None or isinstance(value, list | str):
                continue
            number = as_number(value)
            if number is None or not 0 < number < 1e18:
                self.fault(f"{key}.{name} must be a positive finite number, is {_show(value)}")
                continue
            found[name] = number
        return found


def as_number(value: object) -> float | None:
    """A finite float from a number or from plain decimal text; truth values are no numbers."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        number = float(value) if abs(value) < 1e300 else math.inf
    elif isinstance(value, str) and len(value) < 40 and "_" not in value:
        try:
            number = float(value)
        except ValueError:
            return None
    else:
        return None
    return number if math.isfinite(number) else None


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """Non-empty lines with their numbers, split at newlines only."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
