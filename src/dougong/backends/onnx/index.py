"""Gathers, scatters, top-k and integers as ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from dougong.backends.onnx.graph import Build, Graph


def embedding(graph: Graph) -> Mapping[str, str]:
    """``Gather`` of rows."""
    return {"y": graph.node("Gather", "weight", "ids", axis=0)}


def embedding_shard(graph: Graph) -> Mapping[str, str]:
    """``Gather`` of row 0 for what another rank holds, then zeros there."""
    weight, zero = graph.shape("weight"), graph.constant(0)
    place = graph.node("Sub", graph.cast("ids", "int64"), graph.constant(int(graph.get("first"))))
    held = graph.node(
        "And",
        graph.node("GreaterOrEqual", place, zero),
        graph.node("Less", place, graph.constant(weight[0])),
    )
    rows = graph.node("Gather", "weight", graph.node("Where", held, place, zero), axis=0)
    nothing = graph.constant(0, graph.call.inputs["weight"].dtype.name)
    return {"y": graph.node("Where", graph.node("Unsqueeze", held, graph.constant([-1])), rows, nothing)}


def gather(graph: Graph) -> Mapping[str, str]:
    """``GatherElements``."""
    return {"y": graph.node("GatherElements", "x", "index", axis=int(graph.get("axis")))}


def _scatter(reduction: str, graph: Graph) -> Mapping[str, str]:
    rows = graph.node("Unsqueeze", graph.cast("index", "int64"), graph.constant([-1]))
    return {"y": graph.node("ScatterND", "x", rows, "values", reduction=reduction)}


def argmax(graph: Graph) -> Mapping[str, str]:
    """``ArgMax``, the first of equal ones."""
    return {"index": graph.node("ArgMax", "x", axis=-1, keepdims=0, select_last_index=0)}


def top_k(graph: Graph) -> Mapping[str, str]:
    """``TopK``, sorted."""
    values, indices = graph.nodes_of(
        "TopK", 2, "x", graph.constant([int(graph.get("k"))]), axis=-1, largest=1, sorted=1
    )
    return {"values": values, "indices": indices}


def sort(graph: Graph) -> Mapping[str, str]:
    """``TopK`` of all."""
    extent, down = graph.shape("x")[-1], int(bool(graph.get("descending")))
    values, indices = graph.nodes_of(
        "TopK", 2, "x", graph.constant([extent]), axis=-1, largest=down, sorted=1
    )
    return {"values": values, "indices": indices}


def remainder(graph: Graph) -> Mapping[str, str]:
    """``Mod``, of the divisor's sign."""
    return {"y": graph.node("Mod", "x", "other", fmod=0)}


def floor_divide(graph: Graph) -> Mapping[str, str]:
    """``Div`` of what is left without the remainder: ONNX divides integers towards zero."""
    rest = graph.node("Mod", "x", "other", fmod=0)
    return {"y": graph.node("Div", graph.node("Sub", "x", rest), "other")}


GRAPHS: Mapping[str, Build] = {
    "embedding": embedding,
    "embedding_shard": embedding_shard,
    "gather": gather,
    "index_put": partial(_scatter, "none"),
    "index_add": partial(_scatter, "add"),
    "argmax": argmax,
    "top_k": top_k,
    "sort": sort,
    "floor_divide": floor_divide,
    "remainder": remainder,
}
