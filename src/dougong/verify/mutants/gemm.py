"""Faults of matrix products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from dougong.backends import Answer, Array, Call
from dougong.backends.dtypes import dtype_of
from dougong.verify.mutant import Mutant, Run
from dougong.verify.mutants.faults import after, at_extent, before, instead, read_packed, wide, with_inputs


def _last_columns(call: Call, y: Array) -> Array:
    if y.shape[-1] > 131_072:
        y[..., 131_072:] = np.roll(y[..., 131_072:], 1, axis=-1)
    return y


def keeping(array: Array, bits: int) -> Array:
    """Round numbers to so many significant bits, as a narrow multiplier or accumulator does."""
    mantissa, exponent = np.frexp(wide(array))
    return np.ldexp(np.round(mantissa * 2.0**bits), exponent - bits)


def _narrow_products(bits: int) -> Callable[[Call], Call]:
    def change(call: Call) -> Call:
        if call.inputs["x"].dtype != np.float32:
            return call
        return with_inputs(call, **{name: keeping(call.inputs[name], bits) for name in ("x", "weight")})

    return change


def _accumulated(dtype: str) -> Callable[[Call], dict[str, Array]]:
    """A running sum in a narrow dtype, one product at a time."""

    def outputs(call: Call) -> dict[str, Array]:
        x, weight = (call.inputs[name].astype(np.float32) for name in ("x", "weight"))
        total = np.zeros((x.shape[0], weight.shape[0]), dtype_of(dtype))
        for k in range(x.shape[1]):
            total = (total.astype(np.float32) + np.outer(x[:, k], weight[:, k])).astype(total.dtype)
        return {"y": total}

    return outputs


def _saturated(call: Call, y: Array) -> Array:
    return np.where(np.isinf(wide(y)), np.copysign(65504.0, wide(y)), wide(y)) if y.dtype == np.float16 else y


def _tail_zero(call: Call, y: Array) -> Array:
    y[..., y.shape[-1] // 64 * 64 :] = 0
    return y


def _whole_vectors(call: Call) -> Call:
    kept = call.inputs["x"].shape[1] // 8 * 8
    return with_inputs(call, x=call.inputs["x"][:, :kept], weight=call.inputs["weight"][:, :kept])


def _bias_twice(call: Call, y: Array) -> Array:
    return wide(y) + wide(call.inputs["bias"]) if "bias" in call.inputs else y


def _row_again(call: Call, y: Array) -> Array:
    if len(y) > 16:
        y[16] = y[0]
    return y


def _neighbour(call: Call, y: Array) -> Array:
    if len(y) >= 128:
        y[100] = wide(y)[100] + 2.0**-6 * wide(y)[99]
    return y


def _truncated(call: Call, y: Array) -> Array:
    """Toward zero, of what the reference gives in float64."""
    if y.dtype.itemsize != 2:
        return y
    x, weight = wide(call.inputs["x"]), wide(call.inputs["weight"])
    exact = x @ weight.T + (wide(call.inputs["bias"]) if "bias" in call.inputs else 0.0)
    low = np.abs(wide(y)) > np.abs(exact)
    bits = y.view(np.uint16)
    return np.where(low & (bits & 0x7FFF > 0), bits - 1, bits).astype(np.uint16).view(y.dtype)


def _nan_dropped(call: Call) -> Call:
    return with_inputs(
        call, **{name: np.nan_to_num(wide(call.inputs[name]), nan=0.0) for name in ("x", "weight")}
    )


def _nan_as_infinity(call: Call, y: Array) -> Array:
    return np.where(np.isnan(wide(y)), np.inf, wide(y))


def _halves(call: Call, y: Array) -> Array:
    """The second half of k added in the dtype of the answer, after a rounding of both: a split that is not merged."""
    x, weight = wide(call.inputs["x"]), wide(call.inputs["weight"])
    half = x.shape[1] // 2
    return x[:, :half] @ weight[:, :half].T if x.shape[1] > 4096 else y


class _Stale:
    """Answers a call of shapes that it has seen with what it answered then."""

    def __init__(self) -> None:
        self.kept: dict[object, Answer] = {}

    def __call__(self, call: Call, run: Run) -> Answer:
        key = (
            call.op,
            tuple(sorted((name, array.shape, str(array.dtype)) for name, array in call.inputs.items())),
        )
        if key not in self.kept:
            self.kept = {key: run(call)}
        return self.kept[key]


def _written(call: Call, run: Run) -> Answer:
    answer = run(call)
    if call.op == "linear" and call.inputs["x"].flags.writeable and call.inputs["x"].size:
        call.inputs["x"][-1, -1] = 0
    return answer


def _swapped_batch(call: Call, y: Array) -> Array:
    return y[::-1] if call.op == "matmul" and len(y) > 100 else y


def _wider(call: Call, run: Run) -> Answer:
    answer = run(call)
    if call.op != "linear":
        return answer
    return replace(answer, outputs={"y": answer.outputs["y"].astype(np.float32)})


def _from_the_line(call: Call) -> Call:
    x = call.inputs["x"]
    return with_inputs(call, x=np.roll(x, 1)) if x.size and x.ctypes.data % 16 else call


def _strict_strides(call: Call) -> Call:
    x = call.inputs["x"]
    return with_inputs(call, x=np.zeros_like(x)) if len(x) == 1 and x.strides[0] == 0 else call


class _Seldom:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, call: Call, run: Run) -> Answer:
        answer = run(call)
        self.calls += 1
        if call.op != "linear" or self.calls % 20:
            return answer
        y = answer.outputs["y"].copy()
        y[-1:] = 0
        return replace(answer, outputs={"y": y})


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        name="lm-head-past-131072",
        fault="columns past 131,072 of a linear layer are wrong",
        caught_by="gemm/linear-vocab",
        wrong=after("linear", "y", _last_columns),
        provenance=("baidu/vLLM-Kunlun#387",),
    ),
    Mutant(
        name="tf32-silently",
        fault="float32 inputs are cut to 11 bits before they are multiplied",
        caught_by="gemm/linear-k5120",
        wrong=before("linear", _narrow_products(11)),
        provenance=("PaddlePaddle/Paddle#75481",),
    ),
    Mutant(
        name="bf16-products",
        fault="float32 inputs are multiplied as bfloat16",
        caught_by="gemm/linear-narrow-product",
        wrong=before("linear", _narrow_products(8)),
    ),
    Mutant(
        name="bf16-accumulator",
        fault="a running sum is kept in bfloat16",
        caught_by="gemm/linear-ones",
        wrong=instead("linear", _accumulated("bfloat16")),
    ),
    Mutant(
        name="f16-accumulator",
        fault="a running sum is kept in float16",
        caught_by="gemm/linear-cancelling",
        wrong=instead("linear", _accumulated("float16")),
    ),
    Mutant(
        name="f16-saturates",
        fault="a float16 result that overflows becomes 65504",
        caught_by="gemm/linear-overflow",
        wrong=after("linear", "y", _saturated),
        provenance=("DeepLink-org/deeplink.framework#684",),
    ),
    Mutant(
        name="column-tail-zero",
        fault="columns of a last tile of 64 that does not fill are left at 0",
        caught_by="gemm/linear-m33-n129-k257",
        wrong=after("linear", "y", _tail_zero),
    ),
    Mutant(
        name="k-tail-dropped",
        fault="terms beyond a multiple of 8 are left out of the sum",
        caught_by="gemm/linear-m33-n129-k257",
        wrong=before("linear", _whole_vectors),
    ),
    Mutant(
        name="row-17",
        fault="the 17th row is the first",
        caught_by="gemm/linear-integers",
        wrong=after("linear", "y", _row_again),
    ),
    Mutant(
        name="gemm-bias-twice",
        fault="the bias is added by the product and once more after it",
        caught_by="gemm/linear-bias",
        wrong=after("linear", "y", _bias_twice),
    ),
    Mutant(
        name="gemm-cross-talk",
        fault="of 128 rows or more, one has a part of its neighbour",
        caught_by="gemm/linear-k",
        wrong=after("linear", "y", _neighbour),
    ),
    Mutant(
        name="weight-strides-ignored",
        fault="a weight cut out of a larger matrix is read as if it were packed",
        caught_by="gemm/linear-weight",
        wrong=read_packed("linear", "weight"),
    ),
    Mutant(
        name="gemm-truncated",
        fault="results are truncated to 16 bits instead of rounded",
        caught_by="gemm/linear-k",
        wrong=after("linear", "y", _truncated),
    ),
    Mutant(
        name="gemm-nan-dropped",
        fault="NaN among the inputs counts as 0",
        caught_by="gemm/linear-nan-row",
        wrong=before("linear", _nan_dropped),
    ),
    Mutant(
        name="gemm-nan-as-infinity",
        fault="NaN comes out as infinity",
        caught_by="gemm/linear-nan-row",
        wrong=after("linear", "y", _nan_as_infinity),
        provenance=("tenstorrent/tt-metal#56414",),
    ),
    Mutant(
        name="split-not-merged",
        fault="of a sum cut in two past 4,096 terms, one half is dropped",
        caught_by="gemm/linear-k8192",
        wrong=after("linear", "y", _halves),
    ),
    Mutant(
        name="gemm-stale-answer",
        fault="a call of the same shapes as the last is answered from a buffer",
        caught_by="gemm/linear-k5120",
        wrong=_Stale(),
    ),
    Mutant(
        name="gemm-input-written",
        fault="the last element of an input is set to 0",
        caught_by="gemm/linear-m33",
        wrong=_written,
    ),
    Mutant(
        name="batch-reversed",
        fault="a batched product of more than 100 matrices comes out in reverse",
        caught_by="gemm/matmul-many",
        wrong=after("matmul", "y", _swapped_batch),
    ),
    Mutant(
        name="float32-returned",
        fault="a linear layer of float16 returns float32",
        caught_by="gemm/linear-m33-n129-k257-float16",
        wrong=_wider,
    ),
    Mutant(
        name="forty-eight-rows",
        fault="a batch of just 48 rows takes a way that is wrong",
        caught_by="gemm/linear-extents-m",
        wrong=at_extent("linear", "y", "x", 0, 48),
    ),
    Mutant(
        name="eighty-terms",
        fault="a sum of just 80 terms is wrong",
        caught_by="gemm/linear-extents-k",
        wrong=at_extent("linear", "y", "x", 1, 80),
    ),
    Mutant(
        name="unaligned-load",
        fault="what does not begin on a line of 16 bytes is read from the line before",
        caught_by="gemm/linear-extents-m",
        wrong=before("linear", _from_the_line),
    ),
    Mutant(
        name="one-call-in-twenty",
        fault="every twentieth call loses its last row",
        caught_by="gemm/linear-extents-m",
        wrong=_Seldom(),
    ),
    Mutant(
        name="column-stride-of-one",
        fault="a row of one whose stride is 0 is read as zeros",
        caught_by="gemm/linear-k5120",
        wrong=before("linear", _strict_strides),
    ),
)
