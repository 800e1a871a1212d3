"""Graphs: what they compute is what their operator computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from dougong.backends.port import Array, Call
from dougong.ops.definitions.graph import CAPTURED, PREFIX

Formula = Callable[[Call], dict[str, Array]]

_OF_GRAPH = ("capture_rows", "compiler")


def inner(call: Call) -> Call:
    """Return the call of the operator that a graph was captured of."""
    attributes = {name: value for name, value in call.attributes.items() if name not in _OF_GRAPH}
    return replace(call, op=call.op.removeprefix(PREFIX), attributes=attributes)


def graphs(formulas: Mapping[str, Formula]) -> dict[str, Formula]:
    """Return the formulas of all graphs, from those of the operators."""
    return {f"{PREFIX}{name}": _graph(formulas[name]) for name in CAPTURED if name in formulas}


def _graph(formula: Formula) -> Formula:
    return lambda call: formula(inner(call))
