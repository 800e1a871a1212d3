"""Faults of writes to the KV cache."""

from __future__ import annotations

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.mutant import Mutant
from dougong.verify.mutants.faults import after, before, instead, with_attributes, with_inputs


def _padding_written(call: Call) -> Call:
    slots = call.inputs["slots"]
    cache = call.inputs["key_cache" if call.op == "kv_cache_write" else "cache"]
    return with_inputs(call, slots=np.where(slots == -1, cache.shape[0] * cache.shape[1] - 1, slots))


def _pages_of_16(call: Call, cache: Array) -> Array:
    if cache.shape[1] == 16:
        cache[:, [0, 1]] = cache[:, [1, 0]]
    return cache


def _in_32_bits(call: Call) -> Call:
    return with_inputs(call, slots=call.inputs["slots"].astype(np.int64) & 0xFFFFFFFF)


def _one_after_another(call: Call) -> dict[str, Array]:
    cache = call.inputs["cache"].copy()
    for source, target in call.inputs["pairs"]:
        cache[target] = cache[source]
    return {"cache": cache}


def _stale_tail(call: Call, y: Array) -> Array:
    size, end = call.inputs["cache"].shape[1], 0
    for length in call.inputs["lengths"]:
        end += int(length)
        if length % size and length > size:
            y[end - 1] = y[end - 2]
    return y


def _truncated(call: Call) -> dict[str, Array]:
    x, other = call.inputs["x"], call.inputs["other"]
    down = x // other
    quotient = down + ((down < 0) & (down * other != x))
    return {"y": quotient if call.op == "floor_divide" else x - quotient * other}


def _spoilt(call: Call) -> Call:
    kept = call.inputs["key"].copy()
    call.inputs["key"][...] = 0
    return with_inputs(call, key=kept)


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="padding-is-a-slot",
        fault="slot -1 is the last slot of the cache",
        caught_by="kv_write/kv_cache_write-",
        wrong=before("kv_cache_write latent_cache_write", _padding_written),
    ),
    Mutant(
        name="page-16-swap",
        fault="pages of 16 have their first two entries swapped",
        caught_by="kv_write/kv_cache_write-page16",
        wrong=after("kv_cache_write", "key_cache", _pages_of_16),
        provenance=("sgl-project/sglang#38196",),
    ),
    Mutant(
        name="slots-in-32-bits",
        fault="slots beyond 2**32 come back in at the start",
        caught_by="kv_write/kv_cache_write-far-beyond",
        wrong=before("kv_cache_write", _in_32_bits),
    ),
    Mutant(
        name="values-by-the-scale-of-keys",
        fault="values are stored by the scale of the keys",
        caught_by="kv_write/kv_cache_write-float8",
        wrong=before(
            "kv_cache_write", lambda call: with_attributes(call, value_scale=call.get("key_scale", 1.0))
        ),
    ),
    Mutant(
        name="mapping-in-32-bits",
        fault="slots are computed in 32 bits",
        caught_by="kv_write/slot_mapping-",
        wrong=after("slot_mapping", "slots", lambda call, slots: slots.astype(np.int32)),
    ),
    Mutant(
        name="division-truncates",
        fault="-1 // 16 is 0",
        caught_by="kv_write/floor_divide-",
        wrong=instead("floor_divide remainder", _truncated),
    ),
    Mutant(
        name="division-through-float32",
        fault="integers are divided as float32",
        caught_by="kv_write/floor_divide-large",
        wrong=instead(
            "floor_divide",
            lambda call: {
                "y": np.floor(
                    call.inputs["x"].astype(np.float32) / call.inputs["other"].astype(np.float32)
                ).astype(np.int64)
            },
        ),
        provenance=("openvinotoolkit/openvino#37956",),
    ),
    Mutant(
        name="blocks-one-after-another",
        fault="a block that was just written is copied on",
        caught_by="kv_write/copy_blocks-chained",
        wrong=instead("copy_blocks", _one_after_another),
    ),
    Mutant(
        name="stale-last-entry",
        fault="the last entry of a partial page is the one before it",
        caught_by="kv_write/gather_cache-",
        wrong=after("gather_cache", "y", _stale_tail),
    ),
    Mutant(
        name="rotary-part-first",
        fault="the rotary part is stored before the latent one",
        caught_by="kv_write/latent_cache_write-",
        wrong=after(
            "latent_cache_write",
            "cache",
            lambda call, cache: np.roll(cache, call.inputs["rotary"].shape[-1], axis=-1),
        ),
    ),
    Mutant(
        name="writes-into-its-input",
        fault="the new keys are changed in place",
        caught_by="kv_write/kv_cache_write-page",
        wrong=before("kv_cache_write", _spoilt),
    ),
)
