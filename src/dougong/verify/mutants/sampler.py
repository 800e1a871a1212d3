"""Faults of sampling and of random numbers."""

from __future__ import annotations

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.sampler import filtered
from dougong.verify.mutant import Mutant
from dougong.verify.mutants.faults import after, before, wide, with_inputs

_DRAWS = "random_normal random_uniform random_exponential"


def _drawn(call: Call, sharpness: float = 1.0, seeds: Array | None = None) -> Array:
    """Draw honestly, as the reference does not, or from probabilities to a power."""
    p = filtered(call) ** sharpness
    seeds = call.inputs["seeds"] if seeds is None else seeds
    rows = [
        np.random.default_rng(int(seed)).choice(len(row), int(call.get("draws", 1)), p=row / row.sum())
        for row, seed in zip(p, seeds, strict=True)
    ]
    return np.stack(rows)


def _crossing_token_out(call: Call) -> Call:
    if "top_p" not in call.inputs:
        return call
    p = np.sort(filtered(with_inputs(call, top_p=np.ones(len(call.inputs["top_p"])))), axis=-1)[:, ::-1]
    wanted = wide(call.inputs["top_p"])[:, None]
    below = np.max(np.where(np.cumsum(p, axis=-1) <= wanted, np.cumsum(p, axis=-1), 0.0), axis=-1)
    mass = np.where((below > 0) & (wanted[:, 0] < 1), below * (1 - 1e-4), wanted[:, 0])
    return with_inputs(call, top_p=mass)


def _one_more(call: Call) -> Call:
    if "top_k" not in call.inputs:
        return call
    top_k = call.inputs["top_k"]
    return with_inputs(call, top_k=np.where(top_k > 0, top_k + 1, top_k))


def _absolute_share(call: Call) -> Call:
    if "min_p" not in call.inputs:
        return call
    top = np.max(filtered(with_inputs(call, min_p=np.zeros(len(call.inputs["min_p"])))), axis=-1)
    return with_inputs(call, min_p=np.minimum(wide(call.inputs["min_p"]) / np.maximum(top, 1e-9), 1.0))


def _first_row(name: str, call: Call) -> Call:
    return with_inputs(call, **{name: np.full_like(call.inputs[name], call.inputs[name][0])})


def _negatives_divided(call: Call, y: Array) -> Array:
    logits, repetition = wide(call.inputs["logits"]), wide(call.inputs["repetition"])[:, None]
    changed = logits != wide(y)
    return np.where((logits < 0) & changed & (repetition != 1), wide(y) / repetition**2, wide(y))


def _prompt_counted(call: Call) -> Call:
    both = np.concatenate([call.inputs["prompt"], call.inputs["output"]], axis=1)
    return with_inputs(call, output=both)


def _second_half_again(call: Call, y: Array) -> Array:
    half = len(y) // 2
    y[half : 2 * half] = y[:half]
    return y


