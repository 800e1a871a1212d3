"""Faults of products of quantised matrices."""

from __future__ import annotations

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.quantised_gemm import DEQUANTISED
from dougong.verify.mutant import Mutant
from dougong.verify.mutants.faults import (
    after,
    at_extent,
    before,
    instead,
    wide,
    with_attributes,
    with_inputs,
)
from dougong.verify.mutants.gemm import keeping


def _in_float32(call: Call) -> dict[str, Array]:
    x = call.inputs["x"].astype(np.float32) - call.get("x_zero_point", 0)
    weight = call.inputs["weight"].astype(np.float32) - call.get("weight_zero_point", 0)
    return {"y": (x @ weight.T).astype(np.float32)}


def _pairs(call: Call) -> dict[str, Array]:
    """Products in pairs, each sum of two held to 16 bits."""
    x = call.inputs["x"].astype(np.int64) - call.get("x_zero_point", 0)
    weight = call.inputs["weight"].astype(np.int64) - call.get("weight_zero_point", 0)
    odd = x.shape[1] % 2
    x, weight = (np.pad(each, ((0, 0), (0, odd))) for each in (x, weight))
    total = np.zeros((len(x), len(weight)), np.int64)
    for k in range(0, x.shape[1], 2):
        total += np.clip(x[:, k : k + 2] @ weight[:, k : k + 2].T, -32768, 32767)
    return {"y": total}


def _next_group(call: Call) -> Call:
    return with_inputs(call, weight_scale=np.roll(call.inputs["weight_scale"], 1, axis=-1))


def _swapped_halves(call: Call) -> Call:
    packed = call.inputs["weight"]
    return with_inputs(call, weight=(packed >> 4) | (packed << 4))


def _last_scale(call: Call) -> Call:
    scale = call.inputs["weight_scale"].copy()
    if len(scale) > 1:
        scale[-1] = scale[-2]
    return with_inputs(call, weight_scale=scale)


def _fourteen_bits(call: Call) -> dict[str, Array]:
    x, weight = DEQUANTISED[call.op](call)
    total = np.zeros((len(x), len(weight)))
    for start in range(0, x.shape[1], 32):
        total = keeping(total + x[:, start : start + 32] @ weight[:, start : start + 32].T, 14)
    return {"y": total}


def _token_scales(call: Call) -> Call:
    return with_inputs(call, x_scale=np.roll(call.inputs["x_scale"], 1))


def _signed(call: Call) -> Call:
    return with_attributes(call, weight_zero_point=-int(call.get("weight_zero_point", 0)))


def _power(call: Call, y: Array) -> Array:
    return wide(y) * 2.0


def _zero_dropped(call: Call) -> Call:
    if "weight_zero_point" not in call.inputs:
        return call
    return with_inputs(call, weight_zero_point=np.full_like(call.inputs["weight_zero_point"], 8))


def _no_nan_scale(call: Call) -> Call:
    return with_inputs(call, weight_scale=np.minimum(call.inputs["weight_scale"], 254))


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="int8-gemm-by-float32",
        fault="integers are summed in float32",
        caught_by="quantised_gemm/int8-matmul-odd-sum",
        wrong=instead("int8_matmul", _in_float32),
        provenance=("openvinotoolkit/openvino#37956",),
    ),
    Mutant(
        name="int8-pairs-saturate",
        fault="products are added in pairs that saturate 16 bits",
        caught_by="quantised_gemm/int8-matmul-pairs",
        wrong=instead("int8_matmul", _pairs),
    ),
    Mutant(
        name="zero-point-sign",
        fault="the zero point of the weight is added instead of taken away",
        caught_by="quantised_gemm/int8-matmul-zero-points",
        wrong=before("int8_matmul", _signed),
    ),
    Mutant(
        name="w8a8-token-scale",
        fault="a token has the scale of the one before",
        caught_by="quantised_gemm/linear-w8a8-token",
        wrong=before("linear_w8a8", _token_scales),
    ),
    Mutant(
        name="w4-next-group",
        fault="a group of 4-bit weights has the scale of its neighbour",
        caught_by="quantised_gemm/linear-w4a16-g128",
        wrong=before("linear_w4a16", _next_group),
    ),
    Mutant(
        name="w4-nibbles-swapped",
        fault="the high half of a byte is unpacked first",
        caught_by="quantised_gemm/linear-w4a16-one-hot",
        wrong=before("linear_w4a16", _swapped_halves),
    ),
    Mutant(
        name="w4-zero-point-dropped",
        fault="4-bit weights with zero points are read as symmetric",
        caught_by="quantised_gemm/linear-w4a16-g128-zeros",
        wrong=before("linear_w4a16", _zero_dropped),
    ),
    Mutant(
        name="fp8-last-block",
        fault="the last block of rows, which is short, has the scale of the one before",
        caught_by="quantised_gemm/linear-fp8-block",
        wrong=before("linear_fp8_block", _last_scale),
    ),
    Mutant(
        name="fp8-14-bit-sum",
        fault="sums of float8 products are kept in 14 bits",
        caught_by="quantised_gemm/linear-fp8-",
        wrong=instead("linear_fp8 linear_fp8_block", _fourteen_bits),
    ),
    Mutant(
        name="mx-bias-126",
        fault="a power-of-two scale is biased by 126",
        caught_by="quantised_gemm/linear-mxfp4",
        wrong=after("linear_mxfp4", "y", _power),
    ),
    Mutant(
        name="eight-tokens",
        fault="a batch of just 8 tokens is wrong",
        caught_by="quantised_gemm/linear-w8a8-extents-m",
        wrong=at_extent("linear_w8a8", "y", "x", 0, 8),
    ),
    Mutant(
        name="scale-of-255",
        fault="the scale that stands for NaN is 2^128",
        caught_by="quantised_gemm/linear-mxfp4-nan-scale",
        wrong=before("linear_mxfp4", _no_nan_scale),
    ),
    Mutant(
        name="answers-saturate-at-448",
        fault="answers are clamped to the range of their float8 inputs",
        caught_by="quantised_gemm/linear-fp8-large",
        wrong=after("linear_fp8", "y", lambda call, y: np.clip(wide(y), -448.0, 448.0)),
    ),
)
