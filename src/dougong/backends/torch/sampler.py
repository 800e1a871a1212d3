"""Sampling by PyTorch, as engines compose it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from dougong.backends.port import Call

Tensors = Mapping[str, torch.Tensor]


def _counts(tokens: torch.Tensor, vocabulary: int) -> torch.Tensor:
    counts = torch.zeros(tokens.shape[0], vocabulary + 1, dtype=torch.int64, device=tokens.device)
    padded = torch.where(tokens < 0, vocabulary, tokens)
    return counts.scatter_add_(1, padded, torch.ones_like(padded))[:, :vocabulary]


def apply_penalties(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Counts by scatter, then element by element."""
    logits = inputs["logits"]
    used, said = (_counts(inputs[name], logits.shape[1]) for name in ("prompt", "output"))
    repetition = inputs["repetition"].unsqueeze(1)
    scaled = torch.where(logits > 0, logits / repetition, logits * repetition)
    y = torch.where((used > 0) | (said > 0), scaled, logits)
    y = y - inputs["frequency"].unsqueeze(1) * said
    return {"y": y - inputs["presence"].unsqueeze(1) * (said > 0)}


def logit_bias(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Addition by scatter; padding goes to a column that is cut off."""
    logits, ids = inputs["logits"], inputs["ids"]
    n = logits.shape[1]
    wide = torch.cat([logits, torch.zeros_like(logits[:, :1])], dim=1)
    return {"y": wide.scatter_add(1, torch.where(ids < 0, n, ids), inputs["bias"])[:, :n]}


def _filtered(inputs: Tensors) -> torch.Tensor:
    logits, temperature = inputs["logits"], inputs["temperature"].unsqueeze(1)
    n = logits.shape[1]
    greedy = temperature < 1e-5
    scaled = logits / torch.where(greedy, 1.0, temperature)
    ordered, ranks = torch.sort(scaled, dim=-1, descending=True, stable=True)
    if "top_k" in inputs:
        top_k = inputs["top_k"].unsqueeze(1)
        top_k = torch.where((top_k <= 0) | (top_k > n), n, top_k)
        place = torch.arange(n, device=logits.device)
        ordered = ordered.masked_fill(place >= top_k, float("-inf"))
    if "top_p" in inputs:
        top_p = inputs["top_p"].unsqueeze(1)
        p = torch.softmax(ordered, dim=-1)
        beyond = (p.cumsum(dim=-1) - p >= top_p) & (top_p < 1.0)
        beyond[:, 0] = False
        ordered = ordered.masked_fill(beyond, float("-inf"))
    if "min_p" in inputs:
        p = torch.softmax(ordered, dim=-1)
        ordered = ordered.masked_fill(p < inputs["min_p"].unsqueeze(1) * p[:, :1], float("-inf"))
    p = torch.zeros_like(logits).scatter(1, ranks, torch.softmax(ordered, dim=-1))
    likeliest = torch.zeros_like(p).scatter(1, logits.argmax(dim=-1, keepdim=True), 1.0)
    return torch.where(greedy, likeliest, p)


def filter_probabilities(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """Sort, mask, softmax, and back to the order of the vocabulary."""
    return {"p": _filtered(inputs)}


def sample(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """``torch.multinomial``, one generator per row."""
    p, draws = _filtered(inputs), int(call.get("draws", 1))
    rows: list[torch.Tensor] = []
    for row, seed in zip(p, inputs["seeds"].cpu(), strict=True):
        generator = torch.Generator(device=p.device).manual_seed(int(seed))
        rows.append(torch.multinomial(row, draws, replacement=True, generator=generator))
    return {"tokens": torch.stack(rows)}


def rejection_sample(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    """All places at once; what follows the first refusal is cut off."""
    draft, q, p = inputs["draft"], inputs["draft_p"], inputs["target_p"]
    s = draft.shape[1]
    of_draft = q.gather(2, draft.unsqueeze(2)).squeeze(2)
    of_target = p[:, :s].gather(2, draft.unsqueeze(2)).squeeze(2)
    accepted = (inputs["uniform"] * of_draft <= of_target).long().cumprod(dim=1)
    count = accepted.sum(dim=1, keepdim=True)
    residual = torch.cat([(p[:, :s] - q).clamp(min=0), p[:, s:]], dim=1)
    recovered = (residual / inputs["exponential"]).argmax(dim=2)
    place = torch.arange(s + 1, device=draft.device)
    drafts = torch.cat([draft, torch.full_like(draft[:, :1], -1)], dim=1)
    return {"tokens": torch.where(place < count, drafts, torch.where(place == count, recovered, -1))}


def _drawn(call: Call, inputs: Tensors) -> dict[str, torch.Tensor]:
    device = inputs["seed"].device
    generator = torch.Generator(device=device).manual_seed(int(inputs["seed"]))
    draw: dict[str, Callable[..., Any]] = {
        "random_uniform": torch.Tensor.uniform_,
        "random_normal": torch.Tensor.normal_,
        "random_exponential": torch.Tensor.exponential_,
    }
    y = torch.empty(int(call.get("n", 1)), dtype=getattr(torch, call.get("dtype", "float32")), device=device)
    return {"y": draw[call.op](y, generator=generator)}


OPERATORS = {
    "apply_penalties": apply_penalties,
    "logit_bias": logit_bias,
    "filter_probabilities": filter_probabilities,
    "sample": sample,
    "rejection_sample": rejection_sample,
    "random_uniform": _drawn,
    "random_normal": _drawn,
    "random_exponential": _drawn,
}
