"""Quantisation at run time: the exact ratios, before they are rounded."""

from __future__ import annotations

import numpy as np

from dougong.backends.port import Array, Call

LARGEST = {"int8": 127.0, "float8_e4m3fn": 448.0}


def grouped(x: Array, group: int) -> Array:
    """Return ``x [m, k]`` in float64 as ``[m, groups, group]``; the last group is filled up with zeros."""
    rows, columns = x.shape
    size = group or max(columns, 1)
    count = -(-columns // size)
    wide = np.zeros((rows, count * size))
    wide[:, :columns] = x.astype(np.float64)
    return wide.reshape(rows, count, size)


def dynamic_quant(call: Call) -> dict[str, Array]:
    """Return ``x / scale`` and the scale; a group of zeros has a scale of 0 and ratios of 0."""
    x, to = call.inputs["x"], str(call.get("to", "int8"))
    groups = grouped(x, int(call.get("group", 0)))
    most = np.max(np.abs(groups), axis=-1)
    scale = most / LARGEST[to]
    with np.errstate(invalid="ignore"):
        ratio = np.divide(groups, scale[..., None], out=np.zeros_like(groups), where=scale[..., None] != 0)
    whole = ratio.reshape(x.shape[0], -1)[:, : x.shape[1]]
    return {"q": whole if to != "int8" else _nearest(whole), "scale": scale}


def dynamic_quant_asymmetric(call: Call) -> dict[str, Array]:
    """Return the integers, the scale and the zero point."""
    x = call.inputs["x"].astype(np.float64)
    low, high = np.minimum(x.min(-1), 0.0), np.maximum(x.max(-1), 0.0)
    scale = (high - low) / 255.0
    safe = np.where(scale == 0, 1.0, scale)
    zero_point = _nearest(-low / safe)
    q = np.clip(_nearest(x / safe[:, None]) + zero_point[:, None], 0, 255)
    return {"q": q, "scale": scale, "zero_point": zero_point}


def static_quant(call: Call) -> dict[str, Array]:
    """Return the saturated ratios: integers for int8."""
    to = str(call.get("to", "int8"))
    ratio = call.inputs["x"].astype(np.float64) / call.inputs["scale"].astype(np.float64)
    if to != "int8":
        return {"q": np.clip(ratio, -LARGEST[to], LARGEST[to])}
    away = call.answer_to("integer_tie") == "away"
    whole = np.copysign(np.floor(np.abs(ratio) + 0.5), ratio) if away else np.round(ratio)
    return {"q": np.clip(whole, -128, 127).astype(np.int64)}


def _nearest(ratio: Array) -> Array:
    return np.nan_to_num(np.round(ratio), nan=0.0, posinf=0.0, neginf=0.0).astype(np.int64)


FORMULAS = {
    "dynamic_quant": dynamic_quant,
    "dynamic_quant_asymmetric": dynamic_quant_asymmetric,
    "static_quant": static_quant,
}
