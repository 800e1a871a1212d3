"""Bounds of matrix products."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.gemm import blocks
from dougong.verify.bound import UNIT_ROUNDOFF, Bound, Floats, summation


def norms(a: Array, b: Array) -> tuple[Floats, Floats]:
    """L1 and L2 norms of the terms of ``a @ b.T``, from inputs of any dtype; terms that are not finite count 0."""
    left = np.abs(np.nan_to_num(a.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0))
    l1, l2 = np.empty((a.shape[0], b.shape[0])), np.empty((a.shape[0], b.shape[0]))
    for block in blocks(*b.shape):
        right = np.abs(np.nan_to_num(b[block].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0))
        l1[:, block] = left @ right.T
        l2[:, block] = (left * left) @ (right * right).T
    return l1, np.sqrt(l2)


def linear(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """Sum over ``k`` of ``x[m, k] weight[n, k]``; a stack may round the product before it adds the bias."""
    x, weight = call.inputs["x"], call.inputs["weight"]
    l1, l2 = norms(x, weight)
    if "bias" not in call.inputs:
        return {"y": summation(x.shape[-1], l1, l2, exact["y"])}
    bias = call.inputs["bias"].astype(np.float64)
    product = np.abs(exact["y"] - bias)
    floor = np.nan_to_num(product, nan=0.0, posinf=0.0, neginf=0.0) * UNIT_ROUNDOFF[x.dtype.name]
    return {"y": summation(x.shape[-1] + 1, l1 + np.abs(bias), np.hypot(l2, bias), exact["y"], floor=floor)}


def matmul(call: Call, exact: Mapping[str, Array]) -> dict[str, Bound]:
    """Sum over ``k`` of ``a[b, m, k] b[b, k, n]``."""
    a, b = (np.abs(call.inputs[name].astype(np.float64)) for name in ("a", "b"))
    a, b = (np.nan_to_num(each, nan=0.0, posinf=0.0) for each in (a, b))
    l1, l2 = np.matmul(a, b), np.sqrt(np.matmul(a * a, b * b))
    return {"y": summation(a.shape[-1], l1, l2, exact["y"])}


BOUNDS = {"linear": linear, "matmul": matmul}
