"""Writes to the KV cache by PyTorch, as engines write it where no fused kernel is at hand."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]


def _written(cache: torch.Tensor, entries: torch.Tensor, slots: torch.Tensor, scale: float) -> torch.Tensor:
    flat = cache.flatten(0, 1).clone()
    if cache.dtype != entries.dtype:
        most = torch.finfo(cache.dtype).max
        entries = (entries.float() / scale).clamp(-most, most).to(cache.dtype)
    there = slots >= 0
    if flat.dtype.itemsize == 1:
        flat.view(torch.uint8)[slots[there].long()] = entries[there].view(torch.uint8)
    else:
        flat[slots[there].long()] = entries[there]
    return flat.view(cache.shape)


def kv_cache_write(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Assignment by index; padding is left out first."""
    return {
        f"{name}_cache": _written(
            inputs[f"{name}_cache"], inputs[name], inputs["slots"], float(call.get(f"{name}_scale", 1.0))
        )
        for name in ("key", "value")
    }


def latent_cache_write(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Assignment by index of both parts."""
    entries = torch.cat([inputs["latent"], inputs["rotary"]], dim=-1)
    return {"cache": _written(inputs["cache"], entries, inputs["slots"], 1.0)}


def slot_mapping(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Blocks from the table, offsets within them."""
    size, positions = int(call.get("block_size", 16)), inputs["positions"]
    there = positions.clamp(min=0)
    blocks = inputs["block_table"][inputs["requests"].long(), there // size].long()
    return {"slots": torch.where(positions < 0, -1, blocks * size + there % size)}


def copy_blocks(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Assignment by index from what was there before."""
    cache, pairs = inputs["cache"].clone(), inputs["pairs"]
    cache[pairs[:, 1]] = inputs["cache"][pairs[:, 0]]
    return {"cache": cache}


def gather_cache(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Blocks of each request, cut to its length."""
    cache = inputs["cache"]
    rows = [
        cache[blocks.long()].flatten(0, 1)[: int(length)]
        for blocks, length in zip(inputs["block_table"], inputs["lengths"], strict=True)
    ]
    return {"y": torch.cat(rows)}


def floor_divide(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``//``."""
    return {"y": inputs["x"] // inputs["other"]}


def remainder(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``%``."""
    return {"y": inputs["x"] % inputs["other"]}


OPERATORS = {
    "kv_cache_write": kv_cache_write,
    "latent_cache_write": latent_cache_write,
    "slot_mapping": slot_mapping,
    "copy_blocks": copy_blocks,
    "gather_cache": gather_cache,
    "floor_divide": floor_divide,
    "remainder": remainder,
}
