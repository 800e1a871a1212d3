"""Routing to experts, adapters and the merge of partial softmaxes as ONNX."""

from __future__ import annotations

from collections.abc import Mapping

from dougong.backends.onnx.graph import Build, Graph

_LAST = [-1]


def _top(graph: Graph, value: str, count: int) -> tuple[str, str]:
    values, indices = graph.nodes_of("TopK", 2, value, graph.constant([count]), axis=-1, largest=1, sorted=1)
    return values, indices


def _shares(graph: Graph, weights: str, beside: float) -> str:
    if not graph.get("renormalise"):
        return weights
    total = graph.node("ReduceSum", weights, graph.constant(_LAST), keepdims=1)
    if beside:
        total = graph.node("Add", total, graph.constant(beside, "float32"))
    return graph.node("Div", weights, total)


def route_softmax(graph: Graph) -> Mapping[str, str]:
    """``Softmax`` in float32, then ``TopK``."""
    p = graph.node("Softmax", graph.cast("logits", "float32"), axis=-1)
    weights, ids = _top(graph, p, int(graph.get("top_k")))
    return {"weights": _shares(graph, weights, 0.0), "ids": ids}


def route_sigmoid(graph: Graph) -> Mapping[str, str]:
    """Groups by the sum of their two best, experts by score and bias, weights by score alone."""
    tokens, experts = graph.shape("logits")
    groups, kept = int(graph.get("groups")), int(graph.get("top_groups"))
    scores = graph.node("Sigmoid", graph.cast("logits", "float32"))
    chosen = graph.node("Add", scores, "bias")
    if kept < groups:
        size = experts // groups
        split = graph.node("Reshape", chosen, graph.constant([tokens, groups, size]))
        best, _ = _top(graph, split, min(2, size))
        worth = graph.node("ReduceSum", best, graph.constant(_LAST), keepdims=0)
        _, held = _top(graph, worth, kept)
        nothing = graph.constant([[0.0] * groups] * tokens, "float32")
        one = graph.constant([[1.0] * kept] * tokens, "float32")
        flag = graph.node("ScatterElements", nothing, held, one, axis=-1)
        seen = graph.node("Unsqueeze", graph.cast(flag, "bool"), graph.constant(_LAST))
        split = graph.node("Where", seen, split, graph.constant(-float("inf"), "float32"))
        chosen = graph.node("Reshape", split, graph.constant([tokens, experts]))
    _, ids = _top(graph, chosen, int(graph.get("top_k")))
    weights = _shares(graph, graph.node("GatherElements", scores, ids, axis=-1), 1e-20)
    return {
        "weights": graph.node("Mul", weights, graph.constant(graph.get("scaling"), "float32")),
        "ids": ids,
    }


def lora_merge(graph: Graph) -> Mapping[str, str]:
    """One more product, added."""
    delta = graph.node("Mul", graph.node("MatMul", "up", "down"), graph.cast("scaling", graph.dtype))
    return {"y": graph.node("Add", "weight", delta)}


def softmax_merge(graph: Graph) -> Mapping[str, str]:
    """Rescale by the largest, add up, divide: in float32."""
    values, first = graph.cast("values", "float32"), graph.constant([0])
    top = graph.node("ReduceMax", "lse", first, keepdims=1)
    weights = graph.node("Exp", graph.node("Sub", "lse", top))
    total = graph.node("ReduceSum", weights, first, keepdims=0)
    wide = graph.node("Unsqueeze", weights, graph.constant(_LAST))
    y = graph.node("ReduceSum", graph.node("Mul", wide, values), first, keepdims=0)
    y = graph.node("Div", y, graph.node("Unsqueeze", total, graph.constant(_LAST)))
    whole = graph.node("Add", graph.node("Squeeze", top, first), graph.node("Log", total))
    return {"y": graph.cast(y, graph.dtype), "total": whole}


GRAPHS: Mapping[str, Build] = {
    "route_softmax": route_softmax,
    "route_sigmoid": route_sigmoid,
    "lora_merge": lora_merge,
    "softmax_merge": softmax_merge,
}
