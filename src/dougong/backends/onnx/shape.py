"""Views and copies as ONNX."""

from __future__ import annotations

from collections.abc import Mapping

from dougong.backends.onnx.graph import Build, Graph


def copy(graph: Graph) -> Mapping[str, str]:
    """``Identity``."""
    return {"y": graph.node("Identity", "x")}


def transpose(graph: Graph) -> Mapping[str, str]:
    """``Transpose``."""
    return {"y": graph.node("Transpose", "x", perm=[int(axis) for axis in graph.get("axes")])}


def slice_(graph: Graph) -> Mapping[str, str]:
    """``Slice``."""
    names = ("start", "stop", "axis", "step")
    return {"y": graph.node("Slice", "x", *(graph.constant([int(graph.get(name))]) for name in names))}


def reshape(graph: Graph) -> Mapping[str, str]:
    """``Reshape``; an extent of 0 is one."""
    return {"y": graph.node("Reshape", "x", graph.constant(list(graph.get("shape"))), allowzero=1)}


def concat(graph: Graph) -> Mapping[str, str]:
    """``Concat``."""
    return {"y": graph.node("Concat", "x", "other", axis=int(graph.get("axis")))}


def where(graph: Graph) -> Mapping[str, str]:
    """``Where``: ``x`` where the mask is set."""
    return {"y": graph.node("Where", "mask", "x", "other")}


GRAPHS: Mapping[str, Build] = {
    "copy": copy,
    "transpose": transpose,
    "slice": slice_,
    "reshape": reshape,
    "concat": concat,
    "where": where,
}
