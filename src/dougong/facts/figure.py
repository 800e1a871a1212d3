"""Figures, their sources and grades."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

from dougong.errors import UnknownFigure

GRADES = (
    "measured",
    "measured-by-third-party",
    "paper",
    "datasheet",
    "measured-by-vendor",
    "vendor-talk",
    "press",
    "derived",
    "estimate",
)
"""Grades of evidence, best first. ``derived`` is computed by us from other figures, ``estimate`` is nobody's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A document that prints figures."""

    id: str
    title: str
    publisher: str = ""
    date: str = ""
    kind: str = ""
    address: str = ""
    note: str = ""


class Figure(float):
    """A float in base units that knows where it was printed.

    Arithmetic on a figure yields a plain float: provenance ends exactly where computing starts, and the
    plan keeps the list of the figures it read.
    """

    __slots__ = (
        "at",
        "dimension",
        "direction",
        "grade",
        "key",
        "per",
        "printed",
        "read_as",
        "record",
        "rivals",
        "source",
        "why",
    )

    record: str
    key: str
    printed: str
    read_as: str
    why: str
    source: str
    at: str
    grade: str
    per: str
    direction: str
    dimension: str
    rivals: tuple[Figure, ...]

    def __new__(
        cls,
        value: float,
        *,
        printed: str,
        source: str,
        grade: str,
        at: str = "",
        read_as: str = "",
        why: str = "",
        per: str = "",
        direction: str = "",
        dimension: str = "1",
        record: str = "",
        key: str = "",
        rivals: tuple[Figure, ...] = (),
    ) -> Figure:
        """Build a figure; a figure without a source or with an unknown grade cannot exist."""
        if not source:
            raise ValueError(f"{record} {key}: a figure needs a source")
        if grade not in GRADES:
            raise ValueError(f"{record} {key}: {grade!r} is no grade")
        self = super().__new__(cls, value)
        self.printed, self.source, self.grade, self.at = printed, source, grade, at
        self.read_as, self.why, self.per, self.direction = read_as, why, per, direction
        self.dimension, self.record, self.key, self.rivals = dimension, record, key, rivals
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[float], dict[str, object]]:
        return (float(self),), {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Unknown:
    """A hole that is written down. Using it as a number raises :class:`dougong.errors.UnknownFigure`."""

    reason: str
    record: str = ""
    key: str = ""

    def __float__(self) -> float:
        self.refuse()

    def refuse(self) -> NoReturn:
        """Raise, because a formula needs this figure."""
        raise UnknownFigure(self.record, self.key, self.reason)


def known(value: Figure | Unknown | None) -> Figure | None:
    """Return the figure, or None where it is unknown or absent."""
    return value if isinstance(value, Figure) else None


def worst_grade(figures: Iterable[Figure]) -> str | None:
    """The worst grade among ``figures``; None if there are none."""
    ranks = [GRADES.index(figure.grade) for figure in figures]
    return GRADES[max(ranks)] if ranks else None
