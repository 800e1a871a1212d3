"""A figure that knows its source. Imports nothing above :mod:`dougong.units`; start at :class:`Figure`."""

from dougong.facts.figure import GRADES, Figure, Source, Unknown, known, worst_grade

__all__ = ["GRADES", "Figure", "Source", "Unknown", "known", "worst_grade"]
