"""Quantised linear layers: exact integers, packing order, scales of every grain, blocks that do not fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Unpack

import numpy as np

from dougong.backends import Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.families.listing import Details, listed
from dougong.verify.families.quantised_calls import (
    fp8,
    fp8_block,
    int8,
    int8_filled,
    mxfp4,
    mxfp8,
    nvfp4,
    one_hot,
    poisoned,
    w4a16,
    w8a8,
    w8a8_scaled,
    w8a16,
)
from dougong.verify.geometry import experts, matrix

Generator = np.random.Generator

_VALUES = 1 << 19
_PLACES = (
    ("qwen3-32b", "o_proj"),
    ("deepseek-r1", "kv_a_proj_with_mqa"),
    ("minimax-m2", "q_proj"),
    ("qwen3-32b", "down_proj"),
)
_OUTS = ("bfloat16", "float16", "float32")
_SMALLEST_FLOAT32 = 2.0**-149


def _case(
    op: str, what: str, dtype: str, make: Callable[[Generator], Call], edge: str, **details: Unpack[Details]
) -> Case:
    return listed("quantised_gemm", op, f"{op.replace('_', '-')}-{what}", dtype, make, edge, **details)


def _integers() -> Iterator[Case]:
    for dtype in ("int8", "uint8"):
        for name, weight in _PLACES:
            n, k = matrix(name, weight)
            for m in (1, 17):
                yield _case(
                    "int8_matmul",
                    f"k{k}-m{m}",
                    dtype,
                    partial(int8, m=m, n=min(n, _VALUES // k), k=k, dtype=dtype),
                    "sums of integers beyond 2^24 are exact",
                    geometry=f"{name} {weight}, n cut to {min(n, _VALUES // k)}",
                    provenance=("openvinotoolkit/openvino#37956",),
                    relations=("row_chunks",) if m > 1 else (),
                    profile="smoke" if m == 17 and k == 8192 else "standard",
                )
        for m, n, k in ((1, 1, 1), (3, 7, 31), (33, 65, 129)):
            yield _case(
                "int8_matmul",
                f"m{m}-n{n}-k{k}",
                dtype,
                partial(int8, m=m, n=n, k=k, dtype=dtype),
                "no extent fills a tile",
            )
        least, most = (0, 255) if dtype == "uint8" else (-128, 127)
        for what, x, weight, k in (
            ("pairs-saturate", most, 127, 4096),
            ("pairs-saturate-negative", most, -128, 4096),
            ("least-by-least", least, -128, 8191),
            ("odd-sum", most, 127, 28_673),
        ):
            yield _case(
                "int8_matmul",
                what,
                dtype,
                partial(int8_filled, k=k, dtype=dtype, x=x, weight=weight),
                "pairs of products that saturate 16 bits; sums that 24 bits round",
                provenance=("openvinotoolkit/openvino#37956",),
                profile="smoke" if what == "odd-sum" else "standard",
            )
        for zero_points in ((3, 0), (0, -7), (128 if dtype == "uint8" else -5, 11)):
            x_zero, weight_zero = zero_points
            yield _case(
                "int8_matmul",
                f"zero-points-{x_zero}-{'minus-' if weight_zero < 0 else ''}{abs(weight_zero)}".replace(
                    "--", "-minus-"
                ),
                dtype,
                partial(int8, m=9, n=40, k=1030, dtype=dtype, zero_points=zero_points),
                "a correction term dropped or of the wrong sign",
            )


def _eight_bits() -> Iterator[Case]:
    for out in _OUTS:
        for per_token in (False, True):
            for per_channel in (False, True):
                grain = f"{'token' if per_token else 'tensor'}-{'channel' if per_channel else 'tensor'}"
                for name, weight in _PLACES[:2]:
                    n, k = matrix(name, weight)
                    n = min(n, _VALUES // k)
                    yield _case(
                        "linear_w8a8",
                        f"{grain}-k{k}-to-{out}",
                        "int8",
                        partial(w8a8, m=9, n=n, k=k, out=out, per_token=per_token, per_channel=per_channel),
                        "a scale of another row or of the other operand",
                        geometry=f"{name} {weight}, n cut to {n}",
                        relations=("row_chunks", "alone"),
                        profile="smoke" if grain == "token-channel" and k == 7168 else "standard",
                    )
        yield _case(
            "linear_w8a8",
            f"odd-to-{out}",
            "int8",
            partial(w8a8, m=17, n=71, k=131, out=out, per_token=True, per_channel=True),
            "no extent fills a tile",
        )
        for what, scale, zero_rows in (
            ("zero-rows", 0.7, True),
            ("tiny-scale", 2.0**-100, False),
            ("subnormal-scale", 64 * _SMALLEST_FLOAT32, False),
        ):
            yield _case(
                "linear_w8a8",
                f"{what}-to-{out}",
                "int8",
                partial(w8a8_scaled, out=out, x_scale=scale, zero_rows=zero_rows),
                "padding rows with a scale of 0; a scale whose reciprocal overflows",
                switches=("subnormals",) if what == "subnormal-scale" else (),
            )
    for dtype in FLOATS:
        for name, weight in _PLACES[:3]:
            n, k = matrix(name, weight)
            for m in (1, 17):
                n = min(n, _VALUES // k)
                yield _case(
                    "linear_w8a16",
                    f"k{k}-m{m}",
                    dtype,
                    partial(w8a16, m=m, n=n, k=k, dtype=dtype),
                    "a scale of another column",
                    geometry=f"{name} {weight}, n cut to {n}",
                )


def _four_bits() -> Iterator[Case]:
    for dtype in FLOATS:
        n, k = matrix("qwen3-32b", "o_proj")
        n = min(n, _VALUES // k)
        for group in (32, 64, 128, 1024):
            for zero_points in (False, True):
                for m in (1, 17):
                    yield _case(
                        "linear_w4a16",
                        f"g{group}-{'zeros' if zero_points else 'symmetric'}-m{m}",
                        dtype,
                        partial(w4a16, m=m, n=n, k=k, group=group, zero_points=zero_points, dtype=dtype),
                        "a scale or zero point of the next group",
                        geometry=f"qwen3-32b o_proj, n cut to {n}",
                        profile="smoke" if group == 128 and zero_points and m == 17 else "standard",
                    )
        shape = {"m": 16, "n": 24, "k": 256, "dtype": dtype}
        for op, make in (
            ("linear_w4a16", partial(w4a16, group=128, zero_points=True, **shape)),
            ("linear_mxfp4", partial(mxfp4, **shape)),
            ("linear_nvfp4", partial(nvfp4, **shape)),
            ("linear_w8a16", partial(w8a16, **shape)),
        ):
            yield _case(
                op,
                "one-hot",
                dtype,
                partial(one_hot, call=make),
                "packing order, the sign and every code: the layer returns its own weights",
                exact=True,
                profile="smoke" if op == "linear_w4a16" else "standard",
            )
        yield _case(
            "linear_mxfp4",
            "nan-scale",
            dtype,
            partial(poisoned, call=partial(mxfp4, m=5, n=40, k=96, dtype=dtype)),
            "a scale of 255 is NaN",
        )
        bank = experts("gpt-oss-120b")
        for m in (1, 9):
            yield _case(
                "linear_mxfp4",
                f"k{bank.inputs}-m{m}",
                dtype,
                partial(mxfp4, m=m, n=160, k=bank.inputs, dtype=dtype),
                "a power-of-two scale of the next 32 values",
                geometry="gpt-oss-120b expert, n cut to 160",
                profile="smoke" if m == 9 else "standard",
            )
            n, k = matrix("deepseek-r1", "q_b_proj")
            yield _case(
                "linear_nvfp4",
                f"k{k}-m{m}",
                dtype,
                partial(nvfp4, m=m, n=200, k=k, dtype=dtype),
                "two levels of scale",
                geometry="deepseek-r1 q_b_proj, n cut to 200",
            )


def _float8() -> Iterator[Case]:
    for out in _OUTS:
        for kind in ("float8_e4m3fn", "float8_e5m2"):
            for per_row in (False, True):
                for m in (1, 17):
                    yield _case(
                        "linear_fp8",
                        f"{'row' if per_row else 'tensor'}-m{m}-to-{out}",
                        kind,
                        partial(fp8, m=m, n=90, k=4096, kind=kind, out=out, per_row=per_row),
                        "a running sum of 14 bits; a scale of another row",
                        geometry="qwen3-8b q_proj, n cut to 90",
                        profile="smoke" if per_row and m == 17 and kind == "float8_e4m3fn" else "standard",
                    )
        places = (
            ("deepseek-r1", "kv_a_proj_with_mqa", 576),
            ("deepseek-r1", "q_b_proj", 300),
            ("minimax-m2", "q_proj", 260),
        )
        for name, weight, rows in places:
            _, k = matrix(name, weight)
            for m in (1, 17):
                yield _case(
                    "linear_fp8_block",
                    f"n{rows}-k{k}-m{m}-to-{out}",
                    "float8_e4m3fn",
                    partial(fp8_block, m=m, n=rows, k=min(k, 3072), out=out),
                    "the last block of rows is short",
                    geometry=f"{name} {weight}, n cut to {rows}, k to at most 3072",
                    relations=("row_chunks",) if m > 1 else (),
                    profile="smoke" if rows == 300 and m == 17 else "standard",
                )
        for m, n, k, block in ((5, 130, 200, 128), (1, 128, 129, 128), (9, 70, 100, 32)):
            yield _case(
                "linear_fp8_block",
                f"tail-n{n}-k{k}-b{block}-to-{out}",
                "float8_e4m3fn",
                partial(fp8_block, m=m, n=n, k=k, out=out, block=block),
                "the last block of both axes is short",
            )
        yield _case(
            "linear_fp8",
            f"large-to-{out}",
            "float8_e4m3fn",
            partial(fp8, m=5, n=40, k=1024, kind="float8_e4m3fn", out=out, per_row=True, size=2e4),
            "answers beyond the largest number of float8",
        )
        yield _case(
            "linear_fp8",
            f"nan-to-{out}",
            "float8_e4m3fn",
            partial(
                poisoned, call=partial(fp8, m=5, n=40, k=96, kind="float8_e4m3fn", out=out, per_row=True)
            ),
            "a NaN of float8 spoils its row and its column, and nothing else",
            profile="smoke" if out == "bfloat16" else "standard",
        )
        yield _case(
            "linear_mxfp8",
            f"nan-scale-to-{out}",
            "float8_e4m3fn",
            partial(poisoned, call=partial(mxfp8, m=5, n=40, k=96, out=out)),
            "a scale of 255 is NaN, and so is a code of float8",
        )
        for m in (1, 17):
            yield _case(
                "linear_mxfp8",
                f"m{m}-to-{out}",
                "float8_e4m3fn",
                partial(mxfp8, m=m, n=100, k=2048, out=out),
                "a power-of-two scale of the next 32 values",
                geometry="qwen3-30b-a3b q_proj, n cut to 100",
            )


def _extents() -> Iterator[Case]:
    rows, out = 140, "bfloat16"
    for op, dtype, make, axes in (
        ("int8_matmul", "int8", partial(int8, m=rows, n=66, k=130, dtype="int8"), "m n k"),
        (
            "linear_w8a8",
            "int8",
            partial(w8a8, m=rows, n=66, k=130, out=out, per_token=True, per_channel=True),
            "m n k",
        ),
        ("linear_w8a16", "bfloat16", partial(w8a16, m=rows, n=66, k=130, dtype="bfloat16"), "m n k"),
        (
            "linear_w4a16",
            "bfloat16",
            partial(w4a16, m=rows, n=66, k=256, group=32, zero_points=True, dtype="bfloat16"),
            "m n",
        ),
        (
            "linear_fp8",
            "float8_e4m3fn",
            partial(fp8, m=rows, n=66, k=130, kind="float8_e4m3fn", out=out, per_row=True),
            "m n k",
        ),
        ("linear_fp8_block", "float8_e4m3fn", partial(fp8_block, m=rows, n=150, k=200, out=out), "m"),
        ("linear_mxfp8", "float8_e4m3fn", partial(mxfp8, m=rows, n=66, k=128, out=out), "m n"),
        ("linear_mxfp4", "bfloat16", partial(mxfp4, m=rows, n=66, k=128, dtype="bfloat16"), "m n"),
        ("linear_nvfp4", "bfloat16", partial(nvfp4, m=rows, n=66, k=128, dtype="bfloat16"), "m n"),
    ):
        for axis in axes.split():
            yield _case(
                op,
                f"extents-{axis}",
                dtype,
                make,
                OTHER_EXTENT,
                relations=(f"cuts:{axis}", *(("layouts", "again") if axis == "m" else ())),
                profile="smoke"
                if axis == "m" and op in ("int8_matmul", "linear_w8a8", "linear_fp8", "linear_w4a16")
                else "standard",
            )

    yield _case(
        "int8_matmul",
        "one-row",
        "int8",
        partial(int8, m=1, n=66, k=512, dtype="int8"),
        "a row of one, whose stride may be anything",
        relations=("layouts",),
        provenance=("pytorch/pytorch#195066",),
        profile="smoke",
    )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    yield from _extents()
    yield from _integers()
    yield from _eight_bits()
    yield from _four_bits()
    yield from _float8()
