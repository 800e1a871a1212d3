"""Embedding, gather and scatter by PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]


def embedding(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``torch.nn.functional.embedding``; by indexing where a dtype has no kernel of its own."""
    weight, ids = inputs["weight"], inputs["ids"]
    if weight.dtype.itemsize == 1:
        return {"y": weight.view(torch.uint8)[ids].view(weight.dtype)}
    return {"y": functional.embedding(ids, weight)}


def embedding_shard(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """As tensor-parallel engines do: shift, clamp to row 0, look up, zero what is not here."""
    weight, place = inputs["weight"], inputs["ids"] - int(call.get("first", 0))
    outside = (place < 0) | (place >= weight.shape[0])
    y = functional.embedding(place.masked_fill(outside, 0), weight)
    return {"y": y.masked_fill(outside.unsqueeze(-1), 0)}


def gather(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``torch.gather``."""
    return {"y": torch.gather(inputs["x"], int(call.get("axis", 1)), inputs["index"].to(torch.int64))}


def index_put(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``torch.index_put``."""
    return {"y": torch.index_put(inputs["x"], (inputs["index"].to(torch.int64),), inputs["values"])}


def index_add(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``torch.index_add``."""
    return {"y": torch.index_add(inputs["x"], 0, inputs["index"], inputs["values"])}


OPERATORS = {
    "embedding": embedding,
    "embedding_shard": embedding_shard,
    "gather": gather,
    "index_put": index_put,
    "index_add": index_add,
}