def _neighbours_alike(call: Call, y: Array) -> Array:
    y[1::2] = y[: len(y) // 2 * 2 : 2]
    return y


def _from_target(call: Call, tokens: Array) -> Array:
    for row, drafted in enumerate(call.inputs["draft"]):
        at = int(np.sum(tokens[row] >= 0)) - 1
        if at < len(drafted):
            tokens[row, at] = np.argmax(
                wide(call.inputs["target_p"][row, at]) / wide(call.inputs["exponential"][row, at])
            )
    return tokens


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="randn-zeros",
        fault="normal numbers are all 0",
        caught_by="sampler/random-normal",
        wrong=after("random_normal", "y", lambda call, y: np.zeros_like(y)),
        provenance=("flagos-ai/Torch-FL#66",),
    ),
    Mutant(
        name="normal-too-narrow",
        fault="normal numbers have a standard deviation of 0.95",
        caught_by="sampler/random-normal",
        wrong=after("random_normal", "y", lambda call, y: 0.95 * wide(y)),
    ),
    Mutant(
        name="stream-repeats",
        fault="the second half of the numbers is the first again",
        caught_by="sampler/random-uniform",
        wrong=after(_DRAWS, "y", _second_half_again),
    ),
    Mutant(
        name="neighbours-alike",
        fault="random numbers come in equal pairs",
        caught_by="sampler/random-uniform",
        wrong=after(_DRAWS, "y", _neighbours_alike),
    ),
    Mutant(
        name="uniform-reaches-one",
        fault="uniform numbers may be 1",
        caught_by="sampler/random-uniform",
        wrong=after("random_uniform", "y", lambda call, y: np.where(wide(y) > 0.999, 1.0, wide(y))),
    ),
    Mutant(
        name="crossing-token-out",
        fault="the token that crosses top_p is left out",
        caught_by="sampler/filter-top-p",
        wrong=before("filter_probabilities", _crossing_token_out),
    ),
    Mutant(
        name="top-k-one-more",
        fault="top_k keeps k + 1",
        caught_by="sampler/filter-top-k",
        wrong=before("filter_probabilities", _one_more),
    ),
    Mutant(
        name="min-p-absolute",
        fault="min_p is a probability, not a share of the largest",
        caught_by="sampler/filter-min-p",
        wrong=before("filter_probabilities", _absolute_share),
    ),
    Mutant(
        name="first-row-rules",
        fault="the first row's temperature is everyone's",
        caught_by="sampler/filter-mixed",
        wrong=before("filter_probabilities", lambda call: _first_row("temperature", call)),
    ),
    Mutant(
        name="repetition-divides-negatives",
        fault="a repeated token of negative logit becomes likelier",
        caught_by="sampler/penalties-repetition",
        wrong=after("apply_penalties", "y", _negatives_divided),
    ),
    Mutant(
        name="frequency-counts-the-prompt",
        fault="tokens of the prompt count for frequency and presence",
        caught_by="sampler/penalties-",
        wrong=before("apply_penalties", _prompt_counted),
    ),
    Mutant(
        name="one-token-for-ever",
        fault="the same token is drawn every time",
        caught_by="sampler/sample-temperature",
        wrong=after(
            "sample", "tokens", lambda call, tokens: np.repeat(_drawn(call)[:, :1], tokens.shape[1], axis=1)
        ),
    ),
    Mutant(
        name="draws-too-sharp",
        fault="tokens are drawn from probabilities to the power of 1.1",
        caught_by="sampler/sample-temperature",
        wrong=after("sample", "tokens", lambda call, tokens: _drawn(call, 1.1)),
    ),
    Mutant(
        name="one-seed-for-all",
        fault="the first row's seed is everyone's",
        caught_by="sampler/sample-next-seeds",
        wrong=after(
            "sample",
            "tokens",
            lambda call, tokens: _drawn(call, seeds=np.full(len(tokens), call.inputs["seeds"][0])),
        ),
    ),
    Mutant(
        name="draws-outside-the-nucleus",
        fault="one draw in a thousand is any token",
        caught_by="sampler/sample-top-",
        wrong=after(
            "sample",
            "tokens",
            lambda call, tokens: np.where(
                np.arange(int(tokens.shape[1])) % 1000 == 0, call.inputs["logits"].shape[1] - 1, _drawn(call)
            ),
        ),
    ),
    Mutant(
        name="recovered-from-the-target",
        fault="after a refused draft the token is drawn from the model, not from what is left",
        caught_by="sampler/drafts-",
        wrong=after("rejection_sample", "tokens", _from_target),
    ),
    Mutant(
        name="normal-without-tails",
        fault="normal numbers end at 3.5",
        caught_by="sampler/random-normal",
        wrong=after("random_normal", "y", lambda call, y: np.clip(wide(y), -3.5, 3.5)),
    ),
    Mutant(
        name="seed-not-read",
        fault="every seed gives the same numbers",
        caught_by="sampler/random-uniform",
        wrong=before("random_uniform", lambda call: with_inputs(call, seed=np.array(5))),
    ),
)
