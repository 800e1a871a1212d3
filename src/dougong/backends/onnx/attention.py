"""Attention as ONNX: ``Attention`` of opset 23, and primitives in float32 for what it has no words for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    (_, heads, queries, _), keys = graph.shape("q"), graph.shape("k")[2]
    bias = ""
    if graph.has("slopes"):
        distance = np.arange(keys) - (np.arange(queries)[:, None] + keys - queries)
        slope = graph.node("Reshape", graph.cast("slopes", "float32"), graph.constant([1, heads, 1, 1]))
        bias = graph.node("Mul", slope, graph.constant(distance, "float32"))
    masks: list[str] = []
    if graph.has("mask"):
        if graph.call.inputs["mask"].dtype == np.bool_:
            masks.append("mask")
        else:
            added = graph.cast("mask", "float32")
            bias = graph.node("Add", bias, added) if bias else added
    seen = _visible(graph, queries, keys)
    if seen is not None:
        masks.append(graph.constant(seen, "bool"))
    return composed(graph, "q", "k", "v", shape=graph.shape("q"), kv=graph.shape("k"), masks=masks, bias=bias)


def composed(
    graph: Graph,
    q: str,
    k: str,
    v: str,
    *,
    shape: tuple[int, ...],
    kv: tuple[int, ...],
    scale: float | None = None,
    masks: Sequence[str] = (),
    bias: str = "",
) -> str:
    """Attention in float32 of values ``q [b, h, t, d]`` and ``k``, ``v`` ``[b, g, s, …]`` of these shapes."""
    (batch, heads, queries, _), groups, keys = shape, kv[1], kv[2]
    scale = _scale(graph, shape[-1]) if scale is None else scale
    q, k, v = (graph.cast(name, "float32") for name in (q, k, v))
    if groups != heads:
        k, v = (_repeated(graph, each, kv, heads // groups) for each in (k, v))
    score = graph.node("MatMul", q, graph.node("Transpose", k, perm=[0, 1, 3, 2]))
    score = graph.node("Mul", score, graph.constant(scale, "float32"))
    if graph.get("softcap"):
        cap = graph.constant(float(graph.get("softcap")), "float32")
        score = graph.node("Mul", graph.node("Tanh", graph.node("Div", score, cap)), cap)
    if bias:
        score = graph.node("Add", score, bias)
    lowest = graph.constant(-_INFINITY, "float32")
    for mask in masks:
        score = graph.node("Where", mask, score, lowest)
    if graph.has("sinks"):
        sink = graph.node("Reshape", graph.cast("sinks", "float32"), graph.constant([1, heads, 1, 1]))
        sink = graph.node("Expand", sink, graph.constant([batch, heads, queries, 1]))
        share = graph.node("Softmax", graph.node("Concat", score, sink, axis=-1), axis=-1)
        share = graph.nodes_of("Split", 2, share, graph.constant([keys, 1]), axis=-1)[0]
    else:
        share = graph.node("Softmax", score, axis=-1)
    return graph.cast(graph.node("MatMul", share, v), graph.dtype)


def attended(
    graph: Graph,
    q: str,
    k: str,
    v: str,
    mask: str,
    *,
    shape: tuple[int, ...],
    kv: tuple[int, ...],
    scale: float | None = None,
) -> str:
    """``Attention`` of values that the graph made, under a mask of bool; primitives where it is not there."""
    scale = _scale(graph, shape[-1]) if scale is None else scale
    if graph.opset < 23:
        return composed(graph, q, k, v, shape=shape, kv=kv, scale=scale, masks=[mask])
    softcap = float(graph.get("softcap") or 0.0)
    given = {"scale": scale, **({"softcap": softcap} if softcap else {})}
    return graph.node("Attention", q, k, v, mask, **given)


def _scale(graph: Graph, width: int) -> float:
    given = graph.get("scale")
    return float(width**-0.5 if given is None else given)


def _repeated(graph: Graph, value: str, shape: tuple[int, ...], times: int) -> str:
    batch, groups, keys = shape[:3]
    wide = graph.node("Unsqueeze", value, graph.constant([2]))
    wide = graph.node("Expand", wide, graph.constant([batch, groups, times, keys, 1]))
    return graph.node("Reshape", wide, graph.constant([batch, groups * times, keys, -1]))


GRAPHS: Mapping[str, Build] = {"attention": attention}
