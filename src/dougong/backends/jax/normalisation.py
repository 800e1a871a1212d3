"""Norms, softmax and reductions by JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dougong.backends.jax.arrays import Arrays, jnp, lax, nn, wide
from dougong.backends.port import Call


def _normed(x: Any, eps: float) -> Any:
    return x * lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + eps)


def _rms(call: Call, x: Any, weight: Any) -> Any:
    weight = wide(weight) + float(call.get("weight_offset", 0.0))
    return (_normed(wide(x), float(call.get("eps", 1e-6))) * weight).astype(x.dtype)


def rms_norm(call: Call, inputs: Arrays) -> Arrays:
    """In float32, as models in JAX have it."""
    return {"y": _rms(call, inputs["x"], inputs["weight"])}


def add_rms_norm(call: Call, inputs: Arrays) -> Arrays:
    """The sum in the dtype, then its norm."""
    total = inputs["x"] + inputs["residual"]
    return {"y": _rms(call, total, inputs["weight"]), "residual_out": total}


def gated_rms_norm(call: Call, inputs: Arrays) -> Arrays:
    """In float32."""
    normed = _normed(wide(inputs["x"]), float(call.get("eps", 1e-6))) * wide(inputs["weight"])
    return {"y": (normed * nn.silu(wide(inputs["gate"]))).astype(inputs["x"].dtype)}


def layer_norm(call: Call, inputs: Arrays) -> Arrays:
    """``nn.standardize`` in float32."""
    y = nn.standardize(wide(inputs["x"]), axis=-1, epsilon=float(call.get("eps", 1e-5)))
    y = y * wide(inputs["weight"])
    y = y + wide(inputs["bias"]) if "bias" in inputs else y
    return {"y": y.astype(inputs["x"].dtype)}


def l2_norm(call: Call, inputs: Arrays) -> Arrays:
    """In float32."""
    x = wide(inputs["x"])
    root = lax.rsqrt(jnp.sum(x * x, axis=-1, keepdims=True) + float(call.get("eps", 1e-6)))
    return {"y": (x * root).astype(inputs["x"].dtype)}


def softmax(call: Call, inputs: Arrays) -> Arrays:
    """``nn.softmax`` in float32."""
    x = inputs["x"]
    return {"y": nn.softmax(wide(x) * float(call.get("scale", 1.0)), axis=-1).astype(x.dtype)}


def log_softmax(call: Call, inputs: Arrays) -> Arrays:
    """``nn.log_softmax`` in float32."""
    return {"y": nn.log_softmax(wide(inputs["x"]), axis=-1).astype(inputs["x"].dtype)}


def logsumexp(call: Call, inputs: Arrays) -> Arrays:
    """``nn.logsumexp`` in float32."""
    return {"y": nn.logsumexp(wide(inputs["x"]), axis=-1).astype(inputs["x"].dtype)}


def softmax_merge(call: Call, inputs: Arrays) -> Arrays:
    """Rescale by the largest, add up, divide: in float32."""
    parts = inputs["lse"]
    top = parts.max(axis=0)
    weights = jnp.exp(parts - top)
    total = weights.sum(axis=0)
    y = (weights[..., None] * wide(inputs["values"])).sum(axis=0) / total[..., None]
    return {"y": y.astype(inputs["values"].dtype), "total": top + jnp.log(total)}


_REDUCE: dict[str, Callable[[Any, int], Any]] = {
    "sum": lambda x, axis: jnp.sum(x, axis=axis),
    "mean": lambda x, axis: jnp.mean(x, axis=axis),
    "vector_norm": lambda x, axis: jnp.linalg.norm(wide(x), axis=axis).astype(x.dtype),
    "max": lambda x, axis: jnp.max(x, axis=axis),
    "min": lambda x, axis: jnp.min(x, axis=axis),
    "cumsum": lambda x, axis: jnp.cumsum(x, axis=axis),
    "sum_integers": lambda x, axis: jnp.sum(x, axis=axis, dtype=jnp.int64),
    "cumsum_integers": lambda x, axis: jnp.cumsum(x, axis=axis, dtype=jnp.int64),
}


def _reduce(call: Call, inputs: Arrays) -> Arrays:
    return {"y": _REDUCE[call.op](inputs["x"], int(call.get("axis", -1)))}


OPERATORS = {
    **dict.fromkeys(_REDUCE, _reduce),
    "rms_norm": rms_norm,
    "add_rms_norm": add_rms_norm,
    "gated_rms_norm": gated_rms_norm,
    "layer_norm": layer_norm,
    "l2_norm": l2_norm,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "logsumexp": logsumexp,
    "softmax_merge": softmax_merge,
}
