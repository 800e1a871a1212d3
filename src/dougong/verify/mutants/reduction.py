"""Faults of reductions and scans."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np

from dougong.backends import Array, Call
from dougong.verify.mutant import Mutant
from dougong.verify.mutants.faults import after, at_extent, before, instead, read_packed, wide, with_inputs


def _running(call: Call, dtype: type) -> Array:
    """Running sums along the axis, each rounded to a narrow dtype."""
    x = np.moveaxis(call.inputs["x"].astype(np.float32), int(call.get("axis", -1)), 0)
    sums, total = np.empty(x.shape, np.float32), np.zeros(x.shape[1:], np.float32)
    for place, term in enumerate(x):
        total = (total + term).astype(dtype).astype(np.float32)
        sums[place] = total
    return np.moveaxis(sums, 0, int(call.get("axis", -1)))


def _narrow(dtype: type) -> Callable[[Call], dict[str, Array]]:
    def outputs(call: Call) -> dict[str, Array]:
        axis = int(call.get("axis", -1))
        sums, n = _running(call, dtype), call.inputs["x"].shape[axis]
        if call.op == "cumsum":
            return {"y": sums}
        last = np.take(sums, -1, axis=axis) if n else np.zeros(np.delete(sums.shape, axis))
        return {"y": last / n if call.op == "mean" else last}

    return outputs


def _extreme(call: Call) -> dict[str, Array]:
    axis = int(call.get("axis", -1))
    reduce = np.fmax.reduce if call.op == "max" else np.fmin.reduce
    return {"y": reduce(wide(call.inputs["x"]), axis=axis)}


def _without_tail(call: Call) -> Call:
    x, axis = call.inputs["x"], int(call.get("axis", -1))
    cut: list[slice] = [slice(None)] * x.ndim
    cut[axis] = slice(0, max(x.shape[axis] // 128 * 128, 1))
    return with_inputs(call, x=x[tuple(cut)])


def _without_place(call: Call) -> Call:
    x = call.inputs["x"]
    if x.ndim != 2 or x.shape[1] <= 192:
        return call
    x = x.copy()
    x[:, 192] = x[:, 0]
    return with_inputs(call, x=x)


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="max-drops-nan",
        fault="the largest of numbers and a NaN is the largest number",
        caught_by="reduction/max-nan",
        wrong=instead("max min", _extreme),
        provenance=("apache/tvm#19572", "onnx/onnx#4716"),
    ),
    Mutant(
        name="sum-accumulates-float16",
        fault="a float16 sum is kept in float16: 65,536 halves are 1,024",
        caught_by="reduction/sum-65536-times-0.5-float16",
        wrong=instead("sum", _narrow(np.float16)),
    ),
    Mutant(
        name="mean-accumulates-bfloat16",
        fault="a mean is kept in bfloat16",
        caught_by="reduction/mean-",
        wrong=instead("mean", _narrow(ml_dtypes.bfloat16)),
    ),
    Mutant(
        name="cumsum-accumulates-bfloat16",
        fault="running sums are kept in bfloat16: they stop at 256",
        caught_by="reduction/cumsum-4096-times-1",
        wrong=instead("cumsum", _narrow(ml_dtypes.bfloat16)),
    ),
    Mutant(
        name="max-starts-at-zero",
        fault="the largest of negative numbers is 0",
        caught_by="reduction/max-one-sign",
        wrong=after("max", "y", lambda call, y: np.maximum(wide(y), 0)),
    ),
    Mutant(
        name="tail-not-summed",
        fault="what is left of a block of 128 is not added",
        caught_by="reduction/sum-edge-3x129",
        wrong=before("sum mean max min", _without_tail),
    ),
    Mutant(
        name="sums-wrap",
        fault="sums of integers wrap at 2**31",
        caught_by="reduction/sum_integers-",
        wrong=after("sum_integers cumsum_integers", "y", lambda call, y: y.astype(np.int32)),
    ),
    Mutant(
        name="squares-in-float16",
        fault="the squares of a norm are float16",
        caught_by="reduction/vector_norm-64-times-300",
        wrong=instead(
            "vector_norm",
            lambda call: {
                "y": np.sqrt(
                    np.sum(
                        wide(np.square(call.inputs["x"].astype(np.float16))), axis=int(call.get("axis", -1))
                    )
                )
            },
        ),
    ),
    Mutant(
        name="strides-not-read",
        fault="a strided input is read as if it were contiguous",
        caught_by="reduction/sum-strided",
        wrong=read_packed("sum mean max min cumsum", "x"),
    ),
    Mutant(
        name="one-row-stale",
        fault="the last row holds what the first does",
        caught_by="reduction/sum-edge-5x7",
        wrong=after("sum", "y", lambda call, y: np.concatenate([y[:-1], y[:1]]) if len(y) > 4 else y),
    ),
    Mutant(
        name="place-192",
        fault="the value at place 192 is not looked at",
        caught_by="reduction/max-places",
        wrong=before("max", _without_place),
    ),
    Mutant(
        name="sum-of-256",
        fault="sums of just 256 are wrong",
        caught_by="reduction/sum-extents-n",
        wrong=at_extent("sum", "y", "x", -1, 256),
    ),
)
