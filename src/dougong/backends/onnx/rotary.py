"""Rotary position embedding as ONNX: angles in float32 from a constant table of frequencies, as models export it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends.onnx.graph import Build, Graph
from dougong.backends.port import Unsupported
from dougong.backends.reference.rope import attention_factor, dim_of, frequencies, section_of


def _tables(graph: Graph, positions: str) -> tuple[str, str]:
    """Cos and sin ``[t, dim/2]`` of an input of positions ``[t]``."""
    at = graph.node("Unsqueeze", graph.cast(positions, "float32"), graph.constant([-1]))
    angle = graph.node("Mul", at, graph.constant(frequencies(graph.call)[None], "float32"))
    cos, sin = graph.node("Cos", angle), graph.node("Sin", angle)
    factor = attention_factor(graph.call)
    if factor == 1.0:
        return cos, sin
    times = graph.constant(factor, "float32")
    return graph.node("Mul", cos, times), graph.node("Mul", sin, times)


def _turned(graph: Graph, name: str, cos: str, sin: str, dim: int) -> str:
    """Turn ``[t, h, d]`` by tables ``[t, dim/2]`` of float32."""
    t, h, d = graph.shape(name)
    cos, sin = (graph.node("Unsqueeze", each, graph.constant([1])) for each in (cos, sin))
    part, rest = name, ""
    if dim < d:
        sizes = graph.constant([dim, d - dim])
        part, rest = graph.nodes_of("Split", 2, name, sizes, axis=-1)
    part = graph.cast(part, "float32")
    interleaved = graph.get("style") == "interleaved"
    if interleaved:
        part = graph.node("Reshape", part, graph.constant([t, h, dim // 2, 2]))
        pair = graph.nodes_of("Split", 2, part, axis=-1, num_outputs=2)
        first, second = (graph.node("Squeeze", each, graph.constant([-1])) for each in pair)
    else:
        first, second = graph.nodes_of("Split", 2, part, axis=-1, num_outputs=2)
    left = graph.node("Sub", graph.node("Mul", first, cos), graph.node("Mul", second, sin))
    right = graph.node("Add", graph.node("Mul", second, cos), graph.node("Mul", first, sin))
    if interleaved:
        left, right = (graph.node("Unsqueeze", each, graph.constant([-1])) for each in (left, right))
    both = graph.node("Concat", left, right, axis=-1)
    if interleaved:
        both = graph.node("Reshape", both, graph.constant([t, h, dim]))
    both = graph.cast(both, graph.dtype)
    return graph.node("Concat", both, rest, axis=-1) if rest else both


def rope_angles(graph: Graph) -> Mapping[str, str]:
    """``Cos`` and ``Sin`` of positions times frequencies."""
    cos, sin = _tables(graph, "positions")
    return {"cos": cos, "sin": sin}


def rope(graph: Graph) -> Mapping[str, str]:
    """Tables, then the rotation in float32."""
    if not graph.shape("positions")[0]:
        raise Unsupported("no tokens")
    return {"y": _turned(graph, "x", *_tables(graph, "positions"), dim_of(graph.call))}


def rope_cached(graph: Graph) -> Mapping[str, str]:
    """``Gather`` of rows of the given tables."""
    cos, sin = (
        graph.cast(graph.node("Gather", name, "positions", axis=0), "float32") for name in ("cos", "sin")
    )
    return {"y": _turned(graph, "x", cos, sin, 2 * graph.shape("cos")[-1])}


def mrope(graph: Graph) -> Mapping[str, str]:
    """Three positions per token: each pair's is picked by a constant mask."""
    which = section_of(graph.call)
    picked = graph.constant(np.eye(3)[:, which][:, None, :], "float32")
    at = graph.node("Unsqueeze", graph.cast("positions", "float32"), graph.constant([-1]))
    chosen = graph.node("ReduceSum", graph.node("Mul", at, picked), graph.constant([0]), keepdims=0)
    angle = graph.node("Mul", chosen, graph.constant(frequencies(graph.call)[None], "float32"))
    return {"y": _turned(graph, "x", graph.node("Cos", angle), graph.node("Sin", angle), dim_of(graph.call))}


def rope_scores(graph: Graph) -> Mapping[str, str]:
    """Both turned, then ``MatMul`` head by head."""
    dim = dim_of(graph.call)
    q, k = (_turned(graph, name, *_tables(graph, f"{name}_positions"), dim) for name in ("q", "k"))
    left, right = graph.node("Transpose", q, perm=[1, 0, 2]), graph.node("Transpose", k, perm=[1, 2, 0])
    return {"scores": graph.node("MatMul", left, right)}


GRAPHS: Mapping[str, Build] = {
    "rope_angles": rope_angles,
    "rope": rope,
    "rope_cached": rope_cached,
    "mrope": mrope,
    "rope_scores": rope_scores,
}
