"""Expert layers, their permutation and combination, and mixed adapters as ONNX."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends.onnx.graph import Build, Graph
from dougong.backends.port import Unsupported

_LAST = [-1]


def _feed_forward(graph: Graph, x: str, gate_up: str, down: str) -> str:
    """``down swiglu(gate_up x)`` of weights with any axes before their two, the gate in float32."""
    perm = [0, 2, 1] if len(graph.shape(gate_up)) == 3 else [1, 0]
    both = graph.node("MatMul", x, graph.node("Transpose", gate_up, perm=perm))
    gate, up = graph.nodes_of("Split", 2, graph.cast(both, "float32"), axis=-1, num_outputs=2)
    gate = graph.node("Mul", gate, graph.node("Sigmoid", gate))
    hidden = graph.cast(graph.node("Mul", gate, up), graph.dtype)
    return graph.node("MatMul", hidden, graph.node("Transpose", down, perm=perm))


def moe(graph: Graph) -> Mapping[str, str]:
    """Every expert over every token, as exporters without a grouped product write it; what is not routed is dropped."""
    if int(graph.get("ranks")) > 1:
        raise Unsupported("moe over several ranks has no ONNX graph")
    zero, count = graph.constant(0.0, "float32"), graph.shape("gate_up")[0]
    expert = graph.constant(np.arange(count)[:, None, None])
    chosen = graph.node(
        "Equal", graph.node("Unsqueeze", graph.cast("ids", "int64"), graph.constant([0])), expert
    )
    weight = graph.node("Where", chosen, graph.node("Unsqueeze", "weights", graph.constant([0])), zero)
    weight = graph.node("ReduceSum", weight, graph.constant(_LAST), keepdims=1)
    visits = graph.node("ReduceSum", graph.cast(chosen, "float32"), graph.constant(_LAST), keepdims=1)
    each = graph.cast(_feed_forward(graph, "x", "gate_up", "down"), "float32")
    terms = graph.node("Where", graph.node("Greater", visits, zero), graph.node("Mul", each, weight), zero)
    y = graph.cast(graph.node("ReduceSum", terms, graph.constant([0]), keepdims=0), graph.dtype)
    if graph.has("shared_gate_up"):
        y = graph.node("Add", y, _feed_forward(graph, "x", "shared_gate_up", "shared_down"))
    return {"y": y}


def moe_permute(graph: Graph) -> Mapping[str, str]:
    """``TopK`` from the smallest up: of equal ones it puts the first first."""
    (tokens, width), experts = graph.shape("ids"), int(graph.get("experts"))
    ids = graph.node("Reshape", graph.cast("ids", "int64"), graph.constant([tokens * width]))
    size = graph.constant([tokens * width])
    source = graph.nodes_of("TopK", 2, ids, size, axis=-1, largest=0, sorted=1)[1]
    rows = graph.node("Gather", "x", graph.node("Div", source, graph.constant(width)), axis=0)
    same = graph.node("Equal", ids, graph.constant(np.arange(experts)[:, None]))
    counts = graph.node("ReduceSum", graph.cast(same, "int64"), graph.constant(_LAST), keepdims=0)
    return {"rows": rows, "source": source, "counts": counts}


def moe_combine(graph: Graph) -> Mapping[str, str]:
    """``ScatterND`` back to their pairs, weighted and added in float32."""
    (tokens, width), (pairs, extent) = graph.shape("weights"), graph.shape("rows")
    place = graph.node("Unsqueeze", graph.cast("source", "int64"), graph.constant(_LAST))
    empty = graph.constant(np.zeros((pairs, extent)), "float32")
    rows = graph.node("ScatterND", empty, place, graph.cast("rows", "float32"))
    rows = graph.node("Reshape", rows, graph.constant([tokens, width, extent]))
    terms = graph.node("Mul", rows, graph.node("Unsqueeze", "weights", graph.constant(_LAST)))
    return {"y": graph.cast(graph.node("ReduceSum", terms, graph.constant([1]), keepdims=0), graph.dtype)}


def grouped_linear(graph: Graph) -> Mapping[str, str]:
    """Each row's weight by ``Gather``, then one product per row."""
    rows, last = graph.shape("x")[0], graph.constant(_LAST)
    ends = graph.node("CumSum", graph.cast("counts", "int64"), graph.constant(0))
    past = graph.node("LessOrEqual", ends, graph.constant(np.arange(rows)[:, None]))
    expert = graph.node("ReduceSum", graph.cast(past, "int64"), last, keepdims=0)
    weight = graph.node("Gather", "weight", expert, axis=0)
    y = graph.node("MatMul", weight, graph.node("Unsqueeze", "x", last))
    return {"y": graph.node("Squeeze", y, last)}


def lora_linear(graph: Graph) -> Mapping[str, str]:
    """The base product; each row's adapter by ``Gather``, and nothing where it is -1."""
    last, zero = graph.constant(_LAST), graph.constant(0, "int64")
    base = graph.node("MatMul", "x", graph.node("Transpose", "weight", perm=[1, 0]))
    adapter = graph.cast("adapter", "int64")
    held = graph.node("GreaterOrEqual", adapter, zero)
    place = graph.node("Where", held, adapter, zero)
    down, up, scaling = (graph.node("Gather", name, place, axis=0) for name in ("down", "up", "scaling"))
    delta = graph.node("MatMul", up, graph.node("MatMul", down, graph.node("Unsqueeze", "x", last)))
    scaling = graph.node("Unsqueeze", graph.cast(scaling, graph.dtype), last)
    delta = graph.node("Mul", graph.node("Squeeze", delta, last), scaling)
    nothing = graph.constant(0.0, graph.dtype)
    delta = graph.node("Where", graph.node("Unsqueeze", held, last), delta, nothing)
    return {"y": graph.node("Add", base, delta)}


GRAPHS: Mapping[str, Build] = {
    "moe": moe,
    "moe_permute": moe_permute,
    "moe_combine": moe_combine,
    "grouped_linear": grouped_linear,
    "lora_linear": lora_linear,
}
