"""Rotary position embedding by JAX: angles in float32, as models have them."""

from __future__ import annotations

from typing import Any

import numpy as np

from dougong.backends.jax.arrays import Arrays, jnp, wide
from dougong.backends.port import Array, Call
from dougong.backends.reference.rope import attention_factor, frequencies, section_of


def _named(call: Call, x: Any) -> Call:
    # The reference reads the width of a head off its inputs.
    return Call(op=call.op, inputs={"x": np.empty((0, x.shape[-1]))}, attributes=call.attributes)


def _tables(call: Call, table: Array, positions: Any) -> tuple[Any, Any]:
    angles = positions.astype(jnp.float32)[..., None] * jnp.asarray(table, jnp.float32)
    if positions.ndim == 2:
        picked = jnp.asarray(np.eye(3)[:, section_of(call)][:, None, :], jnp.float32)
        angles = (angles * picked).sum(axis=0)
    factor = attention_factor(call)
    return jnp.cos(angles) * factor, jnp.sin(angles) * factor


def _turned(call: Call, x: Any, cos: Any, sin: Any) -> Any:
    dim, interleaved = 2 * cos.shape[-1], call.get("style", "neox") == "interleaved"
    cos, sin = wide(cos)[:, None], wide(sin)[:, None]
    part, rest = wide(x[..., :dim]), x[..., dim:]
    first, second = (part[..., 0::2], part[..., 1::2]) if interleaved else jnp.split(part, 2, axis=-1)
    pair = (first * cos - second * sin, second * cos + first * sin)
    both = jnp.stack(pair, axis=-1).reshape(part.shape) if interleaved else jnp.concatenate(pair, axis=-1)
    return jnp.concatenate((both.astype(x.dtype), rest), axis=-1)


def rope_angles(call: Call, inputs: Arrays) -> Arrays:
    """Tables of cos and sin in float32."""
    told = _named(call, np.empty((0, int(call.get("dim", 0)))))
    cos, sin = _tables(told, frequencies(told), inputs["positions"])
    return {"cos": cos, "sin": sin}


def rope(call: Call, inputs: Arrays) -> Arrays:
    """Angles, then the rotation, in float32."""
    told = _named(call, inputs["x"])
    return {"y": _turned(call, inputs["x"], *_tables(told, frequencies(told), inputs["positions"]))}


def rope_cached(call: Call, inputs: Arrays) -> Arrays:
    """Rows of the tables by indexing."""
    cos, sin = (inputs[name][inputs["positions"]] for name in ("cos", "sin"))
    return {"y": _turned(call, inputs["x"], cos, sin)}


def rope_scores(call: Call, inputs: Arrays) -> Arrays:
    """Both turned, then multiplied head by head."""
    told = _named(call, inputs["q"])
    q, k = (
        _turned(call, inputs[name], *_tables(told, frequencies(told), inputs[f"{name}_positions"]))
        for name in ("q", "k")
    )
    return {"scores": jnp.matmul(jnp.swapaxes(q, 0, 1), jnp.transpose(k, (1, 2, 0)))}


OPERATORS = {
    "rope_angles": rope_angles,
    "rope": rope,
    "rope_cached": rope_cached,
    "mrope": rope,
    "rope_scores": rope_scores,
}
