"""Typed records of chips, systems, models and prices; every number is a figure that knows its source.

May import :mod:`dougong.facts`, :mod:`dougong.units` and :mod:`dougong.errors`. Start at :class:`Catalog`.
"""

from dougong.catalog.store import Catalog

__all__ = ["Catalog"]
