"""Writes are exact; a float8 entry has one division and one rounding; of several writers any one may stay."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dougong.backends import Array, Call
from dougong.backends.reference.kv_write import writes
from dougong.verify.bound import Bound, Rule
from dougong.verify.bounds.functions import ULPS, computed


def _any_writer(call: Call, name: str, entries: Array) -> Rule:
    before = call.inputs[name]
    flat = before.reshape(before.shape[0] * before.shape[1], -1)
    rows = np.ascontiguousarray(entries.reshape(entries.shape[0], -1))
    slots = call.inputs["slots"]

    def holds(outputs: Mapping[str, Array]) -> NDArray[np.bool_]:
        after = outputs[name].reshape(flat.shape)
        right = np.all(after.view(np.uint8) == flat.view(np.uint8), axis=-1)
        right[slots[slots >= 0]] = False
        for t in writes(call, flat.shape[0]):
            right[slots[t]] |= bool(np.array_equal(after[slots[t]].view(np.uint8), rows[t].view(np.uint8)))
        return right.reshape(*before.shape[:2], *(1,) * (before.ndim - 2))

    return Rule(holds=holds, says="an entry is neither kept nor what one of its writers wrote")


def kv_cache_write(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound | Rule]:
    """Copies, or quotients rounded to float8."""
    if call.inputs["key_cache"].dtype != call.inputs["key"].dtype:
        return {
            name: computed(2.0 * ULPS["divide"] * np.abs(np.where(np.isfinite(value), value, 0.0)))
            for name, value in exact.items()
        }
    if call.answer_to("duplicate_write") != "any":
        return {}
    return {
        f"{name}_cache": _any_writer(call, f"{name}_cache", call.inputs[name]) for name in ("key", "value")
    }


def latent_cache_write(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound | Rule]:
    """Copies."""
    if call.answer_to("duplicate_write") != "any":
        return {}
    entries = np.concatenate([call.inputs["latent"], call.inputs["rotary"]], axis=-1)
    return {"cache": _any_writer(call, "cache", entries)}


BOUNDS = {"kv_cache_write": kv_cache_write, "latent_cache_write": latent_cache_write}
