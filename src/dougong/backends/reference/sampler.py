"""Sampling in float64; what is drawn is one legal draw."""

from __future__ import annotations

import numpy as np

from dougong.backends.dtypes import dtype_of
from dougong.backends.port import Array, Call
from dougong.backends.reference.selection import order
from dougong.backends.reference.softmax import probabilities

GREEDY_BELOW = 1e-5
"""Temperatures below this one mean the largest logit."""


def apply_penalties(call: Call) -> dict[str, Array]:
    """Repetition, then frequency and presence."""
    logits = call.inputs["logits"].astype(np.float64)
    used, said = _counts(call, logits.shape)
    repetition, presence, frequency = (
        call.inputs[name].astype(np.float64)[:, None] for name in ("repetition", "presence", "frequency")
    )
    scaled = np.where(logits > 0, logits / repetition, logits * repetition)
    y = np.where(used + said > 0, scaled, logits)
    return {"y": y - frequency * said - presence * (said > 0)}


def _counts(call: Call, shape: tuple[int, ...]) -> tuple[Array, Array]:
    counts: list[Array] = []
    for name in ("prompt", "output"):
        count = np.zeros(shape)
        for row, tokens in enumerate(call.inputs[name]):
            np.add.at(count[row], tokens[tokens >= 0], 1)
        counts.append(count)
    return counts[0], counts[1]


def logit_bias(call: Call) -> dict[str, Array]:
    """Bias at given tokens."""
    y = call.inputs["logits"].astype(np.float64)
    for row, (ids, bias) in enumerate(zip(call.inputs["ids"], call.inputs["bias"], strict=True)):
        np.add.at(y[row], ids[ids >= 0], bias[ids >= 0].astype(np.float64))
    return {"y": y}


def filtered(call: Call) -> Array:
    """Probabilities of every token once temperature and filters are applied, in float64."""
    logits = call.inputs["logits"].astype(np.float64)
    m: int = logits.shape[0]
    n: int = logits.shape[1]
    temperature = call.inputs["temperature"].astype(np.float64)
    top_k = call.inputs.get("top_k", np.zeros(m, np.int64))
    top_p = call.inputs.get("top_p", np.ones(m, np.float32)).astype(np.float64)
    min_p = call.inputs.get("min_p", np.zeros(m, np.float32)).astype(np.float64)
    p = np.zeros((m, n))
    for row in range(m):
        if temperature[row] < GREEDY_BELOW:
            p[row, np.argmax(logits[row])] = 1.0
            continue
        ranks = order(logits[row])
        scaled = logits[row][ranks] / temperature[row]
        kept = int(top_k[row]) if 0 < top_k[row] < n else n
        each = probabilities(scaled[:kept])
        if top_p[row] < 1.0:
            reached = np.cumsum(each) - each < top_p[row]
            reached[0] = True
            kept = int(np.sum(reached))
            each = probabilities(scaled[:kept])
        if min_p[row] > 0.0:
            kept = int(np.sum(each >= min_p[row] * each[0]))
            each = probabilities(scaled[:kept])
        p[row, ranks[:kept]] = each
    return p


def filter_probabilities(call: Call) -> dict[str, Array]:
    """What a token is drawn from."""
    return {"p": filtered(call)}


def sample(call: Call) -> dict[str, Array]:
    """Tokens where the running sum of their probabilities first exceeds a uniform number of the row's seed."""
    draws = int(call.get("draws", 1))
    rows = [
        np.searchsorted(
            np.cumsum(p) / np.sum(p), np.random.default_rng(int(seed)).random(draws), side="right"
        )
        for p, seed in zip(filtered(call), call.inputs["seeds"], strict=True)
    ]
    return {"tokens": np.stack(rows)}


def rejection_sample(call: Call) -> dict[str, Array]:
    """Drafts accepted, and the token after them."""
    draft, uniform = call.inputs["draft"], call.inputs["uniform"].astype(np.float64)
    q, p, waits = (call.inputs[name].astype(np.float64) for name in ("draft_p", "target_p", "exponential"))
    m, s = draft.shape
    tokens = np.full((m, s + 1), -1, np.int64)
    for row in range(m):
        at = 0
        while at < s and uniform[row, at] * q[row, at, draft[row, at]] <= p[row, at, draft[row, at]]:
            tokens[row, at] = draft[row, at]
            at += 1
        residual = p[row, at] if at == s else np.maximum(p[row, at] - q[row, at], 0.0)
        tokens[row, at] = np.argmax(residual / waits[row, at])
    return {"tokens": tokens}


def _drawn(call: Call) -> dict[str, Array]:
    generator, n = np.random.default_rng(int(call.inputs["seed"])), int(call.get("n", 1))
    draw = {
        "random_uniform": generator.random,
        "random_normal": generator.standard_normal,
        "random_exponential": generator.standard_exponential,
    }[call.op]
    y = draw(n).astype(dtype_of(call.get("dtype", "float32")))
    return {"y": np.where(y == 1.0, y.dtype.type(0.5), y) if call.op == "random_uniform" else y}


FORMULAS = {
    "apply_penalties": apply_penalties,
    "logit_bias": logit_bias,
    "filter_probabilities": filter_probabilities,
    "sample": sample,
    "rejection_sample": rejection_sample,
    "random_uniform": _drawn,
    "random_normal": _drawn,
    "random_exponential": _drawn,
}
