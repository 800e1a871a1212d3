"""Products of quantised matrices in float64: what the bits stand for, then the plain sum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dougong.backends.port import Array, Call

E2M1 = np.array([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
"""Magnitudes of the 4-bit float by its low three bits; the fourth is the sign."""


def int8_matmul(call: Call) -> dict[str, Array]:
    """Sum of products of integers, less their zero points, exact."""
    x = call.inputs["x"].astype(np.float64) - call.get("x_zero_point", 0)
    weight = call.inputs["weight"].astype(np.float64) - call.get("weight_zero_point", 0)
    return {"y": (x @ weight.T).astype(np.int64)}  # below 2^53 every float64 sum of integers is exact


def unpacked(packed: Array) -> Array:
    """Return the 4-bit values of bytes, the low half first."""
    return np.stack((packed & 15, packed >> 4), axis=-1).reshape(*packed.shape[:-1], -1)


def _spread(scale: Array, size: int, extent: int, axis: int = -1) -> Array:
    """Repeat one scale per block of ``size`` along an axis of ``extent`` elements."""
    return np.repeat(scale.astype(np.float64), size, axis=axis).take(np.arange(extent), axis=axis)


def _e2m1(packed: Array) -> Array:
    code = unpacked(packed)
    return np.where(code & 8, -1.0, 1.0) * E2M1[code & 7]


def _power(scale: Array) -> Array:
    return np.where(scale == 255, np.nan, np.exp2(scale.astype(np.float64) - 127))


def _eight(call: Call) -> tuple[Array, Array]:
    x, weight, x_scale, weight_scale = (
        call.inputs[name].astype(np.float64) for name in ("x", "weight", "x_scale", "weight_scale")
    )
    if call.answer_to("subnormals") == "flushed":
        x_scale, weight_scale = (
            np.where(np.abs(each) < 2.0**-126, 0.0, each) for each in (x_scale, weight_scale)
        )
    return x * x_scale[:, None], weight * weight_scale[:, None]


def _w8a16(call: Call) -> tuple[Array, Array]:
    x, weight, scale = (call.inputs[name].astype(np.float64) for name in ("x", "weight", "weight_scale"))
    return x, weight * scale[:, None]


def _w4a16(call: Call) -> tuple[Array, Array]:
    x, group = call.inputs["x"].astype(np.float64), int(call.get("group", 128))
    extent = x.shape[1]
    zero = 8.0
    if "weight_zero_point" in call.inputs:
        zero = _spread(call.inputs["weight_zero_point"], group, extent)
    scale = _spread(call.inputs["weight_scale"], group, extent)
    return x, (unpacked(call.inputs["weight"]).astype(np.float64) - zero) * scale


def _fp8_block(call: Call) -> tuple[Array, Array]:
    x, weight = (call.inputs[name].astype(np.float64) for name in ("x", "weight"))
    block = int(call.get("block", 128))
    scale = _spread(_spread(call.inputs["weight_scale"], block, weight.shape[1]), block, weight.shape[0], 0)
    return x * _spread(call.inputs["x_scale"], block, x.shape[1]), weight * scale


def _mxfp8(call: Call) -> tuple[Array, Array]:
    x, weight = (call.inputs[name].astype(np.float64) for name in ("x", "weight"))
    scales = (_spread(_power(call.inputs[name]), 32, x.shape[1]) for name in ("x_scale", "weight_scale"))
    x_scale, weight_scale = scales
    return x * x_scale, weight * weight_scale


def _mxfp4(call: Call) -> tuple[Array, Array]:
    x = call.inputs["x"].astype(np.float64)
    scale = _spread(_power(call.inputs["weight_scale"]), 32, x.shape[1])
    return x, _e2m1(call.inputs["weight"]) * scale


def _nvfp4(call: Call) -> tuple[Array, Array]:
    x = call.inputs["x"].astype(np.float64)
    scale = _spread(call.inputs["weight_scale"], 16, x.shape[1])
    return x, _e2m1(call.inputs["weight"]) * scale * call.inputs["weight_scale_2"].astype(np.float64)


DEQUANTISED: dict[str, Callable[[Call], tuple[Array, Array]]] = {
    "linear_w8a8": _eight,
    "linear_w8a16": _w8a16,
    "linear_w4a16": _w4a16,
    "linear_fp8": _eight,
    "linear_fp8_block": _fp8_block,
    "linear_mxfp8": _mxfp8,
    "linear_mxfp4": _mxfp4,
    "linear_nvfp4": _nvfp4,
}
"""From a call to the activations and weights that its bits stand for, in float64, by operator."""


def _product(call: Call) -> dict[str, Array]:
    x, weight = DEQUANTISED[call.op](call)
    return {"y": x @ weight.T}


FORMULAS: dict[str, Callable[[Call], dict[str, Array]]] = {
    "int8_matmul": int8_matmul,
    **dict.fromkeys(DEQUANTISED, _product),
}
