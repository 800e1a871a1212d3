"""Graphs: as far off as their operator may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from dougong.backends import Array, Call
from dougong.backends.reference.graph import inner
from dougong.ops.definitions.graph import CAPTURED, PREFIX
from dougong.verify.bound import Bound, Rule

Bounder = Callable[[Call, Mapping[str, Array]], Mapping[str, Bound | Rule]]


def graphs(bounds: Mapping[str, Bounder]) -> dict[str, Bounder]:
    """Return the bounds of all graphs, from those of the operators."""
    return {f"{PREFIX}{name}": _graph(bounds[name]) for name in CAPTURED if name in bounds}


def _graph(bounder: Bounder) -> Bounder:
    return lambda call, exact: bounder(inner(call), exact)
