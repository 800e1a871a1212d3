"""Mixture of experts by PyTorch, as models' own code writes it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch.nn.functional import linear, silu

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]


def route_softmax(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Softmax in float32, then ``torch.topk``."""
    p = torch.softmax(inputs["logits"].float(), dim=-1)
    weights, ids = torch.topk(p, int(call.get("top_k", 8)), dim=-1)
    if call.get("renormalise", True):
        weights = weights / weights.sum(dim=-1, keepdim=True)
    return {"weights": weights, "ids": ids}


def route_sigmoid(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Groups by the sum of their two best, experts by score and bias, weights by score alone."""
    scores = torch.sigmoid(inputs["logits"].float())
    groups = int(call.get("groups", 1))
    chosen = scores + inputs["bias"]
    by_group = chosen.reshape(len(scores), groups, -1)
    worth = by_group.topk(min(2, by_group.shape[-1]), dim=-1).values.sum(dim=-1)
    kept = worth.topk(int(call.get("top_groups", 1)), dim=-1).indices
    held = torch.zeros_like(worth, dtype=torch.bool).scatter(-1, kept, True)
    chosen = by_group.masked_fill(~held.unsqueeze(-1), float("-inf")).flatten(-2)
    ids = chosen.topk(int(call.get("top_k", 8)), dim=-1).indices
    weights = scores.gather(-1, ids)
    if call.get("renormalise", True):
        weights = weights / (weights.sum(dim=-1, keepdim=True) + 1e-20)
    return {"weights": weights * call.get("scaling", 1.0), "ids": ids}


def moe_permute(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """A stable sort of the pairs by expert."""
    ids = inputs["ids"]
    source = torch.argsort(ids.flatten(), stable=True)
    counts = torch.bincount(ids.flatten(), minlength=int(call.get("experts", 8)))
    return {"rows": inputs["x"][source // ids.shape[1]], "source": source, "counts": counts}


def moe_combine(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Rows scattered back, weighted and added in float32."""
    rows, weights = inputs["rows"], inputs["weights"]
    pairs = torch.empty_like(rows)
    pairs[inputs["source"]] = rows
    y = (pairs.reshape(*weights.shape, -1).float() * weights.unsqueeze(-1)).sum(dim=1)
    return {"y": y.to(rows.dtype)}


def grouped_linear(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """One product per expert that has rows."""
    parts = torch.split(inputs["x"], [int(count) for count in inputs["counts"]])
    return {
        "y": torch.cat([linear(part, weight) for part, weight in zip(parts, inputs["weight"], strict=True)])
    }


def _feed_forward(x: torch.Tensor, gate_up: torch.Tensor, down: torch.Tensor) -> torch.Tensor:
    gate, up = linear(x, gate_up).chunk(2, dim=-1)
    return linear(silu(gate) * up, down)


def _part(inputs: Tensors, first: int, last: int) -> torch.Tensor:
    """What the experts of one rank add."""
    x, ids = inputs["x"], inputs["ids"]
    y = torch.zeros(x.shape, dtype=torch.float32, device=x.device)
    for expert in range(first, last):
        rows, slots = torch.where(ids == expert)
        if len(rows):
            out = _feed_forward(x[rows], inputs["gate_up"][expert], inputs["down"][expert])
            y.index_add_(0, rows, out.float() * inputs["weights"][rows, slots].unsqueeze(-1))
    return y


def moe(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Expert by expert; over several ranks, the sum of what each adds."""
    ranks, experts = int(call.get("ranks", 1)), inputs["gate_up"].shape[0]
    seams = [experts * rank // ranks for rank in range(ranks + 1)]
    parts = [_part(inputs, first, last) for first, last in pairwise(seams)]
    y = torch.stack(parts).sum(dim=0).to(inputs["x"].dtype)
    if "shared_gate_up" in inputs:
        y = y + _feed_forward(inputs["x"], inputs["shared_gate_up"], inputs["shared_down"])
    return {"y": y}


OPERATORS = {
    "route_softmax": route_softmax,
    "route_sigmoid": route_sigmoid,
    "moe_permute": moe_permute,
    "moe_combine": moe_combine,
    "grouped_linear": grouped_linear,
    "moe": moe,
}
