"""Calls of a mixture of experts: routers whose choice no rounding changes, loads, layers."""

from __future__ import annotations

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.numbers import dtype_of, normal


def apart(generator: np.random.Generator, t: int, e: int, width: float) -> Array:
    """Rows of scores in ``(-width, width)`` that no honest rounding can bring into another order."""
    steps = (np.argsort(generator.random((t, e)), axis=-1) + 0.5) / e
    return (2.0 * steps - 1.0) * width


def softmax_router(
    generator: np.random.Generator, *, dtype: str, t: int, e: int, k: int, renormalise: bool
) -> Call:
    """Make a softmax router without ties."""
    logits = apart(generator, t, e, 6.0 if dtype == "float32" else 0.0)
    if dtype != "float32":  # consecutive numbers of the dtype, all apart
        numbers = np.arange(0x3C00, 0x3C00 + e, dtype=np.uint16).view(dtype_of(dtype)).astype(np.float64)
        logits = numbers[np.argsort(generator.random((t, e)), axis=-1)]
    return Call(
        op="route_softmax",
        inputs={"logits": logits.astype(dtype_of(dtype))},
        attributes={"top_k": k, "renormalise": renormalise},
    )


def sigmoid_router(
    generator: np.random.Generator,
    *,
    t: int,
    e: int,
    k: int,
    groups: int,
    kept: int,
    scaling: float,
    bias: float,
    steps_per_unit: int = 64,
) -> Call:
    """Make a router of sigmoids and biases, no two sums alike, in groups."""
    # Scores on a grid, a bias of whole steps of a finer one: sums of two stay a step apart, or are redrawn.
    wanted = np.empty((t, e))
    steps = bias * np.round(generator.standard_normal(e) * steps_per_unit) / steps_per_unit
    for row in range(t):
        scores = np.empty(e)
        for _ in range(100):
            scores = (np.argsort(generator.random(e)) + generator.uniform(0.3, 0.7, e)) / e
            chosen = np.sort((scores + steps).reshape(groups, -1), axis=-1)
            worth = np.sort(np.sum(chosen[:, -2:], axis=-1))
            if np.min(np.diff(np.sort(chosen.ravel()))) > 1e-5 and (
                groups == 1 or np.min(np.diff(worth)) > 1e-5
            ):
                break
        wanted[row] = scores
    logits = np.log(wanted / (1.0 - wanted)).astype(np.float32)
    return Call(
        op="route_sigmoid",
        inputs={"logits": logits, "bias": steps.astype(np.float32)},
        attributes={"top_k": k, "groups": groups, "top_groups": kept, "scaling": scaling},
    )


def tied(generator: np.random.Generator, *, op: str, dtype: str) -> Call:
    """Make a router of five distinct scores."""
    logits = generator.integers(-2, 3, (9, 64)).astype(dtype_of(dtype))
    inputs: dict[str, Array] = {"logits": logits}
    if op == "route_sigmoid":
        inputs["bias"] = np.zeros(64, np.float32)
    return Call(op=op, inputs=inputs, attributes={"top_k": 6})


def vanishing(_: np.random.Generator, *, dtype: str) -> Call:
    """Scores that are all 0, or all but: their sum must not divide by 0."""
    logits = (-np.arange(160.0, 192.0))[None].repeat(3, axis=0)
    logits[1, ::2] = -np.inf
    logits[2] = -np.inf
    bias = np.linspace(1.0, 0.0, 32, dtype=np.float32)
    inputs = {"logits": logits.astype(dtype_of(dtype)), "bias": bias}
    return Call(op="route_sigmoid", inputs=inputs, attributes={"top_k": 4})


def sharp(generator: np.random.Generator, *, dtype: str) -> Call:
    """Make a router in which one expert takes nearly all."""
    logits = (30.0 * apart(generator, 5, 32, 1.0)).astype(dtype_of(dtype))
    return Call(op="route_softmax", inputs={"logits": logits}, attributes={"top_k": 4})


def experts_of(generator: np.random.Generator, t: int, k: int, e: int, load: str) -> Array:
    """Make the experts of each token under a load: even, half of them, one for all, or some another rank's."""
    if load == "one":  # every token's first choice is one expert
        ids = np.stack([generator.permutation(e - 1)[:k] for _ in range(t)])
        ids[:, 0] = e - 1
        return ids
    if load == "half":  # odd experts see no token
        return 2 * np.stack([generator.permutation(e // 2)[:k] for _ in range(t)])
    ids = np.stack([generator.permutation(e)[:k] for _ in range(t)])
    if load == "absent":
        ids[generator.random(ids.shape) < 0.4] = -1
        ids[0] = -1
    return ids


def weights(generator: np.random.Generator, t: int, k: int) -> Array:
    """Make the weights of each token's experts, which add up to 1."""
    weights = generator.random((t, k)) + 0.1
    return (weights / np.sum(weights, axis=-1, keepdims=True)).astype(np.float32)


def layer(
    generator: np.random.Generator,
    *,
    dtype: str,
    t: int,
    h: int,
    f: int,
    e: int,
    k: int,
    load: str = "even",
    shared: bool = False,
    ranks: int = 1,
) -> Call:
    """Make a whole layer, with or without a shared expert."""
    inputs = {
        "x": normal(generator, (t, h), dtype),
        "ids": experts_of(generator, t, k, e, load),
        "weights": weights(generator, t, k),
        "gate_up": normal(generator, (e, 2 * f, h), dtype, scale=h**-0.5),
        "down": normal(generator, (e, h, f), dtype, scale=f**-0.5),
    }
    if shared:
        inputs["shared_gate_up"] = normal(generator, (2 * f, h), dtype, scale=h**-0.5)
        inputs["shared_down"] = normal(generator, (h, f), dtype, scale=f**-0.5)
    return Call(op="moe", inputs=inputs, attributes={"ranks": ranks})


def grouped(generator: np.random.Generator, *, dtype: str, n: int, k: int, counts: tuple[int, ...]) -> Call:
    """Make rows of several experts, one after another."""
    return Call(
        op="grouped_linear",
        inputs={
            "x": normal(generator, (sum(counts), k), dtype),
            "weight": normal(generator, (len(counts), n, k), dtype, scale=k**-0.5),
            "counts": np.array(counts),
        },
    )


def permute(generator: np.random.Generator, *, dtype: str, t: int, e: int, k: int, load: str) -> Call:
    """Make tokens to be put in the order of their experts."""
    ids = experts_of(generator, t, k, e, load)
    return Call(
        op="moe_permute",
        inputs={"x": normal(generator, (t, 33), dtype), "ids": ids},
        attributes={"experts": e},
    )


def combine(generator: np.random.Generator, *, dtype: str, t: int, k: int, h: int) -> Call:
    """Make rows to be put back, weighted."""
    return Call(
        op="moe_combine",
        inputs={
            "rows": normal(generator, (t * k, h), dtype),
            "source": generator.permutation(t * k),
            "weights": weights(generator, t, k),
        },
    )
