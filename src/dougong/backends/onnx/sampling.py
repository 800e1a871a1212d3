"""What comes before a token is drawn, as ONNX: penalties, biases and filters; ONNX has no generator of a given seed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends.onnx.graph import Build, Graph

_GREEDY_BELOW = 1e-5
_LAST = [-1]


def _added(graph: Graph, wide: str, ids: str, values: str, extent: int) -> str:
    """``ScatterElements`` into one more column, that takes what -1 pads with and is cut off."""
    padding = graph.node("Less", ids, graph.constant(0))
    place = graph.node("Where", padding, graph.constant(extent), ids)
    sums = graph.node("ScatterElements", wide, place, values, axis=-1, reduction="add")
    return graph.node("Slice", sums, *(graph.constant([at]) for at in (0, extent, 1)))


def _counts(graph: Graph, name: str) -> str:
    (rows, extent), said = graph.shape("logits"), graph.shape(name)
    empty = graph.constant(np.zeros((rows, extent + 1)), "float32")
    return _added(graph, empty, name, graph.constant(np.ones(said), "float32"), extent)


def apply_penalties(graph: Graph) -> Mapping[str, str]:
    """Counts by ``ScatterElements``, then element by element."""
    last, zero = graph.constant(_LAST), graph.constant(0.0, "float32")
    used, said = _counts(graph, "prompt"), _counts(graph, "output")
    repetition, presence, frequency = (
        graph.node("Unsqueeze", name, last) for name in ("repetition", "presence", "frequency")
    )
    scaled = graph.node(
        "Where",
        graph.node("Greater", "logits", zero),
        graph.node("Div", "logits", repetition),
        graph.node("Mul", "logits", repetition),
    )
    seen = graph.node("Greater", graph.node("Add", used, said), zero)
    y = graph.node("Where", seen, scaled, "logits")
    y = graph.node("Sub", y, graph.node("Mul", frequency, said))
    told = graph.cast(graph.node("Greater", said, zero), "float32")
    return {"y": graph.node("Sub", y, graph.node("Mul", presence, told))}


def logit_bias(graph: Graph) -> Mapping[str, str]:
    """Addition by ``ScatterElements``."""
    rows, extent = graph.shape("logits")
    column = graph.constant(np.zeros((rows, 1)), "float32")
    return {"y": _added(graph, graph.node("Concat", "logits", column, axis=-1), "ids", "bias", extent)}


def filter_probabilities(graph: Graph) -> Mapping[str, str]:
    """``TopK`` of all, masks over the ranks, ``Softmax``, and back to the order of the vocabulary."""
    (rows, extent), last = graph.shape("logits"), graph.constant(_LAST)
    lowest, one = (graph.constant(value, "float32") for value in (-float("inf"), 1.0))
    temperature = graph.node("Unsqueeze", "temperature", last)
    greedy = graph.node("Less", temperature, graph.constant(_GREEDY_BELOW, "float32"))
    size = graph.constant([extent])
    ordered, ranks = graph.nodes_of("TopK", 2, "logits", size, axis=-1, largest=1, sorted=1)
    ordered = graph.node("Div", ordered, graph.node("Where", greedy, one, temperature))
    place = graph.constant(np.arange(extent)[None])
    if graph.has("top_k"):
        count = graph.node("Unsqueeze", "top_k", last)
        none = graph.node("LessOrEqual", count, graph.constant(0))
        count = graph.node("Where", none, graph.constant(extent), count)
        ordered = graph.node("Where", graph.node("Less", place, count), ordered, lowest)
    if graph.has("top_p"):
        most = graph.node("Unsqueeze", "top_p", last)
        before = graph.node("CumSum", graph.node("Softmax", ordered, axis=-1), graph.constant(1), exclusive=1)
        kept = graph.node("Less", before, most)
        kept = graph.node("Or", kept, graph.node("GreaterOrEqual", most, one))
        kept = graph.node("Or", kept, graph.node("Equal", place, graph.constant(0)))
        ordered = graph.node("Where", kept, ordered, lowest)
    if graph.has("min_p"):
        p = graph.node("Softmax", ordered, axis=-1)
        best = graph.node("Slice", p, *(graph.constant([at]) for at in (0, 1, 1)))
        least = graph.node("Mul", graph.node("Unsqueeze", "min_p", last), best)
        ordered = graph.node("Where", graph.node("Less", p, least), lowest, ordered)
    first = graph.constant((np.arange(extent) == 0)[None], "float32")
    p = graph.node("Where", greedy, first, graph.node("Softmax", ordered, axis=-1))
    empty = graph.constant(np.zeros((rows, extent)), "float32")
    return {"p": graph.node("ScatterElements", empty, ranks, p, axis=-1)}


GRAPHS: Mapping[str, Build] = {
    "apply_penalties": apply_penalties,
    "logit_bias": logit_bias,
    "filter_probabilities": filter_probabilities,
}
