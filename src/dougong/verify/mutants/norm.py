"""Faults of norms."""

from __future__ import annotations

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.mutant import Mutant
from dougong.verify.mutants.faults import after, at_extent, fixed, instead, read_packed, wide


def _coarse_root(call: Call, y: Array) -> Array:
    return wide(y) * (1 + 2.0**-8)


def _eps_outside(call: Call) -> dict[str, Array]:
    x = wide(call.inputs["x"])
    root = np.sqrt(np.mean(x * x, axis=-1, keepdims=True)) + float(call.get("eps", 1e-6))
    return {"y": x / root * (wide(call.inputs["weight"]) + float(call.get("weight_offset", 0.0)))}


def _one_pass(call: Call) -> dict[str, Array]:
    x = call.inputs["x"].astype(np.float32)
    mean = x.mean(-1, keepdims=True)
    variance = np.maximum((x * x).mean(-1, keepdims=True) - mean * mean, 0)
    y = (x - mean) / np.sqrt(variance + np.float32(call.get("eps", 1e-5))) * wide(call.inputs["weight"])
    return {"y": y + wide(call.inputs["bias"]) if "bias" in call.inputs else y}


def _not_widened(call: Call) -> dict[str, Array]:
    x = call.inputs["x"]
    squares = (x * x).astype(x.dtype).astype(np.float64)
    y = wide(x) / np.sqrt(squares.mean(-1, keepdims=True) + float(call.get("eps", 1e-6)))
    return {"y": y * (wide(call.inputs["weight"]) + float(call.get("weight_offset", 0.0)))}


def _sixteens(call: Call) -> dict[str, Array]:
    x = wide(call.inputs["x"])
    summed = x[..., : max(x.shape[-1] // 16 * 16, 1)]
    root = np.sqrt(np.sum(summed**2, -1, keepdims=True) / x.shape[-1] + float(call.get("eps", 1e-6)))
    return {"y": x / root * (wide(call.inputs["weight"]) + float(call.get("weight_offset", 0.0)))}


def _old_residual(call: Call, residual: Array) -> Array:
    return call.inputs["residual"]


def _all_heads(call: Call) -> dict[str, Array]:
    x = wide(call.inputs["x"])
    axes = tuple(range(1, x.ndim))
    root = np.sqrt(np.mean(x * x, axis=axes, keepdims=True) + float(call.get("eps", 1e-6)))
    return {"y": x / root * (wide(call.inputs["weight"]) + float(call.get("weight_offset", 0.0)))}


def _next_row(call: Call, y: Array) -> Array:
    x = wide(call.inputs["x"])
    size = np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + 1e-30)
    return wide(y) * size / np.roll(size, 1, axis=0)


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="rsqrt-2^-8",
        fault="the reciprocal root is off by 2^-8",
        caught_by="norm/rms-norm-d",
        wrong=after("rms_norm", "y", _coarse_root),
    ),
    Mutant(
        name="eps-outside-root",
        fault="eps is added to the root and not below it",
        caught_by="norm/rms-norm-near-eps",
        wrong=instead("rms_norm", _eps_outside),
    ),
    Mutant(
        name="eps-fixed",
        fault="eps is 1e-6 whatever is asked",
        caught_by="norm/rms-norm-eps",
        wrong=fixed("rms_norm", eps=1e-6),
    ),
    Mutant(
        name="variance-in-one-pass",
        fault="a variance is the difference of two means in float32",
        caught_by="norm/layer-norm-large-mean",
        wrong=instead("layer_norm", _one_pass),
    ),
    Mutant(
        name="squares-not-widened",
        fault="squares are taken in the dtype of the input",
        caught_by="norm/rms-norm-squares-overflow",
        wrong=instead("rms_norm", _not_widened),
    ),
    Mutant(
        name="hidden-tail-dropped",
        fault="channels beyond a multiple of 16 are left out of the mean square",
        caught_by="norm/rms-norm-m",
        wrong=instead("rms_norm", _sixteens),
    ),
    Mutant(
        name="residual-not-updated",
        fault="the residual comes back as it went in",
        caught_by="norm/add-rms-norm",
        wrong=after("add_rms_norm", "residual_out", _old_residual),
    ),
    Mutant(
        name="norm-over-heads",
        fault="heads are normed together",
        caught_by="norm/rms-norm-heads",
        wrong=instead("rms_norm", _all_heads),
    ),
    Mutant(
        name="scale-of-next-row",
        fault="a row is scaled by the root of its neighbour",
        caught_by="norm/add-rms-norm-d",
        wrong=after("add_rms_norm", "y", _next_row),
    ),
    Mutant(
        name="weight-offset-forgotten",
        fault="a weight stored less 1 is used as it is",
        caught_by="norm/rms-norm-offset",
        wrong=fixed("rms_norm", weight_offset=0.0),
    ),
    Mutant(
        name="width-of-1536",
        fault="rows of just 1,536 channels are wrong",
        caught_by="norm/rms-norm-extents-d",
        wrong=at_extent("rms_norm", "y", "x", 1, 1536),
    ),
    Mutant(
        name="eps-of-layer-norm-fixed",
        fault="eps of a layer norm is 1e-5 whatever is asked",
        caught_by="norm/layer-norm-eps",
        wrong=fixed("layer_norm", eps=1e-5),
    ),
    Mutant(
        name="eps-of-fused-norm-fixed",
        fault="eps of a fused norm is 1e-6 whatever is asked",
        caught_by="norm/add-rms-norm-eps",
        wrong=fixed("add_rms_norm", eps=1e-6),
    ),
    Mutant(
        name="layer-norm-read-packed",
        fault="a layer norm reads a strided input as if it were packed",
        caught_by="norm/layer-norm-extents-m",
        wrong=read_packed("layer_norm", "x"),
    ),
)
