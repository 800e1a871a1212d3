"""Reductions and scans as ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from dougong.backends.onnx.graph import Build, Graph


def _reduce(op: str, graph: Graph) -> Mapping[str, str]:
    return {"y": graph.node(op, "x", graph.constant([int(graph.get("axis"))]), keepdims=0)}


def cumsum(graph: Graph) -> Mapping[str, str]:
    """``CumSum``."""
    return {"y": graph.node("CumSum", "x", graph.constant(int(graph.get("axis"))))}


def sum_integers(graph: Graph) -> Mapping[str, str]:
    """``ReduceSum`` in int64."""
    axis = graph.constant([int(graph.get("axis"))])
    return {"y": graph.node("ReduceSum", graph.cast("x", "int64"), axis, keepdims=0)}


def cumsum_integers(graph: Graph) -> Mapping[str, str]:
    """``CumSum`` in int64."""
    return {"y": graph.node("CumSum", graph.cast("x", "int64"), graph.constant(int(graph.get("axis"))))}


GRAPHS: Mapping[str, Build] = {
    "sum": partial(_reduce, "ReduceSum"),
    "mean": partial(_reduce, "ReduceMean"),
    "max": partial(_reduce, "ReduceMax"),
    "min": partial(_reduce, "ReduceMin"),
    "vector_norm": partial(_reduce, "ReduceL2"),
    "cumsum": cumsum,
    "sum_integers": sum_integers,
    "cumsum_integers": cumsum_integers,
}
