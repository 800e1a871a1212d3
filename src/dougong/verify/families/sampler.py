"""Sampling: temperatures, boundaries of every filter, penalties, mixed batches, seeds, and the numbers drawn."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.selection import order
from dougong.backends.reference.softmax import probabilities
from dougong.ops.definition import FLOATS
from dougong.verify.case import Case
from dougong.verify.families.listing import listed
from dougong.verify.geometry import model
from dougong.verify.numbers import normal

_DRAWS = 1 << 16
_VOCABULARY = model("qwen3-32b").vocab_size


def _floats(*values: float) -> Array:
    return np.array(values, np.float32)


def _penalised(generator: np.random.Generator, *, n: int, rows: int, what: str) -> Call:
    logits = normal(generator, (rows, n), "float32", scale=4.0)
    logits[0, 0], logits[0, 1] = 0.0, -0.0
    prompt, output = generator.integers(0, n, (rows, 40)), generator.integers(0, n, (rows, 24))
    output[:, 5:10] = output[:, :1]  # said six times
    prompt[:, :3] = output[:, 11:14]
    output[:, 15:] = -1
    prompt[-1], output[-1] = -1, -1
    factors = {
        "neutral": (_floats(*[1.0] * rows), _floats(*[0.0] * rows), _floats(*[0.0] * rows)),
        "repetition": (generator.uniform(0.5, 2.0, rows), np.zeros(rows), np.zeros(rows)),
        "presence": (np.ones(rows), generator.uniform(-2, 2, rows), np.zeros(rows)),
        "frequency": (np.ones(rows), np.zeros(rows), generator.uniform(-2, 2, rows)),
        "mixed": (
            generator.uniform(0.5, 2.0, rows),
            generator.uniform(-2, 2, rows),
            generator.uniform(-2, 2, rows),
        ),
    }[what]
    repetition, presence, frequency = (each.astype(np.float32) for each in factors)
    return Call(
        op="apply_penalties",
        inputs={
            "logits": logits,
            "prompt": prompt,
            "output": output,
            "repetition": repetition,
            "presence": presence,
            "frequency": frequency,
        },
    )


def _biased(generator: np.random.Generator, *, n: int) -> Call:
    ids = np.stack([generator.permutation(n)[:7] for _ in range(4)])
    ids[0, :2], ids[1, 4:], ids[2] = [0, n - 1], -1, -1
    bias = generator.uniform(-100, 100, (4, 7)).astype(np.float32)
    bias[0, 0], bias[3, 3] = -np.inf, -np.inf
    return Call(
        op="logit_bias", inputs={"logits": normal(generator, (4, n), "float32"), "ids": ids, "bias": bias}
    )


def _between(logits: Array, temperature: Array, ranks: Array, side: float) -> Array:
    """Nucleus masses that cut off before the token of each rank: midway, or just past one side of the cut."""
    masses = np.empty(len(logits))
    for row, rank in enumerate(ranks):
        p = np.sort(probabilities(logits[row].astype(np.float64) / temperature[row]))[::-1]
        low = float(np.sum(p[: int(rank) - 1]))
        masses[row] = low + (p[int(rank) - 1] / 2 if side == 0 else side)
    return np.maximum(masses, 1e-6).astype(np.float32)


def _shares(logits: Array, temperature: Array, ranks: Array) -> Array:
    """Least shares of the largest probability that cut off midway after the token of each rank."""
    shares = np.empty(len(logits))
    for row, rank in enumerate(ranks):
        x = np.sort(logits[row].astype(np.float64) / temperature[row])[::-1]
        shares[row] = np.exp((x[int(rank) - 1] + x[int(rank)]) / 2 - x[0])
    return shares.astype(np.float32)


def _filters(generator: np.random.Generator, *, op: str, n: int, what: str, draws: int = 0) -> Call:
    m = 6
    logits = _well_apart(generator, m, n)
    temperature = _floats(1.0, 0.7, 1.5, 0.3, 1.0, 2.0)
    ranks = np.array([1, 2, 3, min(5, n - 1), min(8, n - 1), min(20, n - 1)])
    inputs: dict[str, Array] = {"logits": logits, "temperature": temperature}
    if what == "greedy":
        inputs["temperature"] = _floats(0.0, 1e-6, 9e-6, 0.0, 0.0, 1e-7)
        inputs["top_p"], inputs["top_k"] = _floats(*[0.5] * m), np.array([5] * m)
    if what in ("top-k", "combined", "mixed"):
        inputs["top_k"] = np.array([1, 2, min(50, n - 1), n, 0, -1])
    if what == "top-k-beyond":
        inputs["top_k"] = np.array([n - 1, n, n + 1, 1 << 30, 1, 2])
    if what == "top-p":
        inputs["top_p"] = _between(logits, temperature, ranks, 0.0)
    if what == "top-p-below":  # one step less mass than the token before needs: that token is the last
        inputs["top_p"] = _between(logits, temperature, ranks + 1, -2e-5)
    if what == "top-p-above":  # one step more: the next token comes in
        inputs["top_p"] = _between(logits, temperature, ranks + 1, 2e-5)
    if what in ("top-p-ends", "mixed"):
        inputs["top_p"] = _floats(1.0, 1e-6, 1.0, 1e-6, 1.0, 1.0)
    if what == "min-p":
        inputs["min_p"] = _shares(logits, temperature, ranks)
    if what == "min-p-ends":
        inputs["min_p"] = _floats(0.0, 1.0, 0.0, 1.0, 0.0, 1.0)
    if what == "combined":
        inputs["min_p"] = _shares(logits, temperature, ranks)
    if what == "mixed":
        inputs["temperature"] = _floats(0.0, 0.7, 1.5, 0.0, 1.0, 2.0)
    if what == "banned":
        inputs["logits"] = np.where(generator.random((m, n)) < 0.5, np.float32(-np.inf), logits)
        inputs["logits"][:, 0] = 3.0
        inputs["top_k"] = np.array([n] * m)
    if op == "sample":
        inputs["seeds"] = generator.integers(0, 1 << 31, m)
        if what == "same-seed":
            inputs["seeds"][:] = 7
            inputs["logits"] = np.repeat(logits[:1], m, axis=0)
            inputs["temperature"] = _floats(*[1.0] * m)
        if what == "next-seeds":
            inputs["seeds"] = np.arange(m)
            inputs["logits"] = np.repeat(logits[:1], m, axis=0)
            inputs["temperature"] = _floats(*[1.0] * m)
        return Call(op=op, inputs=inputs, attributes={"draws": draws})
    return Call(op=op, inputs=inputs)


def _well_apart(generator: np.random.Generator, m: int, n: int) -> Array:
    """Logits with a head of some thirty likely tokens, whose order and cuts no rounding changes."""
    logits = (-8.0 - np.abs(generator.standard_normal((m, n)))).astype(np.float32)
    head = min(n, 32)
    for row in range(m):
        steps = -0.25 * np.arange(head) + generator.uniform(-0.05, 0.05, head)
        logits[row, generator.permutation(n)[:head]] = steps + 2.0
    return logits


def _drafts(generator: np.random.Generator, *, what: str) -> Call:
    m, s, n = 33, 4, 97
    target = probabilities(generator.standard_normal((m, s + 1, n)) * 2.0).astype(np.float32)
    draft_p = probabilities(generator.standard_normal((m, s, n)) * 2.0).astype(np.float32)
    if what == "same":
        draft_p = target[:, :s].copy()
    if what == "apart":
        draft_p[..., n // 2 :] = 0.0
        target[..., : n // 2] = 0.0
    if what == "near":
        draft_p = (0.5 * draft_p + 0.5 * target[:, :s]).astype(np.float32)
    draft = order(np.log(np.maximum(draft_p, 1e-30)) + generator.gumbel(size=draft_p.shape))[..., 0]
    return Call(
        op="rejection_sample",
        inputs={
            "draft": draft,
            "draft_p": draft_p,
            "target_p": target,
            "uniform": generator.random((m, s), np.float32),
            "exponential": generator.exponential(size=(m, s + 1, n)).astype(np.float32),
        },
    )


def _random(_: np.random.Generator, *, op: str, dtype: str, n: int, seed: int) -> Call:
    return Call(op=op, inputs={"seed": np.array(seed)}, attributes={"n": n, "dtype": dtype})


_FILTER_EDGES = {
    "temperature": "temperature alone",
    "greedy": "temperature 0 and 1e-5: the largest logit, whatever the filters",
    "top-k": "k of 1, 2, 50, all, and both ways to say none",
    "top-k-beyond": "k about the size of the vocabulary, and far beyond it",
    "top-p": "a mass between two cuts",
    "top-p-below": "a mass just below what the tokens before the cut hold: the cut token stays out",
    "top-p-above": "a mass just above it: the token that crosses it stays in",
    "top-p-ends": "a mass of 1, and of next to nothing: one token stays",
    "min-p": "a share between two tokens",
    "min-p-ends": "a share of 0, and of 1",
    "combined": "top-k, then min-p",
    "mixed": "greedy and random rows in one batch, each with its own filters",
    "banned": "half the vocabulary banned by -inf",
}


def _before() -> Iterator[Case]:
    for what in ("neutral", "repetition", "presence", "frequency", "mixed"):
        for n, rows in ((501, 9), (_VOCABULARY, 2)):
            yield listed(
                "sampler",
                "apply_penalties",
                f"penalties-{what}-n{n}",
                "float32",
                partial(_penalised, n=n, rows=rows, what=what),
                "penalties that change nothing"
                if what == "neutral"
                else f"{what}: tokens of prompt and output, padding",
                geometry="qwen3-32b logits" if n == _VOCABULARY else "edge",
                relations=("row_chunks",),
                exact=what == "neutral",
                profile="smoke" if what == "mixed" and n == 501 else "standard",
            )
    for n in (501, _VOCABULARY):
        yield listed(
            "sampler",
            "logit_bias",
            f"bias-n{n}",
            "float32",
            partial(_biased, n=n),
            "bans, padding, the first token and the last",
            geometry="qwen3-32b logits" if n == _VOCABULARY else "edge",
        )
    for what, edge in _FILTER_EDGES.items():
        for n in (50, 1000) if what != "mixed" else (50, 1000, _VOCABULARY):
            yield listed(
                "sampler",
                "filter_probabilities",
                f"filter-{what}-n{n}",
                "float32",
                partial(_filters, op="filter_probabilities", n=n, what=what),
                edge,
                geometry="qwen3-32b logits" if n == _VOCABULARY else "edge",
                relations=("row_chunks",),
                profile="smoke" if n == 1000 and what in ("top-k", "top-p-above", "mixed") else "standard",
            )


def _drawing() -> Iterator[Case]:
    for what in (*_FILTER_EDGES, "same-seed", "next-seeds"):
        edge = {
            "same-seed": "one seed for all rows: the same tokens in each",
            "next-seeds": "seeds 0, 1, 2, …: rows that have nothing to do with each other",
        }.get(what) or _FILTER_EDGES[what]
        yield listed(
            "sampler",
            "sample",
            f"sample-{what}",
            "float32",
            partial(_filters, op="sample", n=50, what=what, draws=_DRAWS),
            f"{edge}; every token as often as its probability has it",
            profile="smoke" if what in ("mixed", "temperature") else "standard",
        )
        if what in ("mixed", "greedy", "temperature"):
            yield listed(
                "sampler",
                "sample",
                f"sample-{what}-alone",
                "float32",
                partial(_filters, op="sample", n=1000, what=what, draws=16),
                f"{edge}; a row draws the same tokens in any company",
                relations=("row_chunks", "batch_permutation", "alone"),
            )
    yield listed(
        "sampler",
        "sample",
        "sample-vocabulary",
        "float32",
        partial(_filters, op="sample", n=_VOCABULARY, what="temperature", draws=4096),
        "a whole vocabulary",
        geometry="qwen3-32b logits",
    )
    for op, make, axes in (
        ("filter_probabilities", partial(_filters, op="filter_probabilities", n=50, what="mixed"), "m"),
        (
            "filter_probabilities",
            partial(_filters, op="filter_probabilities", n=600, what="temperature"),
            "n",
        ),
        ("apply_penalties", partial(_penalised, n=66, rows=140, what="mixed"), "m"),
        ("rejection_sample", partial(_drafts, what="near"), "m"),
    ):
        yield listed(
            "sampler",
            op,
            f"{op.replace('_', '-')}-extents-{axes}",
            "float32",
            make,
            "a batch or a vocabulary at which a kernel takes another way; strides taken for granted",
            relations=(f"cuts:{axes}", "layouts"),
            exact=op == "rejection_sample",
            profile="smoke" if op == "filter_probabilities" else "standard",
        )
    for what in ("random", "same", "apart", "near"):
        yield listed(
            "sampler",
            "rejection_sample",
            f"drafts-{what}",
            "float32",
            partial(_drafts, what=what),
            {
                "random": "drafts of another model",
                "same": "drafts of the model itself: all accepted, and one more",
                "apart": "drafts that the model never says: none accepted",
                "near": "drafts that are mostly right",
            }[what],
            relations=("row_chunks",),
            exact=True,
            profile="smoke" if what == "near" else "standard",
        )


def _numbers() -> Iterator[Case]:
    for op in ("random_uniform", "random_normal", "random_exponential"):
        for dtype in FLOATS if op != "random_exponential" else ("float32",):
            for n, seed in (
                (1 << 20 if dtype == "float32" else 1 << 17, 0),
                (100_003, 1),
                (1 << 17, (1 << 31) + 7),
                (1 << 17, (1 << 53) + 1),
            ):
                yield listed(
                    "sampler",
                    op,
                    f"{op.replace('_', '-')}-n{n}-seed{seed}",
                    dtype,
                    partial(_random, op=op, dtype=dtype, n=n, seed=seed),
                    "distribution, moments, and neighbours that have nothing to do with each other",
                    relations=("next_seed",),
                    profile="smoke" if seed == 1 and dtype == "float32" else "standard",
                    provenance=("flagos-ai/Torch-FL#66",) if op == "random_normal" else (),
                )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    yield from _before()
    yield from _drawing()
    yield from _numbers()
