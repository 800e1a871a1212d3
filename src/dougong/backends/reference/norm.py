"""Norms in float64."""

from __future__ import annotations

import numpy as np

from dougong.backends.dtypes import rounded
from dougong.backends.port import Array, Call


def _wide(call: Call, name: str) -> Array:
    return call.inputs[name].astype(np.float64)


def _normed(x: Array, eps: float) -> Array:
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps)


def rms_norm(call: Call) -> dict[str, Array]:
    """Return ``x / sqrt(mean x^2 + eps) (weight + weight_offset)``."""
    weight = _wide(call, "weight") + float(call.get("weight_offset", 0.0))
    return {"y": _normed(_wide(call, "x"), float(call.get("eps", 1e-6))) * weight}


def add_rms_norm(call: Call) -> dict[str, Array]:
    """Return the norm of the sum, and the sum; the norm is that of the rounded sum."""
    total = _wide(call, "x") + _wide(call, "residual")
    seen = rounded(total, call.inputs["x"].dtype.name).astype(np.float64)
    y = _normed(seen, float(call.get("eps", 1e-6))) * _wide(call, "weight")
    return {"y": y, "residual_out": total}


def gated_rms_norm(call: Call) -> dict[str, Array]:
    """Return the norm times SiLU of the gate."""
    gate = _wide(call, "gate")
    y = _normed(_wide(call, "x"), float(call.get("eps", 1e-6))) * _wide(call, "weight")
    return {"y": y * gate / (1.0 + np.exp(-gate))}


def layer_norm(call: Call) -> dict[str, Array]:
    """Return ``(x - mean) / sqrt(variance + eps) weight + bias``."""
    x = _wide(call, "x")
    centred = x - np.mean(x, axis=-1, keepdims=True)
    y = _normed(centred, float(call.get("eps", 1e-5))) * _wide(call, "weight")
    return {"y": y + _wide(call, "bias") if "bias" in call.inputs else y}


def l2_norm(call: Call) -> dict[str, Array]:
    """Return ``x / sqrt(sum x^2 + eps)``."""
    x = _wide(call, "x")
    return {"y": x / np.sqrt(np.sum(x * x, axis=-1, keepdims=True) + float(call.get("eps", 1e-6)))}


FORMULAS = {
    "rms_norm": rms_norm,
    "add_rms_norm": add_rms_norm,
    "gated_rms_norm": gated_rms_norm,
    "layer_norm": layer_norm,
    "l2_norm": l2_norm,
}
