"""Quantised linear layers: exact integers, packing order, scales of every grain, blocks that do not fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from dougong.backends import Array, Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import Case
from dougong.verify.geometry import experts, matrix
from dougong.verify.numbers import cast, dtype_of, filled, normal

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


def codes(generator: Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Bytes of every value: int8, uint8 or packed nibbles."""
    info = np.iinfo(dtype)
    return generator.integers(info.min, info.max, shape, dtype_of(dtype).type, endpoint=True)


def _scales(generator: Generator, shape: tuple[int, ...], dtype: str, size: float, spread: float) -> Array:
    """Scales about ``size`` that differ by up to ``spread`` from their neighbours: a wrong index is seen."""
    return cast(size * spread ** generator.uniform(-1, 1, shape), dtype)


def _int8(
    generator: Generator, *, m: int, n: int, k: int, dtype: str, zero_points: tuple[int, int] = (0, 0)
) -> Call:
    inputs = {"x": codes(generator, (m, k), dtype), "weight": codes(generator, (n, k), "int8")}
    attributes = {"x_zero_point": zero_points[0], "weight_zero_point": zero_points[1]}
    return Call(op="int8_matmul", inputs=inputs, attributes=attributes)


def _int8_filled(generator: Generator, *, k: int, dtype: str, x: int, weight: int) -> Call:
    del generator
    return Call(
        op="int8_matmul",
        inputs={"x": np.full((3, k), x, dtype_of(dtype)), "weight": np.full((5, k), weight, np.int8)},
    )


def w8a8(
    generator: Generator, *, m: int, n: int, k: int, out: str, per_token: bool, per_channel: bool
) -> Call:
    """Make a layer of int8 weights and activations, each with one scale or one per row."""
    size = 1 / (73.0 * 73.0 * k**0.5)
    x_scale = _scales(generator, (m,), "float32", 1.0, 8.0) if per_token else filled((m,), "float32", 0.37)
    weight_scale = (
        _scales(generator, (n,), "float32", size, 8.0) if per_channel else filled((n,), "float32", size)
    )
    inputs = {"x": codes(generator, (m, k), "int8"), "weight": codes(generator, (n, k), "int8")}
    return Call(
        op="linear_w8a8",
        inputs={**inputs, "x_scale": x_scale, "weight_scale": weight_scale},
        attributes={"out_dtype": out},
    )


def _w8a8_scaled(generator: Generator, *, out: str, x_scale: float, zero_rows: bool) -> Call:
    call = w8a8(generator, m=7, n=66, k=130, out=out, per_token=True, per_channel=True)
    inputs = dict(call.inputs)
    inputs["x_scale"] = filled((7,), "float32", x_scale)
    if zero_rows:
        inputs["x"] = inputs["x"].copy()
        inputs["x"][2:4] = 0
        inputs["x_scale"][2] = 0
    return Call(op=call.op, inputs=inputs, attributes=call.attributes)


def _w8a16(generator: Generator, *, m: int, n: int, k: int, dtype: str) -> Call:
    inputs = {"x": normal(generator, (m, k), dtype), "weight": codes(generator, (n, k), "int8")}
    scale = _scales(generator, (n,), dtype, 1 / (73 * k**0.5), 8.0)
    return Call(op="linear_w8a16", inputs={**inputs, "weight_scale": scale})


