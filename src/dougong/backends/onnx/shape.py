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


def repeat(graph: Graph) -> Mapping[str, str]:
    """``Expand`` along an axis of its own, then ``Reshape``."""
    shape, axis, count = list(graph.shape("x")), int(graph.get("axis")), int(graph.get("count"))
    wide = graph.node("Unsqueeze", "x", graph.constant([axis + 1]))
    wide = graph.node("Expand", wide, graph.constant([*shape[: axis + 1], count, *shape[axis + 1 :]]))
    shape[axis] *= count
    return {"y": graph.node("Reshape", wide, graph.constant(shape), allowzero=1)}


def pad(graph: Graph) -> Mapping[str, str]:
    """``Pad`` with zeros."""
    shape, axis = graph.shape("x"), int(graph.get("axis"))
    ends = [0] * len(shape)
    ends[axis] = int(graph.get("extent")) - shape[axis]
    zero = graph.constant(0, graph.call.inputs["x"].dtype.name)
    return {"y": graph.node("Pad", "x", graph.constant([*([0] * len(shape)), *ends]), zero)}


def _span(graph: Graph, start: int, stop: int, step: int) -> str:
    axis = int(graph.get("axis"))
    return graph.node("Slice", "x", *(graph.constant([at]) for at in (start, stop, axis, step)))


def flip(graph: Graph) -> Mapping[str, str]:
    """``Slice`` backwards."""
    return {"y": _span(graph, -1, -(1 << 62), -1)}


def roll(graph: Graph) -> Mapping[str, str]:
    """Two slices, the last of them first."""
    extent = graph.shape("x")[int(graph.get("axis"))]
    seam = -int(graph.get("shift")) % extent if extent else 0
    if not seam:
        return {"y": graph.node("Identity", "x")}
    parts = (_span(graph, seam, extent, 1), _span(graph, 0, seam, 1))
    return {"y": graph.node("Concat", *parts, axis=int(graph.get("axis")))}


GRAPHS: Mapping[str, Build] = {
    "copy": copy,
    "transpose": transpose,
    "slice": slice_,
    "reshape": reshape,
    "concat": concat,
    "where": where,
    "repeat": repeat,
    "pad": pad,
    "flip": flip,
    "roll": roll,
}
