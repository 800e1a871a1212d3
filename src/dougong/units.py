"""Reads and prints quantities; nothing else.

Inside Dougong every quantity is a float in base units: s, byte, FLOP, FLOP/s, byte/s, W, J, USD, token.
Text becomes a float here and nowhere else. The grammar is closed: a number, a prefix, a unit, optionally
``/s`` or ``/h``. Bits are spelled out (``Gbit/s``); ``Gb/s`` is refused, because half its readers mean bytes.
"""

from __future__ import annotations

import math
import re

from dougong.errors import UnitError

_DECIMAL = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50}
_SMALL = {"": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "n": 1e-9}

# dimension -> spellings of its base unit, its prefixes, scale of the base unit
_GRAMMAR: dict[str, tuple[tuple[tuple[str, dict[str, float], float], ...], str]] = {
    "byte": (
        (("B", {**_DECIMAL, **_BINARY}, 1.0), ("byte", {"": 1.0}, 1.0), ("bytes", {"": 1.0}, 1.0)),
        "128 GB, 64 GiB",
    ),
    "byte/s": ((("B/s", _DECIMAL, 1.0), ("bit/s", _DECIMAL, 0.125)), "3.2 TB/s, 400 Gbit/s"),
    "FLOP": ((("FLOP", _DECIMAL, 1.0),), "2 GFLOP"),
    "FLOP/s": (
        (
            ("FLOP/s", _DECIMAL, 1.0),
            ("FLOPS", _DECIMAL, 1.0),
            ("OPS", _DECIMAL, 1.0),
            ("OP/s", _DECIMAL, 1.0),
        ),
        "752 TFLOPS, 1504 TOPS",
    ),
    "s": (
        (
            ("s", _SMALL, 1.0),
            ("min", {"": 1.0}, 60.0),
            ("h", {"": 1.0}, 3600.0),
            ("year", {"": 1.0}, 31_557_600.0),
            ("years", {"": 1.0}, 31_557_600.0),
        ),
        "50 ms, 2 s, 1.9 us",
    ),
    "W": ((("W", {**_DECIMAL, "m": 1e-3}, 1.0),), "700 W, 559 kW"),
    "J": ((("J", {**_DECIMAL, "m": 1e-3}, 1.0), ("Wh", _DECIMAL, 3600.0)), "1 kWh"),
    "Hz": ((("Hz", _DECIMAL, 1.0),), "1.8 GHz"),
    "USD": ((("USD", {**_DECIMAL}, 1.0), ("$", {"": 1.0}, 1.0)), "25000 USD"),
    "USD/s": (
        (("USD/h", {"": 1.0}, 1 / 3600), ("$/h", {"": 1.0}, 1 / 3600), ("USD/s", {"": 1.0}, 1.0)),
        "1.41 USD/h",
    ),
    "USD/J": ((("USD/kWh", {"": 1.0}, 1 / 3.6e6), ("$/kWh", {"": 1.0}, 1 / 3.6e6)), "0.08 USD/kWh"),
    "g/J": (
        (
            ("g/kWh", {"": 1.0}, 1 / 3.6e6),
            ("gCO2e/kWh", {"": 1.0}, 1 / 3.6e6),
            ("gCO2/kWh", {"": 1.0}, 1 / 3.6e6),
        ),
        "450 gCO2e/kWh",
    ),
    "token": ((("", _DECIMAL, 1.0), ("token", _DECIMAL, 1.0), ("tokens", _DECIMAL, 1.0)), "4096"),
    "request/s": (
        (
            ("request/s", {"": 1.0}, 1.0),
            ("requests/s", {"": 1.0}, 1.0),
            ("/s", {"": 1.0}, 1.0),
            ("", {"": 1.0}, 1.0),
        ),
        "12 request/s",
    ),
    "parameter": ((("", {**_DECIMAL, "B": 1e9}, 1.0), ("parameters", {**_DECIMAL, "B": 1e9}, 1.0)), "671B"),
    "1": ((("", {"": 1.0}, 1.0), ("%", {"": 1.0}, 0.01)), "0.7, 70 %"),
}
DIMENSIONS = tuple(_GRAMMAR)
_NUMBER = re.compile(r"^\s*([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*(.*?)\s*$")


