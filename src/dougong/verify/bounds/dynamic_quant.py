"""Quantisation at run time: a ratio of float32 may fall on either side of a tie, and nothing else may differ."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.dynamic_quant import LARGEST, grouped
from dougong.verify.bound import UNIT_ROUNDOFF, Rule

_ROUNDINGS = 4 * UNIT_ROUNDOFF["float32"]
"""Of the scale, of its reciprocal, of the ratio, and one to spare where 1 / largest is multiplied."""


def dynamic_quant(call: Call, exact: Mapping[str, Array]) -> dict[str, Rule]:
    """Half a step and the float32 roundings of a ratio; groups with NaN or infinity are free."""
    x, to, group = call.inputs["x"], str(call.get("to", "int8")), int(call.get("group", 0))
    most = np.max(np.abs(grouped(x, group)), axis=-1)
    free = ~np.isfinite(most)
    columns = np.arange(x.shape[1], dtype=np.int64) // (group or max(x.shape[1], 1))
    loose = free[:, columns]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = x.astype(np.float64) * (LARGEST[to] / most)[:, columns]
    ratio = np.where(most[:, columns] == 0, 0.0, ratio)
    # A group of zeros may have any scale: only that it is a number is asked.
    scale = Rule(
        holds=lambda outputs: (
            free
            | np.where(
                most == 0,
                np.isfinite(outputs["scale"]) & (outputs["scale"] >= 0),
                np.abs(outputs["scale"].astype(np.float64) * LARGEST[to] - most) <= _ROUNDINGS * most,
            )
        ),
        says="a scale that is not that of its group",
    )
    if to == "int8":
        far = 0.5 + np.abs(ratio) * _ROUNDINGS
        return {
            "q": Rule(
                holds=lambda outputs: loose | (np.abs(outputs["q"].astype(np.float64) - ratio) <= far),
                says="more than half a step from x / scale",
            ),
            "scale": scale,
        }
    return {"q": _float8(ratio, loose), "scale": scale}


def _float8(ratio: Array, loose: Array) -> Rule:
    step = np.maximum(np.abs(ratio), 2.0**-6) * UNIT_ROUNDOFF["float8_e4m3fn"] + np.abs(ratio) * _ROUNDINGS
    half = np.exp2(np.floor(np.log2(np.maximum(np.abs(ratio), 2.0**-6)))) * UNIT_ROUNDOFF["float8_e4m3fn"]
    far = np.minimum(step, half + np.abs(ratio) * _ROUNDINGS)
    return Rule(
        holds=lambda outputs: loose | (np.abs(outputs["q"].astype(np.float64) - ratio) <= far),
        says="more than half a step from x / scale",
    )


def dynamic_quant_asymmetric(call: Call, exact: Mapping[str, Array]) -> dict[str, Rule]:
    """The zero point within half a step; the integers within half a step of the ratio beside that zero point."""
    x = call.inputs["x"].astype(np.float64)
    low, high = np.minimum(x.min(-1), 0.0), np.maximum(x.max(-1), 0.0)
    scale = (high - low) / 255.0
    free, zeros = ~np.isfinite(scale), scale == 0
    safe = np.where(free | zeros, 1.0, scale)
    ratio, origin = x / safe[:, None], -low / safe
    far = 0.5 + 255 * _ROUNDINGS

    def integers(outputs: Mapping[str, Array]) -> Array:
        zero = outputs["zero_point"].astype(np.float64)[:, None]
        away = np.abs(outputs["q"].astype(np.float64) - np.clip(ratio + zero, 0, 255)) <= far
        return free[:, None] | np.where(zeros[:, None], outputs["q"] == zero, away)

    return {
        "q": Rule(holds=integers, says="more than half a step from x / scale + zero_point"),
        "scale": Rule(
            holds=lambda outputs: (
                free
                | np.where(
                    zeros,
                    np.isfinite(outputs["scale"]),
                    np.abs(outputs["scale"].astype(np.float64) - scale) <= _ROUNDINGS * scale,
                )
            ),
            says="a scale that is not that of its row",
        ),
        "zero_point": Rule(
            holds=lambda outputs: (
                free
                | zeros & (outputs["zero_point"] >= 0) & (outputs["zero_point"] <= 255)
                | ~zeros & (np.abs(outputs["zero_point"] - origin) <= far)
            ),
            says="a zero point more than half a step from -low / scale",
        ),
    }


def static_quant(call: Call, exact: Mapping[str, Array]) -> dict[str, Rule]:
    """Half a step, and one float32 rounding of the ratio; a tie that float32 keeps is decided by its switch."""
    to = str(call.get("to", "int8"))
    ratio = call.inputs["x"].astype(np.float64) / call.inputs["scale"].astype(np.float64)
    nan = np.isnan(ratio)
    if to == "int8":
        inside = np.clip(ratio, -128, 127)
        tie = np.abs(inside) % 1 == 0.5
        far = np.where(tie, 0.0, 0.5 + np.abs(inside) * _ROUNDINGS)
        centre = np.where(tie, exact["q"], inside)
        return {
            "q": Rule(
                holds=lambda outputs: nan | (np.abs(outputs["q"].astype(np.float64) - centre) <= far),
                says="more than half a step from x / scale, or a tie the other way",
            )
        }
    return {"q": _float8(np.clip(ratio, -LARGEST[to], LARGEST[to]), nan)}


BOUNDS = {
    "dynamic_quant": dynamic_quant,
    "dynamic_quant_asymmetric": dynamic_quant_asymmetric,
    "static_quant": static_quant,
}
