"""Mixture of experts in float64."""

from __future__ import annotations

import numpy as np

from dougong.backends.port import Array, Call
from dougong.backends.reference.activation import silu
from dougong.backends.reference.elementary import sigmoid
from dougong.backends.reference.selection import order
from dougong.backends.reference.softmax import probabilities


def route_softmax(call: Call) -> dict[str, Array]:
    """Probabilities, the largest of them, renormalised."""
    p = probabilities(call.inputs["logits"].astype(np.float64))
    ids = order(p)[:, : int(call.get("top_k", 8))]
    weights = np.take_along_axis(p, ids, axis=-1)
    if call.get("renormalise", True):
        weights = weights / np.sum(weights, axis=-1, keepdims=True)
    return {"weights": weights, "ids": ids}


def choices(call: Call) -> tuple[Array, Array]:
    """Scores, and what experts are chosen by: -inf outside the chosen groups."""
    scores = sigmoid(call.inputs["logits"].astype(np.float64))
    chosen = scores + call.inputs["bias"].astype(np.float64)
    groups = int(call.get("groups", 1))
    by_group = chosen.reshape(len(chosen), groups, -1)
    worth = np.sum(np.sort(by_group, axis=-1)[..., -2:], axis=-1)
    kept = order(worth)[:, : int(call.get("top_groups", 1))]
    held = np.zeros(worth.shape, np.bool_)
    np.put_along_axis(held, kept, True, axis=-1)
    return scores, np.where(held[..., None], by_group, -np.inf).reshape(chosen.shape)


def route_sigmoid(call: Call) -> dict[str, Array]:
    """Scores with a bias for the choice alone, limited to groups."""
    scores, chosen = choices(call)
    ids = order(chosen)[:, : int(call.get("top_k", 8))]
    weights = np.take_along_axis(scores, ids, axis=-1)
    if call.get("renormalise", True):
        weights = weights / (np.sum(weights, axis=-1, keepdims=True) + 1e-20)
    return {"weights": weights * call.get("scaling", 1.0), "ids": ids}


def moe_permute(call: Call) -> dict[str, Array]:
    """Rows in the order of their experts."""
    ids = call.inputs["ids"]
    source = np.argsort(ids.ravel(), kind="stable")
    counts = np.bincount(ids.ravel(), minlength=int(call.get("experts", 8)))
    return {"rows": call.inputs["x"][source // ids.shape[1]], "source": source, "counts": counts}


def combined(call: Call) -> Array:
    """Rows where they belong, token by slot, in float64."""
    rows, weights = call.inputs["rows"].astype(np.float64), call.inputs["weights"]
    pairs = np.empty_like(rows)
    pairs[call.inputs["source"]] = rows
    return pairs.reshape(*weights.shape, -1)


def moe_combine(call: Call) -> dict[str, Array]:
    """The weighted sum of each token's rows."""
    return {"y": np.einsum("tk,tkh->th", call.inputs["weights"].astype(np.float64), combined(call))}


def grouped_linear(call: Call) -> dict[str, Array]:
    """One product per expert."""
    x, weight = call.inputs["x"].astype(np.float64), call.inputs["weight"]
    y = np.empty((x.shape[0], weight.shape[1]))
    end = 0
    for expert, count in enumerate(call.inputs["counts"]):
        start, end = end, end + int(count)
        y[start:end] = x[start:end] @ weight[expert].astype(np.float64).T
    return {"y": y}


def feed_forward(x: Array, gate_up: Array, down: Array) -> Array:
    """One expert: ``down swiglu(gate_up x)``."""
    gate, up = np.split(x @ gate_up.astype(np.float64).T, 2, axis=-1)
    return (silu(gate) * up) @ down.astype(np.float64).T


def moe(call: Call) -> dict[str, Array]:
    """Experts of each token, and the shared one."""
    x, ids, weights = call.inputs["x"].astype(np.float64), call.inputs["ids"], call.inputs["weights"]
    y = np.zeros(x.shape)
    for expert in np.unique(ids[ids >= 0]):
        rows, slots = np.nonzero(ids == expert)
        out = feed_forward(x[rows], call.inputs["gate_up"][expert], call.inputs["down"][expert])
        np.add.at(y, rows, weights[rows, slots, None].astype(np.float64) * out)
    if "shared_gate_up" in call.inputs:
        y = y + feed_forward(x, call.inputs["shared_gate_up"], call.inputs["shared_down"])
    return {"y": y}


FORMULAS = {
    "route_softmax": route_softmax,
    "route_sigmoid": route_sigmoid,
    "moe_permute": moe_permute,
    "moe_combine": moe_combine,
    "grouped_linear": grouped_linear,
    "moe": moe,
}
