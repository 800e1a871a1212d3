"""Attention over pages, latents and chosen keys as ONNX: keys are gathered, then it is ``Attention``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends.onnx.attention import attended
from dougong.backends.onnx.graph import Build, Graph

_INFINITY = float("inf")


def paged_attention(graph: Graph) -> Mapping[str, str]:
    """Pages by ``Gather``; what lies beyond a length is set to zero and masked."""
    batch, queries, heads, width = graph.shape("q")
    page, groups, across = (*graph.shape("key_cache")[1:3], graph.shape("block_table")[1])
    keys = page * across
    length = graph.node("Reshape", graph.cast("lengths", "int64"), graph.constant([batch, 1]))
    filled = graph.node("Less", graph.constant(np.arange(across)[None] * page), length)
    table = graph.node("Where", filled, graph.cast("block_table", "int64"), graph.constant(0))
    inside = graph.node("Less", graph.constant(np.arange(keys)[None]), length)
    k, v = (_pages(graph, name, table, inside, (batch, keys, groups)) for name in ("key", "value"))
    q = graph.node("Transpose", "q", perm=[0, 2, 1, 3])
    # Query i of a sequence stands at length - t + i.
    last = graph.node("Reshape", length, graph.constant([batch, 1, 1, 1]))
    back = np.arange(queries)[:, None] - queries - np.arange(keys)
    distance = graph.node("Add", last, graph.constant(back[None, None]))
    seen = graph.node("GreaterOrEqual", distance, graph.constant(0))
    if graph.get("window"):
        near = graph.node("Less", distance, graph.constant(int(graph.get("window"))))
        seen = graph.node("And", seen, near)
    y = attended(graph, q, k, v, seen, shape=(batch, heads, queries, width), kv=(batch, groups, keys, width))
    return {"y": graph.node("Transpose", y, perm=[0, 2, 1, 3])}


def _pages(graph: Graph, name: str, table: str, inside: str, shape: tuple[int, int, int]) -> str:
    batch, keys, groups = shape
    cache, scale = f"{name}_cache", f"{name[0]}_scale"
    if graph.has(scale):
        cache = graph.cast(graph.node("Mul", graph.cast(cache, "float32"), scale), graph.dtype)
    rows = graph.node("Gather", cache, table, axis=0)
    rows = graph.node("Reshape", rows, graph.constant([batch, keys, groups, -1]))
    there = graph.node("Reshape", inside, graph.constant([batch, keys, 1, 1]))
    rows = graph.node("Where", there, rows, graph.constant(0.0, graph.dtype))
    return graph.node("Transpose", rows, perm=[0, 2, 1, 3])


def merge_attention(graph: Graph) -> Mapping[str, str]:
    """Rescale by the largest, add up, divide: in float32; a part of weight 0 adds nothing."""
    first, zero = graph.constant([0]), graph.constant(0.0, "float32")
    top = graph.node("ReduceMax", "log_sums", first, keepdims=1)
    blind = graph.node("Equal", top, graph.constant(-_INFINITY, "float32"))
    safe = graph.node("Where", blind, zero, top)
    raised = graph.node("Exp", graph.node("Sub", "log_sums", safe))
    total = graph.node("ReduceSum", raised, first, keepdims=1)
    log_sum = graph.node("Squeeze", graph.node("Add", graph.node("Log", total), safe), first)
    none = graph.node("Equal", total, zero)
    share = graph.node("Div", raised, graph.node("Where", none, graph.constant(1.0, "float32"), total))
    share = graph.node("Unsqueeze", share, graph.constant([-1]))
    terms = graph.node("Mul", share, graph.cast("parts", "float32"))
    terms = graph.node("Where", graph.node("Greater", share, zero), terms, zero)
    y = graph.node("ReduceSum", terms, first, keepdims=0)
    return {"y": graph.cast(y, graph.dtype), "log_sum": log_sum}


def mla(graph: Graph) -> Mapping[str, str]:
    """Keys and values from the latent, or queries taken to it, by ``MatMul``."""
    (queries, heads, nope), rotary = graph.shape("q_nope"), graph.shape("q_rope")[2]
    keys, latent = graph.shape("latent")
    q_nope, q_rope = (graph.node("Transpose", name, perm=[1, 0, 2]) for name in ("q_nope", "q_rope"))
    first, given = graph.constant([0]), graph.get("scale")
    distance = np.arange(queries)[:, None] + keys - queries - np.arange(keys)
    mask = graph.constant((distance >= 0)[None, None], "bool")
    if graph.get("route") == "absorbed":
        q = graph.node("Concat", graph.node("MatMul", q_nope, "w_uk"), q_rope, axis=-1)
        k = graph.node("Concat", "latent", "k_rope", axis=-1)
        k, v = (graph.node("Unsqueeze", each, graph.constant([0, 1])) for each in (k, "latent"))
        size, groups = latent + rotary, 1
    else:
        turned = [graph.node("Transpose", name, perm=[0, 2, 1]) for name in ("w_uk", "w_uv")]
        k_nope, v = (graph.node("MatMul", "latent", each) for each in turned)
        k_rope = graph.node("Unsqueeze", "k_rope", first)
        k_rope = graph.node("Expand", k_rope, graph.constant([heads, keys, rotary]))
        q = graph.node("Concat", q_nope, q_rope, axis=-1)
        k = graph.node("Unsqueeze", graph.node("Concat", k_nope, k_rope, axis=-1), first)
        v = graph.node("Unsqueeze", v, first)
        size, groups = nope + rotary, heads
    # On either route the scale is that of a query's own width.
    scale = float((nope + rotary) ** -0.5 if given is None else given)
    q = graph.node("Unsqueeze", q, first)
    shapes = {"shape": (1, heads, queries, size), "kv": (1, groups, keys, size)}
    y = attended(graph, q, k, v, mask, **shapes, scale=scale)
    y = graph.node("Squeeze", y, first)
    if graph.get("route") == "absorbed":
        y = graph.node("MatMul", y, graph.node("Transpose", "w_uv", perm=[0, 2, 1]))
    return {"y": graph.node("Transpose", y, perm=[1, 0, 2])}


def sparse_attention(graph: Graph) -> Mapping[str, str]:
    """Chosen keys by ``Gather``, then one query each."""
    (queries, heads, width), groups = graph.shape("q"), graph.shape("k")[1]
    chosen = graph.shape("index")[1]
    index = graph.cast("index", "int64")
    held = graph.node("GreaterOrEqual", index, graph.constant(0))
    place = graph.node("Where", held, index, graph.constant(0))
    k, v = (
        graph.node("Transpose", graph.node("Gather", name, place, axis=0), perm=[0, 2, 1, 3])
        for name in ("k", "v")
    )
    mask = graph.node("Reshape", held, graph.constant([queries, 1, 1, chosen]))
    q = graph.node("Unsqueeze", "q", graph.constant([2]))
    y = attended(graph, q, k, v, mask, shape=(queries, heads, 1, width), kv=(queries, groups, chosen, width))
    return {"y": graph.node("Squeeze", y, graph.constant([2]))}


def index_select(graph: Graph) -> Mapping[str, str]:
    """Scores in float32, then ``TopK``; -1 where there are fewer keys."""
    queries, keys, count = graph.shape("q")[0], graph.shape("k")[0], int(graph.get("top_k"))
    k = graph.node("Transpose", graph.cast("k", "float32"), perm=[1, 0])
    score = graph.node("Relu", graph.node("MatMul", graph.cast("q", "float32"), k))
    score = graph.node("Mul", score, graph.node("Unsqueeze", "weights", graph.constant([-1])))
    score = graph.node("ReduceSum", score, graph.constant([1]), keepdims=0)
    distance = np.arange(queries)[:, None] + keys - queries - np.arange(keys)
    lowest = graph.constant(-_INFINITY, "float32")
    score = graph.node("Where", graph.constant(distance >= 0, "bool"), score, lowest)
    size = graph.constant([min(count, keys)])
    values, index = graph.nodes_of("TopK", 2, score, size, axis=-1, largest=1, sorted=1)
    index = graph.node("Where", graph.node("Equal", values, lowest), graph.constant(-1), index)
    if count > keys:
        rest = graph.constant(np.full((queries, count - keys), -1))
        index = graph.node("Concat", index, rest, axis=-1)
    return {"index": index}


def causal_conv1d(graph: Graph) -> Mapping[str, str]:
    """``Conv`` of one group per channel in float32, then SiLU; the state is cut from what went in."""
    (tokens, channels), width = graph.shape("x"), graph.shape("weight")[1]
    line = graph.node("Concat", "state", graph.node("Transpose", "x", perm=[1, 0]), axis=-1)
    kernel = graph.node("Unsqueeze", graph.cast("weight", "float32"), graph.constant([1]))
    bias = [graph.cast("bias", "float32")] if graph.has("bias") else []
    wide = graph.node("Unsqueeze", graph.cast(line, "float32"), graph.constant([0]))
    y = graph.node("Conv", wide, kernel, *bias, group=channels, kernel_shape=[width])
    y = graph.node("Mul", y, graph.node("Sigmoid", y))
    y = graph.node("Transpose", graph.node("Squeeze", y, graph.constant([0])), perm=[1, 0])
    ends = (graph.constant([at]) for at in (tokens, tokens + width - 1, 1))
    return {"y": graph.cast(y, graph.dtype), "state_out": graph.node("Slice", line, *ends)}


GRAPHS: Mapping[str, Build] = {
    "paged_attention": paged_attention,
    "merge_attention": merge_attention,
    "mla": mla,
    "sparse_attention": sparse_attention,
    "index_select": index_select,
    "causal_conv1d": causal_conv1d,
}
