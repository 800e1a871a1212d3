r"""Bounds of what precedes a draw, and rules for what is drawn.

Notes
-----
Drawn numbers and tokens are held by :mod:`dougong.verify.statistics`: tokens outside what is kept never, each token as
often as its probability has it, neighbours unrelated. Probabilities are a softmax of ``logits / temperature``, whose
rounded quotient adds 2.5 units times its own size to the error of the argument.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from dougong.backends import Array, Call
from dougong.backends.reference.sampler import GREEDY_BELOW, filtered
from dougong.verify.bound import UNIT_ROUNDOFF, Bound, Floats, Rule
from dougong.verify.bounds.functions import ULPS, UNDERFLOW, computed
from dougong.verify.statistics import follows, normal_moments, normal_ranks, plausible, tails, unrelated

Bounds = dict[str, Bound | Rule]

_GROUPS = 4


def apply_penalties(call: Call, exact: Mapping[str, Array]) -> Bounds:
    """A quotient or a product, two products and two sums."""
    logits = np.abs(np.where(np.isfinite(exact["y"]), call.inputs["logits"].astype(np.float64), 0.0))
    repetition, presence, frequency = (
        np.abs(call.inputs[name].astype(np.float64))[:, None]
        for name in ("repetition", "presence", "frequency")
    )
    scaled = logits * np.maximum(repetition, 1.0 / repetition)
    said = np.sum(call.inputs["output"] >= 0, axis=-1, keepdims=True)
    return {"y": computed(2.0 * ULPS["divide"] * scaled + 3.0 * (scaled + frequency * said + presence))}


def logit_bias(call: Call, exact: Mapping[str, Array]) -> Bounds:
    """As many sums as biases on one token."""
    bias = np.where(np.isfinite(call.inputs["bias"]), np.abs(call.inputs["bias"]), 0.0).astype(np.float64)
    size = np.zeros(exact["y"].shape)
    for row, ids in enumerate(call.inputs["ids"]):
        np.add.at(size[row], ids[ids >= 0], bias[row, ids >= 0])
    logits = np.abs(call.inputs["logits"].astype(np.float64))
    return {"y": computed(np.where(np.isfinite(logits) & (size > 0), 2.0 * (logits + size), 0.0))}


def filter_probabilities(call: Call, exact: Mapping[str, Array]) -> Bounds:
    """A softmax of quotients over what is kept; what is not must be 0."""
    temperature = call.inputs["temperature"].astype(np.float64)[:, None]
    temperature = np.where(temperature < GREEDY_BELOW, 1.0, temperature)
    logits, p = call.inputs["logits"].astype(np.float64), exact["p"]
    x = np.where(p > 0, logits / temperature, 0.0)
    top = np.max(np.where(p > 0, x, -np.inf), axis=-1, keepdims=True)
    s = np.where(p > 0, top - x, 0.0)
    errors = 2.0 * ULPS["exp"] + s + 2.0 * ULPS["divide"] * (np.abs(x) + np.abs(top))
    carried = np.sum(p * errors, axis=-1, keepdims=True) + np.sqrt(2.0 * p.shape[-1])
    greedy = call.inputs["temperature"][:, None] < GREEDY_BELOW
    error = np.where(greedy, 0.0, p * (errors + carried + 2.0 * ULPS["divide"]))
    return {"p": computed(error, np.where(p > 0, UNDERFLOW, 0.0))}


def sample(call: Call, exact: Mapping[str, Array]) -> Bounds:
    """Counts of every token, and of pairs of neighbours."""
    p = filtered(call)
    m, n = p.shape

    def holds(outputs: Mapping[str, Array]) -> NDArray[np.bool_]:
        tokens = np.asarray(outputs["tokens"], np.int64)
        inside = (tokens >= 0) & (tokens < n)
        possible = inside & (np.take_along_axis(p, np.where(inside, tokens, 0), axis=1) > 0)
        rows = np.array([_drawn_from(p[row], tokens[row], 2 * m) for row in range(m)])
        return possible & (rows | ~possible.all(axis=1))[:, None] & _apart(call, p, tokens)

    return {"tokens": Rule(holds=holds, says="no draw from these probabilities")}


def _drawn_from(p: Floats, tokens: Array, tests: int) -> bool:
    draws = len(tokens)
    if not np.all((tokens >= 0) & (tokens < len(p))):
        return False
    counts = np.bincount(tokens, minlength=len(p)).astype(np.float64)
    some = p > 0
    if not np.all(plausible(counts[some], draws, p[some], tests * int(some.sum()))):
        return False
    group = np.minimum((np.cumsum(p) - p / 2) * _GROUPS, _GROUPS - 1).astype(np.int64)
    share = np.bincount(group, weights=p, minlength=_GROUPS)
    groups = group[tokens[: draws // 2 * 2]].reshape(-1, 2)
    pairs = np.bincount(groups[:, 0] * _GROUPS + groups[:, 1], minlength=_GROUPS**2).astype(np.float64)
    wanted = np.outer(share, share).ravel()
    seen = wanted > 0
    return draws < 2 or bool(
        np.all(plausible(pairs[seen], draws // 2, np.minimum(wanted[seen], 1.0), tests * _GROUPS**2))
    )


def _apart(call: Call, p: Floats, tokens: Array) -> NDArray[np.bool_]:
    """Rows of equal seeds and probabilities are equal; rows of other seeds agree no oftener than chance."""
    seeds = call.inputs["seeds"]
    m: int = tokens.shape[0]
    draws: int = tokens.shape[1]
    right = np.ones((tokens.shape[0], 1), np.bool_)
    for row in range(1, m):
        same = np.count_nonzero(tokens[row] == tokens[row - 1]) / draws
        if seeds[row] == seeds[row - 1] and np.array_equal(p[row], p[row - 1]):
            right[row] = same == 1.0
        elif seeds[row] != seeds[row - 1]:
            chance = np.array([min(float(np.sum(p[row] * p[row - 1])), 1.0)])
            right[row] = chance[0] == 1.0 or bool(
                plausible(np.array([same * draws]), draws, chance, 2 * m)[0]
            )
    return right


_FINE = 1e-6


def _random(
    inside: Callable[[Floats], NDArray[np.bool_]], ranks: Callable[[Floats], Floats], normal: bool
) -> Callable[[Call, Mapping[str, Array]], Bounds]:
    def bounder(call: Call, exact: Mapping[str, Array]) -> Bounds:
        # A narrow dtype holds fewer numbers: no distribution of them is nearer than their step.
        step = 2.0 * UNIT_ROUNDOFF[str(call.get("dtype", "float32"))]

        def holds(outputs: Mapping[str, Array]) -> NDArray[np.bool_]:
            y = outputs["y"].astype(np.float64)
            good = inside(y)
            if not good.all():
                return good
            r, tests = ranks(y), 7
            fair = follows(r, step, tests) and all(unrelated(r, lag, tests) for lag in (1, 2, len(y) // 2))
            if normal:
                fair = fair and normal_moments(y, step, tests)
            if step < _FINE:  # of few values, the ends are no wider than one of them
                fair = fair and tails(r, tests) and len(np.unique(y)) > y.size / 2
            return np.full(y.shape, fair)

        return {"y": Rule(holds=holds, says="not so distributed, or neighbours are related")}

    return bounder


BOUNDS = {
    "apply_penalties": apply_penalties,
    "logit_bias": logit_bias,
    "filter_probabilities": filter_probabilities,
    "sample": sample,
    "random_uniform": _random(lambda y: (y >= 0) & (y < 1), lambda y: y, normal=False),
    "random_normal": _random(lambda y: np.abs(y) < 10, normal_ranks, normal=True),
    "random_exponential": _random(lambda y: (y > 0) & np.isfinite(y), lambda y: -np.expm1(-y), normal=False),
}
