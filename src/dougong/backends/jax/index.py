"""Selections, gathers, scatters and caches by JAX."""

from __future__ import annotations

from typing import Any

from dougong.backends.jax.arrays import Arrays, jnp, lax, wide
from dougong.backends.port import Call


def argmax(call: Call, inputs: Arrays) -> Arrays:
    """``jnp.argmax``."""
    return {"index": jnp.argmax(inputs["x"], axis=-1)}


def top_k(call: Call, inputs: Arrays) -> Arrays:
    """``lax.top_k``."""
    values, indices = lax.top_k(inputs["x"], int(call.get("k", 1)))
    return {"values": values, "indices": indices}


def sort(call: Call, inputs: Arrays) -> Arrays:
    """``jnp.argsort``, stable, then the values."""
    x = inputs["x"]
    indices = jnp.argsort(x, axis=-1, stable=True, descending=bool(call.get("descending", True)))
    return {"values": jnp.take_along_axis(x, indices, axis=-1), "indices": indices}


def embedding(call: Call, inputs: Arrays) -> Arrays:
    """By indexing."""
    return {"y": inputs["weight"][inputs["ids"]]}


def embedding_shard(call: Call, inputs: Arrays) -> Arrays:
    """Shift, look up, zero what is not here."""
    weight, place = inputs["weight"], inputs["ids"] - int(call.get("first", 0))
    outside = (place < 0) | (place >= weight.shape[0])
    return {"y": jnp.where(outside[:, None], 0, weight[jnp.where(outside, 0, place)])}


def gather(call: Call, inputs: Arrays) -> Arrays:
    """``jnp.take_along_axis``."""
    return {"y": jnp.take_along_axis(inputs["x"], inputs["index"], axis=int(call.get("axis", 1)))}


def index_put(call: Call, inputs: Arrays) -> Arrays:
    """``.at[].set``."""
    return {"y": inputs["x"].at[inputs["index"]].set(inputs["values"])}


def index_add(call: Call, inputs: Arrays) -> Arrays:
    """``.at[].add``."""
    return {"y": inputs["x"].at[inputs["index"]].add(inputs["values"])}


def slot_mapping(call: Call, inputs: Arrays) -> Arrays:
    """Blocks from the table, offsets within them."""
    size, positions = int(call.get("block_size", 16)), inputs["positions"]
    there = jnp.maximum(positions, 0)
    blocks = inputs["block_table"][inputs["requests"], there // size].astype(jnp.int64)
    return {"slots": jnp.where(positions < 0, -1, blocks * size + there % size)}


def copy_blocks(call: Call, inputs: Arrays) -> Arrays:
    """``.at[].set`` from what was there before."""
    cache, pairs = inputs["cache"], inputs["pairs"]
    return {"cache": cache.at[pairs[:, 1]].set(cache[pairs[:, 0]])}


def _written(cache: Any, entries: Any, slots: Any, scale: float) -> Any:
    flat = cache.reshape(-1, *cache.shape[2:])
    if cache.dtype != entries.dtype:
        most = float(jnp.finfo(cache.dtype).max)
        entries = jnp.clip(wide(entries) / scale, -most, most).astype(cache.dtype)
    # A slot past the end is dropped; -1 would count from the end, so it is sent there too.
    beyond = jnp.where(slots < 0, flat.shape[0], slots)
    return flat.at[beyond].set(entries, mode="drop").reshape(cache.shape)


def kv_cache_write(call: Call, inputs: Arrays) -> Arrays:
    """``.at[].set``; padding is dropped."""
    return {
        f"{name}_cache": _written(
            inputs[f"{name}_cache"], inputs[name], inputs["slots"], float(call.get(f"{name}_scale", 1.0))
        )
        for name in ("key", "value")
    }


def latent_cache_write(call: Call, inputs: Arrays) -> Arrays:
    """``.at[].set`` of both parts."""
    entries = jnp.concatenate((inputs["latent"], inputs["rotary"]), axis=-1)
    return {"cache": _written(inputs["cache"], entries, inputs["slots"], 1.0)}


OPERATORS = {
    "argmax": argmax,
    "top_k": top_k,
    "sort": sort,
    "embedding": embedding,
    "embedding_shard": embedding_shard,
    "gather": gather,
    "index_put": index_put,
    "index_add": index_add,
    "slot_mapping": slot_mapping,
    "copy_blocks": copy_blocks,
    "kv_cache_write": kv_cache_write,
    "latent_cache_write": latent_cache_write,
}
