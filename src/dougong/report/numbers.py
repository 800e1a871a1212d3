"""Numbers for people: three significant digits, a prefix or a unit, and the range beside the value."""

from __future__ import annotations

import math

from dougong import units
from dougong.plan.types import Interval

UNKNOWN = "–"
"""What stands where there is no number."""

_STEPS = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def compact(value: float, digits: int = 3) -> str:
    """Print a plain count or rate with a decimal prefix.

    Examples
    --------
    >>> compact(1943.6), compact(0.0213), compact(999.7)
    ('1.94k', '0.0213', '1k')
    """
    if not math.isfinite(value):
        return units.show(value, "1")
    rounded = _round(value, digits)
    scale, prefix = next((step for step in _STEPS if abs(rounded) >= step[0]), (1.0, ""))
    return f"{_round(rounded / scale, digits):g}{prefix}"


def _round(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else value


def quantity(value: float | None, dimension: str, digits: int = 3) -> str:
    """Print a base-unit value with its unit; a dash where it is unknown."""
    if value is None:
        return UNKNOWN
    if dimension in ("token", "1", "parameter"):
        return compact(value, digits)
    if value == 0:
        return "0"
    return units.show(_round(value, digits), dimension, digits)


def interval(prediction: Interval, dimension: str = "1") -> str:
    """Print a prediction and the range it is believed in: the range in two digits, for it is no better known.

    Examples
    --------
    >>> interval(Interval(1943.0, 1600.0, 2310.0))
    '1.94k (1.6k–2.3k)'
    >>> interval(Interval(0.0473, 0.0401, 0.0551), "s")
    '47.3 ms (40–55 ms)'
    """
    value = quantity(prediction.value, dimension)
    return f"{value} ({span(prediction, dimension)})"


def span(prediction: Interval, dimension: str = "1") -> str:
    """Print the range alone, its unit once where both ends share it."""
    low, high = (quantity(end, dimension, 2) for end in (prediction.low, prediction.high))
    number, gap, unit = low.rpartition(" ")
    if gap and high.endswith(f" {unit}"):
        low = number
    return f"{low}–{high}"


def percent(fraction: float) -> str:
    """Print a share.

    Examples
    --------
    >>> percent(0.234), percent(0.00031), percent(1.0)
    ('23 %', '<0.1 %', '100 %')
    """
    if not math.isfinite(fraction):
        return UNKNOWN
    if fraction == 0:
        return "0 %"
    if 0 < abs(fraction) < 0.001:
        return "<0.1 %"
    return f"{fraction * 100:.{0 if abs(fraction) >= 0.0995 else 1}f} %"


def exact(count: float) -> str:
    """Print a count that is known exactly, thousands set apart.

    Examples
    --------
    >>> exact(4096), exact(2.5)
    ('4,096', '2.5')
    """
    return f"{count:,.0f}" if float(count).is_integer() else compact(count)


def money(usd: float | None) -> str:
    """Print an amount in US dollars [USD]."""
    return UNKNOWN if usd is None else f"{compact(usd)} USD"


def plural(count: float, noun: str) -> str:
    """Print a count with its noun.

    Examples
    --------
    >>> plural(1, "chip"), plural(384, "chip")
    ('1 chip', '384 chips')
    """
    return f"{exact(count)} {noun}{'' if count == 1 else 's'}"


def parameters(count: float) -> str:
    """Print a parameter count as model cards do.

    Examples
    --------
    >>> parameters(671_026_419_200), parameters(494_032_768)
    ('671B', '494M')
    """
    return compact(count).replace("G", "B")
