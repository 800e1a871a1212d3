"""Matrix products and adapters by JAX."""

from __future__ import annotations

from typing import Any

from dougong.backends.jax.arrays import Arrays, jnp, lax
from dougong.backends.port import Call


def linear(call: Call, inputs: Arrays) -> Arrays:
    """``jnp.matmul`` of the transposed weight."""
    y = jnp.matmul(inputs["x"], inputs["weight"].T)
    return {"y": y + inputs["bias"] if "bias" in inputs else y}


def matmul(call: Call, inputs: Arrays) -> Arrays:
    """``jnp.matmul``."""
    return {"y": jnp.matmul(inputs["a"], inputs["b"])}


def integers(x: Any, weight: Any) -> Any:
    """Return the int32 product of ``[m, k]`` and ``[n, k]``."""
    return lax.dot_general(x, weight, (((1,), (1,)), ((), ())), preferred_element_type=jnp.int32)


def int8_matmul(call: Call, inputs: Arrays) -> Arrays:
    """``lax.dot_general`` summed in int32; with zero points, of int32."""
    x, weight = inputs["x"], inputs["weight"]
    points = int(call.get("x_zero_point", 0)), int(call.get("weight_zero_point", 0))
    if any(points) or x.dtype != weight.dtype:
        x, weight = x.astype(jnp.int32) - points[0], weight.astype(jnp.int32) - points[1]
    return {"y": integers(x, weight)}


def lora_merge(call: Call, inputs: Arrays) -> Arrays:
    """One more product, added."""
    delta = jnp.matmul(inputs["up"], inputs["down"])
    return {"y": inputs["weight"] + delta * inputs["scaling"].astype(delta.dtype)}


def lora_linear(call: Call, inputs: Arrays) -> Arrays:
    """The base layer, and each row's adapter gathered."""
    x, adapter = inputs["x"], inputs["adapter"]
    there = jnp.maximum(adapter, 0)
    middle = jnp.einsum("mk,mrk->mr", x, inputs["down"][there])
    delta = jnp.einsum("mr,mnr->mn", middle, inputs["up"][there])
    delta = delta * inputs["scaling"][there].astype(x.dtype)[:, None]
    return {"y": jnp.matmul(x, inputs["weight"].T) + jnp.where((adapter >= 0)[:, None], delta, 0)}


OPERATORS = {
    "linear": linear,
    "matmul": matmul,
    "int8_matmul": int8_matmul,
    "lora_merge": lora_merge,
    "lora_linear": lora_linear,
}
