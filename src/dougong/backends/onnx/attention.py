"""Attention as ONNX: ``Attention`` of opset 23, and primitives in float32 for what it has no words for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends.onnx.graph import Build, Graph

_INFINITY = float("inf")


def _visible(graph: Graph, queries: int, keys: int) -> np.ndarray | None:
    """Which keys a query sees by position: causal, the last query with the last key, and within a window."""
    distance = np.arange(queries)[:, None] + keys - queries - np.arange(keys)
    window, seen = int(graph.get("window") or 0), None
    if graph.get("causal"):
        seen = distance >= 0
    if window:
        near = distance < window
        seen = near if seen is None else seen & near
    return seen


def attention(graph: Graph) -> Mapping[str, str]:
    """``Attention`` where it says all that is asked."""
    q, k = graph.shape("q"), graph.shape("k")
    queries, keys = q[2], k[2]
    if graph.opset < 23 or graph.has("sinks") or graph.has("slopes"):
        return {"y": _composed(graph)}
    seen, mask = _visible(graph, queries, keys), "mask" if graph.has("mask") else ""
    square = bool(graph.get("causal")) and queries == keys and not graph.get("window") and not mask
    if seen is not None and not square:
        mask = _joined(graph, mask, seen)
    given: dict[str, float | int] = {"is_causal": int(square)}
    if graph.get("scale") is not None:
        given["scale"] = float(graph.get("scale"))
    if graph.get("softcap"):
        given["softcap"] = float(graph.get("softcap"))
    return {"y": graph.node("Attention", "q", "k", "v", *([mask] if mask else []), **given)}


def _joined(graph: Graph, mask: str, seen: np.ndarray) -> str:
    visible = graph.constant(seen[None, None], "bool")
    if not mask:
        return visible
    if graph.call.inputs["mask"].dtype == np.bool_:
        return graph.node("And", mask, visible)
    return graph.node(
        "Where", visible, mask, graph.constant(-_INFINITY, graph.call.inputs["mask"].dtype.name)
    )


def _composed(graph: Graph) -> str:
    """Products, softmax and masks one by one, in float32."""
    (batch, heads, queries, width), groups = graph.shape("q"), graph.shape("k")[1]
    keys, scale = graph.shape("k")[2], graph.get("scale")
    q, k, v = (graph.cast(name, "float32") for name in ("q", "k", "v"))
    if groups != heads:
        k, v = (_repeated(graph, each, name, heads // groups) for each, name in ((k, "k"), (v, "v")))
    score = graph.node("MatMul", q, graph.node("Transpose", k, perm=[0, 1, 3, 2]))
    score = graph.node("Mul", score, graph.constant(width**-0.5 if scale is None else scale, "float32"))
    if graph.get("softcap"):
        cap = graph.constant(float(graph.get("softcap")), "float32")
        score = graph.node("Mul", graph.node("Tanh", graph.node("Div", score, cap)), cap)
    if graph.has("slopes"):
        distance = np.arange(keys) - (np.arange(queries)[:, None] + keys - queries)
        slope = graph.node("Reshape", graph.cast("slopes", "float32"), graph.constant([1, heads, 1, 1]))
        score = graph.node("Add", score, graph.node("Mul", slope, graph.constant(distance, "float32")))
    lowest = graph.constant(-_INFINITY, "float32")
    if graph.has("mask"):
        if graph.call.inputs["mask"].dtype == np.bool_:
            score = graph.node("Where", "mask", score, lowest)
        else:
            score = graph.node("Add", score, graph.cast("mask", "float32"))
    seen = _visible(graph, queries, keys)
    if seen is not None:
        score = graph.node("Where", graph.constant(seen, "bool"), score, lowest)
    if graph.has("sinks"):
        sink = graph.node("Reshape", graph.cast("sinks", "float32"), graph.constant([1, heads, 1, 1]))
        sink = graph.node("Expand", sink, graph.constant([batch, heads, queries, 1]))
        share = graph.node("Softmax", graph.node("Concat", score, sink, axis=-1), axis=-1)
        share = graph.nodes_of("Split", 2, share, graph.constant([keys, 1]), axis=-1)[0]
    else:
        share = graph.node("Softmax", score, axis=-1)
    return graph.cast(graph.node("MatMul", share, v), graph.dtype)


def _repeated(graph: Graph, value: str, name: str, times: int) -> str:
    batch, groups, keys, width = graph.shape(name)
    wide = graph.node("Unsqueeze", value, graph.constant([2]))
    wide = graph.node("Expand", wide, graph.constant([batch, groups, times, keys, width]))
    return graph.node("Reshape", wide, graph.constant([batch, groups * times, keys, width]))


GRAPHS: Mapping[str, Build] = {"attention": attention}
