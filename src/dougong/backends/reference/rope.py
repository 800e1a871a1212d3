"""Rotary position embedding in float64."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from dougong.backends.port import Array, Call


def dim_of(call: Call) -> int:
    """Return how many values of a head are turned."""
    given = int(call.get("dim", 0))
    return given or call.inputs["x" if "x" in call.inputs else "q"].shape[-1]


def scaling_of(call: Call) -> Mapping[str, Any]:
    """Return the scaling of the angles; empty where there is none."""
    return call.get("scaling") or {}


def blend(call: Call) -> Array:
    """Return the share of the slowed frequency in each [dim/2]: 0 as trained, 1 slowed by the whole factor."""
    scaling, dim, base = scaling_of(call), dim_of(call), float(call.get("base", 1e4))
    index = np.arange(dim // 2)
    kind = scaling.get("type")
    if kind == "linear":
        return np.ones(dim // 2)
    if kind == "llama3":
        turns = scaling["original"] * base ** (-2.0 * index / dim) / (2 * math.pi)
        low, high = scaling["low"], scaling["high"]
        return 1.0 - np.clip((turns - low) / (high - low), 0.0, 1.0)
    if kind == "yarn":
        first, last = (
            dim * math.log(scaling["original"] / (scaling[name] * 2 * math.pi)) / (2 * math.log(base))
            for name in ("fast", "slow")
        )
        if scaling.get("truncate", True):
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, dim - 1)
        return np.clip((index - first) / (last - first if last != first else 0.001), 0.0, 1.0)
    return np.zeros(dim // 2)


def frequencies(call: Call) -> Array:
    """Return the angle per position [dim/2, rad]."""
    scaling, dim, base = scaling_of(call), dim_of(call), float(call.get("base", 1e4))
    if scaling.get("type") == "dynamic":
        grown = scaling["factor"] * scaling["length"] / scaling["original"] - (scaling["factor"] - 1)
        base *= grown ** (dim / (dim - 2))
    plain = base ** (-2.0 * np.arange(dim // 2) / dim)
    share = blend(call)
    return plain * (1 - share) + plain / float(scaling.get("factor", 1.0)) * share


def attention_factor(call: Call) -> float:
    """Return what cos and sin are multiplied by: 1, or that of YaRN."""
    return float(scaling_of(call).get("attention_factor", 1.0))


def section_of(call: Call) -> Array:
    """Return which of three positions each pair takes [dim/2]."""
    sections, half = tuple(call.get("sections", ())), dim_of(call) // 2
    if not call.get("interleaved", False):
        return np.repeat(np.arange(3), sections)
    index = np.arange(half)
    which = np.zeros(half, np.int64)
    for place in (1, 2):
        which[(index % 3 == place) & (index < 3 * sections[place])] = place
    return which


def angles(call: Call, positions: Array) -> Array:
    """Return the angles of positions ``[t]``, or ``[3, t]`` with sections [t dim/2, rad]."""
    at = positions.astype(np.float64)
    if positions.ndim == 2:
        return at[section_of(call)].T * frequencies(call)
    return at[:, None] * frequencies(call)


def split(x: Array, dim: int, style: str) -> tuple[Array, Array, Array]:
    """Return both members of every pair and what is not turned."""
    turned, rest = x[..., :dim], x[..., dim:]
    if style == "interleaved":
        return turned[..., 0::2], turned[..., 1::2], rest
    return turned[..., : dim // 2], turned[..., dim // 2 :], rest


def joined(first: Array, second: Array, rest: Array, style: str) -> Array:
    """Undo :func:`split`."""
    if style == "interleaved":
        pairs = np.stack((first, second), axis=-1).reshape(*first.shape[:-1], -1)
        return np.concatenate((pairs, rest), axis=-1)
    return np.concatenate((first, second, rest), axis=-1)


def turned(call: Call, x: Array, cos: Array, sin: Array) -> Array:
    """Turn ``x [t, h, d]`` by angles ``[t, dim/2]``."""
    style, dim = str(call.get("style", "neox")), 2 * cos.shape[-1]
    first, second, rest = split(x.astype(np.float64), dim, style)
    cos, sin = cos[:, None], sin[:, None]
    return joined(first * cos - second * sin, second * cos + first * sin, rest, style)


def tables(call: Call, positions: Array) -> tuple[Array, Array]:
    """Return cos and sin at positions, scaled."""
    at, factor = angles(call, positions), attention_factor(call)
    return np.cos(at) * factor, np.sin(at) * factor


def rope_angles(call: Call) -> dict[str, Array]:
    """Return the tables of cos and sin."""
    cos, sin = tables(call, call.inputs["positions"])
    return {"cos": cos, "sin": sin}


def rope(call: Call) -> dict[str, Array]:
    """Turn every head by its token's position."""
    return {"y": turned(call, call.inputs["x"], *tables(call, call.inputs["positions"]))}


def rope_cached(call: Call) -> dict[str, Array]:
    """Turn by given rows of cos and sin."""
    positions = call.inputs["positions"]
    cos, sin = (call.inputs[name].astype(np.float64)[positions] for name in ("cos", "sin"))
    return {"y": turned(call, call.inputs["x"], cos, sin)}


def rope_scores(call: Call) -> dict[str, Array]:
    """Products of turned queries and keys."""
    q, k = (
        turned(call, call.inputs[name], *tables(call, call.inputs[f"{name}_positions"]))
        for name in ("q", "k")
    )
    return {"scores": np.einsum("thd,shd->hts", q, k)}


FORMULAS = {
    "rope_angles": rope_angles,
    "rope": rope,
    "rope_cached": rope_cached,
    "mrope": rope,
    "rope_scores": rope_scores,
}
