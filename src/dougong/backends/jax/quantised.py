"""Quantisation at run time, and products of quantised matrices, by JAX."""

from __future__ import annotations

from typing import Any

from dougong.backends.jax.arrays import Arrays, jnp, wide
from dougong.backends.jax.dense import integers
from dougong.backends.port import Call

_LARGEST = {"int8": 127.0, "float8_e4m3fn": 448.0}


def _rounded(ratio: Any, to: str) -> Any:
    if to == "int8":
        return jnp.clip(jnp.round(ratio), -128, 127).astype(jnp.int8)
    return jnp.clip(ratio, -_LARGEST[to], _LARGEST[to]).astype(jnp.dtype(to))


def dynamic_quant(call: Call, inputs: Arrays) -> Arrays:
    """``max`` of each group, then the ratio rounded."""
    x, to = wide(inputs["x"]), str(call.get("to", "int8"))
    rows, columns = x.shape
    size = int(call.get("group", 0)) or columns
    groups = jnp.pad(x, ((0, 0), (0, -columns % size))).reshape(rows, -(-columns // size), size)
    scale = jnp.abs(groups).max(-1) / _LARGEST[to]
    ratio = groups / jnp.where(scale == 0, 1.0, scale)[..., None]
    return {"q": _rounded(ratio.reshape(rows, -1)[:, :columns], to), "scale": scale}


def dynamic_quant_asymmetric(call: Call, inputs: Arrays) -> Arrays:
    """The extent of each row over 255 steps, zero among them."""
    x = wide(inputs["x"])
    low, high = jnp.minimum(x.min(-1), 0.0), jnp.maximum(x.max(-1), 0.0)
    scale = (high - low) / 255.0
    divisor = jnp.where(scale == 0, 1.0, scale)
    point = jnp.round(-low / divisor)
    q = jnp.clip(jnp.round(x / divisor[:, None]) + point[:, None], 0, 255)
    return {"q": q.astype(jnp.uint8), "scale": scale, "zero_point": point.astype(jnp.int32)}


def static_quant(call: Call, inputs: Arrays) -> Arrays:
    """One scale for all."""
    return {"q": _rounded(wide(inputs["x"]) / inputs["scale"], str(call.get("to", "int8")))}


def _out(call: Call) -> Any:
    return jnp.dtype(str(call.get("out_dtype", "bfloat16")))


def _spread(scale: Any, size: int, extent: int) -> Any:
    return jnp.repeat(scale, size, axis=-1)[..., :extent]


def _nibbles(packed: Any) -> Any:
    return jnp.stack((packed & 15, packed >> 4), axis=-1).reshape(packed.shape[0], -1)


def linear_w8a8(call: Call, inputs: Arrays) -> Arrays:
    """The int32 product, scaled in float32."""
    y = wide(integers(inputs["x"], inputs["weight"]))
    x_scale = inputs["x_scale"]
    rows = x_scale[:, None] if x_scale.ndim else x_scale
    return {"y": (y * rows * inputs["weight_scale"]).astype(_out(call))}


def linear_w8a16(call: Call, inputs: Arrays) -> Arrays:
    """Weights widened to the dtype of the activations."""
    x = inputs["x"]
    return {"y": jnp.matmul(x, (inputs["weight"].astype(x.dtype) * inputs["weight_scale"][:, None]).T)}


def linear_w4a16(call: Call, inputs: Arrays) -> Arrays:
    """Nibbles widened to the dtype of the activations, group by group."""
    x, group = inputs["x"], int(call.get("group", 128))
    code, zero = _nibbles(inputs["weight"]).astype(x.dtype), jnp.asarray(8, x.dtype)
    if "weight_zero_point" in inputs:
        zero = _spread(inputs["weight_zero_point"].astype(x.dtype), group, x.shape[1])
    return {"y": jnp.matmul(x, ((code - zero) * _spread(inputs["weight_scale"], group, x.shape[1])).T)}


def linear_fp8(call: Call, inputs: Arrays) -> Arrays:
    """Both widened to float32, the sum scaled."""
    y = jnp.matmul(wide(inputs["x"]), wide(inputs["weight"]).T)
    x_scale = inputs["x_scale"]
    rows = x_scale[:, None] if x_scale.ndim else x_scale
    return {"y": (y * rows * inputs["weight_scale"]).astype(_out(call))}


def linear_fp8_block(call: Call, inputs: Arrays) -> Arrays:
    """Both widened to float32 and scaled, block by block."""
    block, (n, k) = int(call.get("block", 128)), inputs["weight"].shape
    scale = _spread(_spread(inputs["weight_scale"], block, k).T, block, n).T
    x = wide(inputs["x"]) * _spread(inputs["x_scale"], block, k)
    return {"y": jnp.matmul(x, (wide(inputs["weight"]) * scale).T).astype(_out(call))}


OPERATORS = {
    "dynamic_quant": dynamic_quant,
    "dynamic_quant_asymmetric": dynamic_quant_asymmetric,
    "static_quant": static_quant,
    "linear_w8a8": linear_w8a8,
    "linear_w8a16": linear_w8a16,
    "linear_w4a16": linear_w4a16,
    "linear_fp8": linear_fp8,
    "linear_fp8_block": linear_fp8_block,
}