def w4a16(generator: Generator, *, m: int, n: int, k: int, group: int, zero_points: bool, dtype: str) -> Call:
    """Make a layer of 4-bit weights in groups, with or without zero points."""
    inputs = {"x": normal(generator, (m, k), dtype), "weight": codes(generator, (n, k // 2), "uint8")}
    inputs["weight_scale"] = _scales(generator, (n, k // group), dtype, 1 / (4.6 * k**0.5), 4.0)
    if zero_points:
        inputs["weight_zero_point"] = generator.integers(0, 15, (n, k // group), np.uint8, endpoint=True)
    return Call(op="linear_w4a16", inputs=inputs, attributes={"group": group})


def _one_hot(generator: Generator, call: Callable[[Generator], Call]) -> Call:
    """The same layer with scales of 1 and one-hot activations: it returns its own weights."""
    made = call(generator)
    inputs = dict(made.inputs)
    rows, columns = len(inputs["x"]), inputs["x"].shape[-1]
    x = np.zeros((rows, columns), np.float32)
    x[np.arange(rows), generator.permutation(columns)[:rows]] = 1
    inputs["x"] = x.astype(inputs["x"].dtype)
    one = {"uint8": 127}.get(inputs["weight_scale"].dtype.name, 1)
    inputs["weight_scale"] = np.full(inputs["weight_scale"].shape, one, inputs["weight_scale"].dtype)
    if "weight_scale_2" in inputs:
        inputs["weight_scale_2"] = filled((), "float32")
    return Call(op=made.op, inputs=inputs, attributes=made.attributes)


def _fp8(
    generator: Generator, *, m: int, n: int, k: int, kind: str, out: str, per_row: bool, spread: float = 8.0
) -> Call:
    shapes = ((m,), (n,))
    x_scale, weight_scale = (
        _scales(generator, shape, "float32", size, spread) if per_row else filled(shape, "float32", size)
        for shape, size in zip(shapes, (0.013, 1 / (0.013 * k**0.5)), strict=True)
    )
    return Call(
        op="linear_fp8",
        inputs={
            "x": normal(generator, (m, k), kind),
            "weight": normal(generator, (n, k), "float8_e4m3fn"),
            "x_scale": x_scale,
            "weight_scale": weight_scale,
        },
        attributes={"out_dtype": out},
    )


def fp8_block(generator: Generator, *, m: int, n: int, k: int, out: str, block: int = 128) -> Call:
    """Make a layer of float8 with one scale per block of the weight and per piece of a row."""
    down, across = -(-n // block), -(-k // block)
    return Call(
        op="linear_fp8_block",
        inputs={
            "x": normal(generator, (m, k), "float8_e4m3fn", scale=8.0),
            "weight": normal(generator, (n, k), "float8_e4m3fn", scale=8.0),
            "x_scale": _scales(generator, (m, across), "float32", 0.02, 6.0),
            "weight_scale": _scales(generator, (down, across), "float32", 0.8 / k**0.5, 6.0),
        },
        attributes={"out_dtype": out, "block": block},
    )


def _powers(generator: Generator, shape: tuple[int, ...]) -> Array:
    return generator.integers(124, 130, shape, np.uint8, endpoint=True)


def _mxfp8(generator: Generator, *, m: int, n: int, k: int, out: str) -> Call:
    return Call(
        op="linear_mxfp8",
        inputs={
            "x": normal(generator, (m, k), "float8_e4m3fn"),
            "weight": normal(generator, (n, k), "float8_e4m3fn"),
            "x_scale": _powers(generator, (m, k // 32)),
            "weight_scale": _powers(generator, (n, k // 32)),
        },
        attributes={"out_dtype": out},
    )


def _mxfp4(generator: Generator, *, m: int, n: int, k: int, dtype: str) -> Call:
    inputs = {"x": normal(generator, (m, k), dtype, scale=k**-0.5)}
    inputs["weight"] = codes(generator, (n, k // 2), "uint8")
    return Call(op="linear_mxfp4", inputs={**inputs, "weight_scale": _powers(generator, (n, k // 32))})


def _nvfp4(generator: Generator, *, m: int, n: int, k: int, dtype: str) -> Call:
    return Call(
        op="linear_nvfp4",
        inputs={
            "x": normal(generator, (m, k), dtype),
            "weight": codes(generator, (n, k // 2), "uint8"),
            "weight_scale": _scales(generator, (n, k // 16), "float8_e4m3fn", 32.0, 8.0),
            "weight_scale_2": filled((), "float32", 0.011 / k**0.5),
        },
    )


def _case(
    op: str,
    what: str,
    dtype: str,
    make: Callable[[Generator], Call],
    edge: str,
    *,
    geometry: str = "edge",
    profile: str = "standard",
    provenance: tuple[str, ...] = (),
    relations: tuple[str, ...] = (),
    exact: bool = False,
) -> Case:
    return Case(
        id=f"quantised_gemm/{op.replace('_', '-')}-{what}-{dtype}",
        family="quantised_gemm",
        op=op,
        dtype=dtype,
        make=make,
        geometry=geometry,
        edge=edge,
        profile=profile,
        provenance=provenance,
        relations=relations,
        exact=exact,
    )


def _integers() -> Iterator[Case]:
    for dtype in ("int8", "uint8"):
        for name, weight in _PLACES:
            n, k = matrix(name, weight)
            for m in (1, 17):
                yield _case(
                    "int8_matmul",
                    f"k{k}-m{m}",
                    dtype,
                    partial(_int8, m=m, n=min(n, _VALUES // k), k=k, dtype=dtype),
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
                partial(_int8, m=m, n=n, k=k, dtype=dtype),
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
                partial(_int8_filled, k=k, dtype=dtype, x=x, weight=weight),
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
                partial(_int8, m=9, n=40, k=1030, dtype=dtype, zero_points=zero_points),
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
                partial(_w8a8_scaled, out=out, x_scale=scale, zero_rows=zero_rows),
                "padding rows with a scale of 0; a scale whose reciprocal overflows",
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
                    partial(_w8a16, m=m, n=n, k=k, dtype=dtype),
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
            ("linear_mxfp4", partial(_mxfp4, **shape)),
            ("linear_nvfp4", partial(_nvfp4, **shape)),
            ("linear_w8a16", partial(_w8a16, **shape)),
        ):
            yield _case(
                op,
                "one-hot",
                dtype,
                partial(_one_hot, call=make),
                "packing order, the sign and every code: the layer returns its own weights",
                exact=True,
                profile="smoke" if op == "linear_w4a16" else "standard",
            )
        bank = experts("gpt-oss-120b")
        for m in (1, 9):
            yield _case(
                "linear_mxfp4",
                f"k{bank.inputs}-m{m}",
                dtype,
                partial(_mxfp4, m=m, n=160, k=bank.inputs, dtype=dtype),
                "a power-of-two scale of the next 32 values",
                geometry="gpt-oss-120b expert, n cut to 160",
                profile="smoke" if m == 9 else "standard",
            )
            n, k = matrix("deepseek-r1", "q_b_proj")
            yield _case(
                "linear_nvfp4",
                f"k{k}-m{m}",
                dtype,
                partial(_nvfp4, m=m, n=200, k=k, dtype=dtype),
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
                        partial(_fp8, m=m, n=90, k=4096, kind=kind, out=out, per_row=per_row),
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
        for m in (1, 17):
            yield _case(
                "linear_mxfp8",
                f"m{m}-to-{out}",
                "float8_e4m3fn",
                partial(_mxfp8, m=m, n=100, k=2048, out=out),
                "a power-of-two scale of the next 32 values",
                geometry="qwen3-30b-a3b q_proj, n cut to 100",
            )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    yield from _integers()
    yield from _eight_bits()
    yield from _four_bits()
    yield from _float8()
