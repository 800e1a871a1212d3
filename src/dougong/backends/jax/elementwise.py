"""Casts, activations, elementary functions and views by JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dougong.backends.jax.arrays import Arrays, jnp, lax, nn
from dougong.backends.port import Call

_PLAIN: dict[str, Callable[[Any], Any]] = {
    "silu": nn.silu,
    "gelu_erf": lambda x: nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: nn.gelu(x, approximate=True),
    "relu": nn.relu,
    "relu_squared": lambda x: jnp.square(nn.relu(x)),
    "exp": jnp.exp,
    "exp2": jnp.exp2,
    "expm1": jnp.expm1,
    "log": jnp.log,
    "log2": jnp.log2,
    "log1p": jnp.log1p,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "tanh": jnp.tanh,
    "erf": lax.erf,
    "sqrt": jnp.sqrt,
    "rsqrt": lax.rsqrt,
    "reciprocal": jnp.reciprocal,
    "softplus": nn.softplus,
    "sigmoid": nn.sigmoid,
}

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": jnp.add,
    "multiply": jnp.multiply,
    "divide": jnp.divide,
    "power": jnp.power,
    "maximum": jnp.maximum,
    "minimum": jnp.minimum,
    "floor_divide": jnp.floor_divide,
    "remainder": jnp.remainder,
}


def _plain(call: Call, inputs: Arrays) -> Arrays:
    return {"y": _PLAIN[call.op](inputs["x"])}


def _binary(call: Call, inputs: Arrays) -> Arrays:
    return {"y": _BINARY[call.op](inputs["x"], inputs["other"])}


def _halves(call: Call, inputs: Arrays) -> tuple[Any, Any]:
    x = inputs["x"]
    if call.get("interleaved", call.op == "swiglu_clamped"):
        return x[..., ::2], x[..., 1::2]
    gate, up = jnp.split(x, 2, axis=-1)
    return gate, up


def _gated(call: Call, inputs: Arrays) -> Arrays:
    gate, up = _halves(call, inputs)
    return {"y": _PLAIN["silu" if call.op == "swiglu" else "gelu_tanh"](gate) * up}


def swiglu_clamped(call: Call, inputs: Arrays) -> Arrays:
    """As the model's own code: clamp, sigmoid, product."""
    gate, up = _halves(call, inputs)
    limit = call.get("limit", 7.0)
    gate, up = jnp.minimum(gate, limit), jnp.clip(up, -limit, limit)
    return {"y": gate * nn.sigmoid(call.get("alpha", 1.702) * gate) * (up + 1)}


def clamp(call: Call, inputs: Arrays) -> Arrays:
    """``jnp.clip``."""
    return {"y": jnp.clip(inputs["x"], call.get("low", -1.0), call.get("high", 1.0))}


def cast(call: Call, inputs: Arrays) -> Arrays:
    """``astype``."""
    return {"y": inputs["x"].astype(jnp.dtype(str(call.get("to", "float32"))))}


def cast_round_trip(call: Call, inputs: Arrays) -> Arrays:
    """``astype`` and back."""
    return {"y": inputs["x"].astype(jnp.dtype(str(call.get("through", "bfloat16")))).astype(jnp.float32)}


def _slice(call: Call, x: Any) -> Any:
    start, stop, step = (
        int(call.get(name, usual)) for name, usual in (("start", 0), ("stop", 1), ("step", 1))
    )
    cut = [slice(None)] * x.ndim
    cut[int(call.get("axis", 0))] = slice(start, stop, step)
    return x[tuple(cut)]


def _pad(call: Call, x: Any) -> Any:
    axis = int(call.get("axis", 0)) % x.ndim
    after = [(0, 0)] * x.ndim
    after[axis] = (0, int(call.get("extent", 1)) - x.shape[axis])
    return jnp.pad(x, after)


_VIEWS: dict[str, Callable[[Call, Arrays], Any]] = {
    "copy": lambda call, inputs: jnp.array(inputs["x"]),
    "transpose": lambda call, inputs: jnp.transpose(inputs["x"], call.get("axes", (1, 0))),
    "slice": lambda call, inputs: _slice(call, inputs["x"]),
    "reshape": lambda call, inputs: inputs["x"].reshape(tuple(call.get("shape", (-1,)))),
    "concat": lambda call, inputs: jnp.concatenate(
        (inputs["x"], inputs["other"]), axis=int(call.get("axis", 0))
    ),
    "repeat": lambda call, inputs: jnp.repeat(
        inputs["x"], int(call.get("count", 2)), axis=int(call.get("axis", 0))
    ),
    "pad": lambda call, inputs: _pad(call, inputs["x"]),
    "where": lambda call, inputs: jnp.where(inputs["mask"], inputs["x"], inputs["other"]),
    "flip": lambda call, inputs: jnp.flip(inputs["x"], int(call.get("axis", 0))),
    "roll": lambda call, inputs: jnp.roll(inputs["x"], int(call.get("shift", 1)), int(call.get("axis", 0))),
}


def _view(call: Call, inputs: Arrays) -> Arrays:
    return {"y": _VIEWS[call.op](call, inputs)}


OPERATORS = {
    **dict.fromkeys(_PLAIN, _plain),
    **dict.fromkeys(_BINARY, _binary),
    **dict.fromkeys(_VIEWS, _view),
    "swiglu": _gated,
    "geglu_tanh": _gated,
    "swiglu_clamped": swiglu_clamped,
    "clamp": clamp,
    "cast": cast,
    "cast_round_trip": cast_round_trip,
}
