"""Reads words of the command line; every fault is collected, so that all are told at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

from dougong import units
from dougong.errors import InputError, UnitError

T = TypeVar("T")


class Faults:
    """The faults found so far, each with the word it is about."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str, str | None]] = []

    def add(self, about: str, what: str, hint: str | None = None) -> None:
        """Note a fault of the word ``about``."""
        self.found.append((about, what, hint))

    def keep(self, about: str, action: Callable[[], T]) -> T | None:
        """Return what ``action`` returns; an input error becomes a fault.

        An error about nothing in particular (``about`` is empty) speaks of several flags: one fault per clause.
        """
        try:
            return action()
        except InputError as error:
            for clause in [error.message] if about else error.message.split("; "):
                self.add(about, clause, error.hint)
        return None

    def raise_if_any(self) -> None:
        """Raise one InputError that tells all faults; a single one keeps its hint apart."""
        told = list(dict.fromkeys(self.found))
        if not told:
            return
        if len(told) == 1:
            about, what, hint = told[0]
            raise InputError(f"{about}: {what}" if about else what, hint=hint)
        lines = [
            f"  {f'{about}: ' if about else ''}{what}{f' ({hint})' if hint else ''}"
            for about, what, hint in told
        ]
        raise InputError("\n".join([f"{len(told)} faults in the words:", *lines]))

    def quantity(
        self,
        flag: str,
        text: str | None,
        dimension: str,
        *,
        default_unit: str | None = None,
        scale: float = 1.0,
        most: float = math.inf,
    ) -> float | None:
        """Read a flag as a quantity from 0 to ``most``, in base units times ``scale``; absent is None."""
        if text is None:
            return None
        try:
            value = units.read(text, dimension, default_unit=default_unit)
        except UnitError as error:
            self.add(flag, error.message, error.hint)
            return None
        if value < 0:
            self.add(flag, f"{text!r} is less than nothing")
            return None
        if value * scale > most:
            unit = f" {default_unit}" if default_unit else ""
            self.add(flag, f"{text!r} is more than anyone means; at most {most:,.0f}{unit}")
            return None
        return value * scale

    def count(self, flag: str, text: str | None) -> int | None:
        """Read a flag as a whole number that is not negative; absent is None."""
        value = self.quantity(flag, text, "token")
        if value is None:
            return None
        if not value.is_integer():
            self.add(flag, f"a whole number is wanted, not {text!r}")
            return None
        return int(value)

    def choice(self, flag: str, text: str, choices: Sequence[str]) -> str:
        """Check that a flag is one of ``choices``."""
        if text not in choices:
            self.add(flag, f"{text!r} is none of {', '.join(choices)}")
        return text


def names(words: Sequence[str]) -> tuple[str, ...]:
    """Split words at commas, drop blanks and repetitions, keep the order."""
    return tuple(dict.fromkeys(name.strip() for word in words for name in word.split(",") if name.strip()))
