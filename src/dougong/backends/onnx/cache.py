"""Writes to the KV cache and the arithmetic of its slots as ONNX."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends.onnx.graph import Build, Graph


def _written(graph: Graph, cache: str, entries: str, slots: str, scale: float) -> str:
    """``ScatterND`` into rows behind one more, that takes what slot -1 pads with."""
    shape, dtype = graph.shape(cache), graph.call.inputs[cache].dtype.name
    rows, width, moved, flat = shape[0] * shape[1], int(np.prod(shape[2:])), dtype, cache
    if dtype != graph.dtype:
        wide = graph.node("Div", graph.cast(entries, "float32"), graph.constant(scale, "float32"))
        entries = graph.cast(wide, dtype)
    if dtype.startswith(
        "float8"
    ):  # ONNX casts these and moves them by nothing else; float32 holds them exactly
        moved = "float32"
        flat, entries = graph.cast(flat, moved), graph.cast(entries, moved)
    flat = graph.node("Reshape", flat, graph.constant([rows, width]))
    flat = graph.node("Concat", graph.constant(np.zeros((1, width)), moved), flat, axis=0)
    entries = graph.node("Reshape", entries, graph.constant([graph.shape("slots")[0], width]))
    place = graph.node("Add", graph.cast(slots, "int64"), graph.constant(1))
    place = graph.node("Unsqueeze", place, graph.constant([-1]))
    flat = graph.node("ScatterND", flat, place, entries)
    flat = graph.node("Slice", flat, *(graph.constant([at]) for at in (1, rows + 1, 0)))
    flat = graph.node("Reshape", flat, graph.constant(list(shape)))
    return flat if moved == dtype else graph.cast(flat, dtype)


def _moved_wide(dtype: str) -> bool:
    """ONNX casts float8 and has few words to move it by; float32 holds each exactly."""
    return dtype.startswith("float8")


def kv_cache_write(graph: Graph) -> Mapping[str, str]:
    """Keys and values; to a float8 cache divided by their scale and saturated."""
    return {
        f"{name}_cache": _written(graph, f"{name}_cache", name, "slots", float(graph.get(f"{name}_scale")))
        for name in ("key", "value")
    }


def latent_cache_write(graph: Graph) -> Mapping[str, str]:
    """Latents and rotary keys side by side."""
    entries = graph.node("Concat", "latent", "rotary", axis=-1)
    return {"cache": _written(graph, "cache", entries, "slots", 1.0)}


def slot_mapping(graph: Graph) -> Mapping[str, str]:
    """Blocks by ``GatherND``, offsets by ``Mod``, in int64."""
    size, zero = graph.constant(int(graph.get("block_size"))), graph.constant(0)
    padding = graph.node("Less", "positions", zero)
    there = graph.node("Where", padding, zero, "positions")
    pair = [graph.cast("requests", "int64"), graph.node("Div", there, size)]
    pair = [graph.node("Unsqueeze", each, graph.constant([-1])) for each in pair]
    block = graph.node("GatherND", "block_table", graph.node("Concat", *pair, axis=-1))
    start = graph.node("Mul", graph.cast(block, "int64"), size)
    slots = graph.node("Add", start, graph.node("Mod", there, size, fmod=0))
    return {"slots": graph.node("Where", padding, graph.constant(-1), slots)}


def copy_blocks(graph: Graph) -> Mapping[str, str]:
    """``Gather`` of the sources, ``ScatterND`` to their places."""
    source, target = graph.nodes_of("Split", 2, "pairs", axis=-1, num_outputs=2)
    source = graph.node("Squeeze", source, graph.constant([-1]))
    dtype = graph.out["cache"]
    cache = graph.cast("cache", "float32") if _moved_wide(dtype) else "cache"
    after = graph.node("ScatterND", cache, target, graph.node("Gather", cache, source, axis=0))
    return {"cache": after if cache == "cache" else graph.cast(after, dtype)}


GRAPHS: Mapping[str, Build] = {
    "kv_cache_write": kv_cache_write,
    "latent_cache_write": latent_cache_write,
    "slot_mapping": slot_mapping,
    "copy_blocks": copy_blocks,
}
