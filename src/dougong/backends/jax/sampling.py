"""Sampling by JAX: sorts, masks and ``jax.random``."""

from __future__ import annotations

from typing import Any

from dougong.backends.jax.arrays import Arrays, jax, jnp, nn
from dougong.backends.port import Call

_GREEDY_BELOW = 1e-5


def _added(wide: Any, ids: Any, values: Any) -> Any:
    """Add along the last axis; -1 is padding and is dropped."""
    rows = jnp.arange(ids.shape[0])[:, None]
    return wide.at[rows, jnp.where(ids < 0, wide.shape[1], ids)].add(values, mode="drop")


def apply_penalties(call: Call, inputs: Arrays) -> Arrays:
    """Counts by ``.at[].add``, then element by element."""
    logits = inputs["logits"]
    used, said = (_added(jnp.zeros_like(logits), inputs[name], 1.0) for name in ("prompt", "output"))
    repetition, presence, frequency = (
        inputs[name][:, None] for name in ("repetition", "presence", "frequency")
    )
    scaled = jnp.where(logits > 0, logits / repetition, logits * repetition)
    y = jnp.where(used + said > 0, scaled, logits)
    return {"y": y - frequency * said - presence * (said > 0)}


def logit_bias(call: Call, inputs: Arrays) -> Arrays:
    """``.at[].add``."""
    return {"y": _added(inputs["logits"], inputs["ids"], inputs["bias"])}


def _filtered(inputs: Arrays) -> Any:
    logits, temperature = inputs["logits"], inputs["temperature"][:, None]
    n, greedy = logits.shape[1], temperature < _GREEDY_BELOW
    ranks = jnp.argsort(logits, axis=-1, stable=True, descending=True)
    ordered = jnp.take_along_axis(logits, ranks, axis=-1) / jnp.where(greedy, 1.0, temperature)
    place = jnp.arange(n)
    if "top_k" in inputs:
        top_k = inputs["top_k"][:, None]
        ordered = jnp.where(place < jnp.where(top_k <= 0, n, top_k), ordered, -jnp.inf)
    if "top_p" in inputs:
        top_p, p = inputs["top_p"][:, None], nn.softmax(ordered, axis=-1)
        kept = (jnp.cumsum(p, axis=-1) - p < top_p) | (top_p >= 1.0) | (place == 0)
        ordered = jnp.where(kept, ordered, -jnp.inf)
    if "min_p" in inputs:
        p = nn.softmax(ordered, axis=-1)
        ordered = jnp.where(p < inputs["min_p"][:, None] * p[:, :1], -jnp.inf, ordered)
    p = jnp.where(greedy, (place == 0).astype(logits.dtype), nn.softmax(ordered, axis=-1))
    return jnp.zeros_like(logits).at[jnp.arange(logits.shape[0])[:, None], ranks].set(p)


def filter_probabilities(call: Call, inputs: Arrays) -> Arrays:
    """Sort, mask, softmax, and back to the order of the vocabulary."""
    return {"p": _filtered(inputs)}


def sample(call: Call, inputs: Arrays) -> Arrays:
    """``jax.random.categorical``, one key per row."""
    draws = int(call.get("draws", 1))

    def row(p: Any, seed: Any) -> Any:
        return jax.random.categorical(jax.random.key(seed), jnp.log(p), shape=(draws,))

    return {"tokens": jax.vmap(row)(_filtered(inputs), inputs["seeds"])}


def rejection_sample(call: Call, inputs: Arrays) -> Arrays:
    """All places at once; what follows the first refusal is cut off."""
    draft, q, p = inputs["draft"], inputs["draft_p"], inputs["target_p"]
    s = draft.shape[1]
    of_draft, of_target = (
        jnp.take_along_axis(each, draft[..., None], axis=2)[..., 0] for each in (q, p[:, :s])
    )
    accepted = jnp.cumprod((inputs["uniform"] * of_draft <= of_target).astype(jnp.int32), axis=1)
    count = accepted.sum(axis=1, keepdims=True)
    residual = jnp.concatenate((jnp.maximum(p[:, :s] - q, 0), p[:, s:]), axis=1)
    recovered = jnp.argmax(residual / inputs["exponential"], axis=2)
    place, drafts = jnp.arange(s + 1), jnp.pad(draft, ((0, 0), (0, 1)), constant_values=-1)
    return {"tokens": jnp.where(place < count, drafts, jnp.where(place == count, recovered, -1))}


def _drawn(call: Call, inputs: Arrays) -> Arrays:
    draw = getattr(jax.random, call.op.removeprefix("random_"))
    shape, dtype = (int(call.get("n", 1)),), jnp.dtype(str(call.get("dtype", "float32")))
    return {"y": draw(jax.random.key(inputs["seed"]), shape, dtype)}


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