def _spellings() -> dict[str, dict[str, float]]:
    table: dict[str, dict[str, float]] = {}
    for dimension, (units, _) in _GRAMMAR.items():
        table[dimension] = {
            prefix + unit: scale * base
            for unit, prefixes, base in units
            for prefix, scale in prefixes.items()
        }
    return table


_TABLE = _spellings()


def read(text: str, dimension: str, *, default_unit: str | None = None) -> float:
    """Read ``text`` as a quantity of ``dimension`` and return it in base units.

    Parameters
    ----------
    text
        For example ``"3.2 TB/s"``.
    dimension
        One of :data:`DIMENSIONS`.
    default_unit
        The unit of a bare number; without it a bare number is refused where the dimension has a unit.

    Raises
    ------
    UnitError
        If the text is no quantity of that dimension, or not finite.

    Examples
    --------
    >>> read("400 Gbit/s", "byte/s")
    50000000000.0
    """
    legal = f"legal: {_GRAMMAR[dimension][1]}"
    match = _NUMBER.match(text)
    if match is None or not match.group(1) or match.group(1) in "+-":
        raise UnitError(f"cannot read {text!r} as {dimension}", hint=legal)
    number, unit = float(match.group(1).replace(",", "")), match.group(2)
    table = _TABLE[dimension]
    if unit == "" and default_unit is not None:
        unit = default_unit
    if unit not in table:
        raise UnitError(f"cannot read {text!r} as {dimension}: {_complaint(unit, dimension)}", hint=legal)
    value = number * table[unit]
    if not math.isfinite(value):
        raise UnitError(f"{text!r} is not a finite {dimension}", hint=legal)
    return value


def _complaint(unit: str, dimension: str) -> str:
    if dimension == "byte/s" and re.fullmatch(r"[kKMGTP]?b(/s|ps)", unit):
        return f"{unit!r} may mean bits or bytes; write Gbit/s or GB/s"
    if dimension == "byte/s" and re.fullmatch(r"[KMGTP]iB/s", unit):
        return "a rate takes no binary prefix"
    if unit == "":
        return "the unit is missing"
    return f"the unit {unit!r} is not one of its units"


_SHOW = {
    "byte": ("B", 1e3),
    "byte/s": ("B/s", 1e3),
    "FLOP": ("FLOP", 1e3),
    "FLOP/s": ("FLOP/s", 1e3),
    "W": ("W", 1e3),
    "J": ("J", 1e3),
    "Hz": ("Hz", 1e3),
}
_STEPS = [(1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, "")]
_TIME_STEPS = [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns")]


def show(value: float, dimension: str, digits: int = 3) -> str:
    """Print a base-unit value with a prefix, for people; JSON never uses it.

    Examples
    --------
    >>> show(3.2e12, "byte/s")
    '3.2 TB/s'
    >>> show(0.0494, "s")
    '49.4 ms'
    """
    if not math.isfinite(value):
        return "∞" if value > 0 else str(value)
    if dimension == "s":
        for scale, unit in _TIME_STEPS:
            if abs(value) >= scale or unit == "ns":
                return f"{_digits(value / scale, digits)} {unit}"
    if dimension == "USD/s":
        return f"{_digits(value * 3600, digits)} USD/h"
    if dimension == "USD/J":
        return f"{_digits(value * 3.6e6, digits)} USD/kWh"
    if dimension == "g/J":
        return f"{_digits(value * 3.6e6, digits)} gCO2e/kWh"
    if dimension in _SHOW:
        unit, _ = _SHOW[dimension]
        for scale, prefix in _STEPS:
            if abs(value) >= scale or scale == 1.0:
                return f"{_digits(value / scale, digits)} {prefix}{unit}"
    return (
        _digits(value, digits)
        if dimension in ("1", "token", "parameter")
        else f"{_digits(value, digits)} {dimension}"
    )


def show_apart(value: float, other: float, dimension: str) -> tuple[str, str]:
    """Print two values that differ with as many digits as it takes to see it, three at least and six at most.

    Examples
    --------
    >>> show_apart(0.05004, 0.05, "s")
    ('50.04 ms', '50 ms')
    """
    said = ("", "")
    for digits in range(3, 7):
        said = (show(value, dimension, digits), show(other, dimension, digits))
        if said[0] != said[1]:
            break
    return said


def _digits(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    text = f"{value:.{digits}g}"
    return text if "e" not in text else f"{value:.2e}"
