"""Calls of quantised linear layers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.numbers import cast, dtype_of, filled, normal

Generator = np.random.Generator


def codes(generator: Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Bytes of every value: int8, uint8 or packed nibbles."""
    info = np.iinfo(dtype)
    return generator.integers(info.min, info.max, shape, dtype_of(dtype).type, endpoint=True)


def _scales(generator: Generator, shape: tuple[int, ...], dtype: str, size: float, spread: float) -> Array:
    """Scales about ``size`` that differ by up to ``spread`` from their neighbours: a wrong index is seen."""
    return cast(size * spread ** generator.uniform(-1, 1, shape), dtype)


def int8(
    generator: Generator, *, m: int, n: int, k: int, dtype: str, zero_points: tuple[int, int] = (0, 0)
) -> Call:
    """Make integers of every value, with zero points."""
    inputs = {"x": codes(generator, (m, k), dtype), "weight": codes(generator, (n, k), "int8")}
    attributes = {"x_zero_point": zero_points[0], "weight_zero_point": zero_points[1]}
    return Call(op="int8_matmul", inputs=inputs, attributes=attributes)


def int8_filled(generator: Generator, *, k: int, dtype: str, x: int, weight: int) -> Call:
    """Make integers all alike."""
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


def w8a8_scaled(generator: Generator, *, out: str, x_scale: float, zero_rows: bool) -> Call:
    """Make a layer with one scale for every token, and rows of zeros."""
    call = w8a8(generator, m=7, n=66, k=130, out=out, per_token=True, per_channel=True)
    inputs = dict(call.inputs)
    inputs["x_scale"] = filled((7,), "float32", x_scale)
    if x_scale < 2.0**-126:  # the product of both scales is normal, so the order of the products is free
        inputs["weight_scale"] = inputs["weight_scale"] * np.float32(2.0**100)
    if zero_rows:
        inputs["x"] = inputs["x"].copy()
        inputs["x"][2:4] = 0
        inputs["x_scale"][2] = 0
    return Call(op=call.op, inputs=inputs, attributes=call.attributes)


def w8a16(generator: Generator, *, m: int, n: int, k: int, dtype: str) -> Call:
    """Make a layer of int8 weights with a scale per output."""
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


def one_hot(generator: Generator, call: Callable[[Generator], Call]) -> Call:
    """Make the same layer with scales of 1 and one-hot activations: it returns its own weights."""
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


def poisoned(generator: Generator, call: Callable[[Generator], Call]) -> Call:
    """Make the same layer with a NaN in row 1 of the activations, and in row 2 of the weights or of their scales."""
    made = call(generator)
    inputs = {name: array.copy() for name, array in made.inputs.items()}
    inputs["x"][1, -1] = np.nan
    if inputs["weight_scale"].dtype == np.uint8:
        inputs["weight_scale"][2, -1] = 255
    else:
        inputs["weight"][2, 0] = np.nan
    return Call(op=made.op, inputs=inputs, attributes=made.attributes)


def fp8(
    generator: Generator,
    *,
    m: int,
    n: int,
    k: int,
    kind: str,
    out: str,
    per_row: bool,
    spread: float = 8.0,
    size: float = 1.0,
) -> Call:
    """Make a layer of float8 with one scale each or one per row."""
    shapes = ((m,), (n,))
    x_scale, weight_scale = (
        _scales(generator, shape, "float32", size, spread) if per_row else filled(shape, "float32", size)
        for shape, size in zip(shapes, (0.013, size / (0.013 * k**0.5)), strict=True)
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


def mxfp8(generator: Generator, *, m: int, n: int, k: int, out: str) -> Call:
    """Make a layer of float8 with a power of two per 32 values."""
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


def mxfp4(generator: Generator, *, m: int, n: int, k: int, dtype: str) -> Call:
    """Make a layer of 4-bit floats with a power of two per 32 values."""
    inputs = {"x": normal(generator, (m, k), dtype, scale=k**-0.5)}
    inputs["weight"] = codes(generator, (n, k // 2), "uint8")
    return Call(op="linear_mxfp4", inputs={**inputs, "weight_scale": _powers(generator, (n, k // 32))})


def nvfp4(generator: Generator, *, m: int, n: int, k: int, dtype: str) -> Call:
    """Make a layer of 4-bit floats with a float8 scale per 16 values, and one over all."""
    return Call(
        op="linear_nvfp4",
        inputs={
            "x": normal(generator, (m, k), dtype),
            "weight": codes(generator, (n, k // 2), "uint8"),
            "weight_scale": _scales(generator, (n, k // 16), "float8_e4m3fn", 32.0, 8.0),
            "weight_scale_2": filled((), "float32", 0.011 / k**0.5),
        },
    )
