"""Writes to the KV cache: copies bit for bit, integers exact, float8 entries in float64."""

from __future__ import annotations

import numpy as np

from dougong.backends.dtypes import limits
from dougong.backends.port import Array, Call, Refused


def writes(call: Call, entries: int) -> list[int]:
    """Tokens that are written, in the order in which they are.

    Raises
    ------
    Refused
        Where a slot is beyond the cache and an error is the answer.
    """
    slots = call.inputs["slots"]
    beyond = slots >= entries
    if np.any(beyond) and call.answer_to("slot_beyond_cache") == "raises":
        raise Refused("a slot is beyond the cache")
    kept = [int(t) for t in np.flatnonzero((slots >= 0) & ~beyond)]
    return kept[::-1] if call.answer_to("duplicate_write") == "first" else kept


def _written(call: Call, cache: Array, entries: Array, scale: float) -> Array:
    shape = cache.shape
    flat = cache.reshape(shape[0] * shape[1], *shape[2:]).copy()
    if cache.dtype != entries.dtype:
        _, most = limits(cache.dtype)
        flat, entries = flat.astype(np.float64), np.clip(entries.astype(np.float64) / scale, -most, most)
    for t in writes(call, flat.shape[0]):
        flat[int(call.inputs["slots"][t])] = entries[t]
    return flat.reshape(shape)


def kv_cache_write(call: Call) -> dict[str, Array]:
    """Keys and values to their slots."""
    return {
        f"{name}_cache": _written(
            call, call.inputs[f"{name}_cache"], call.inputs[name], float(call.get(f"{name}_scale", 1.0))
        )
        for name in ("key", "value")
    }


def latent_cache_write(call: Call) -> dict[str, Array]:
    """Latents and rotary keys side by side."""
    entries = np.concatenate([call.inputs["latent"], call.inputs["rotary"]], axis=-1)
    return {"cache": _written(call, call.inputs["cache"], entries, 1.0)}


def slot_mapping(call: Call) -> dict[str, Array]:
    """Positions of requests to slots of the cache."""
    size = int(call.get("block_size", 16))
    positions, table = call.inputs["positions"].astype(np.int64), call.inputs["block_table"].astype(np.int64)
    padding = positions < 0
    there = np.where(padding, 0, positions)
    slots = table[call.inputs["requests"], there // size] * size + there % size
    return {"slots": np.where(padding, -1, slots)}


def copy_blocks(call: Call) -> dict[str, Array]:
    """Whole blocks, all read before any is written."""
    before = call.inputs["cache"]
    cache, pairs = before.copy(), call.inputs["pairs"]
    cache[pairs[:, 1]] = before[pairs[:, 0]]
    return {"cache": cache}


def gather_cache(call: Call) -> dict[str, Array]:
    """Entries of each request in the order of their positions."""
    cache, table, lengths = (call.inputs[name] for name in ("cache", "block_table", "lengths"))
    rows = [
        cache[blocks].reshape(-1, *cache.shape[2:])[:length]
        for blocks, length in zip(table, lengths, strict=True)
    ]
    return {"y": np.concatenate(rows)}


def floor_divide(call: Call) -> dict[str, Array]:
    """Quotient of integers, rounded down or towards zero."""
    x, other = call.inputs["x"], call.inputs["other"]
    down = np.floor_divide(x, other)
    if call.answer_to("negative_division") == "truncate":
        down = down + ((down < 0) & (down * other != x))
    return {"y": down}


def remainder(call: Call) -> dict[str, Array]:
    """What the quotient leaves, with the sign of the divisor or of the dividend."""
    x, other = call.inputs["x"], call.inputs["other"]
    return {
        "y": np.fmod(x, other)
        if call.answer_to("negative_division") == "truncate"
        else np.remainder(x, other)
    }


FORMULAS = {
    "kv_cache_write": kv_cache_write,
    "latent_cache_write": latent_cache_write,
    "slot_mapping": slot_mapping,
    "copy_blocks": copy_blocks,
    "gather_cache": gather_cache,
    "floor_divide": floor_divide,
    "remainder": remainder,
}
