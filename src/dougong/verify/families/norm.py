"""Norms: hidden sizes of real models, rows that overflow or vanish, means that dwarf their deviations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Unpack

import numpy as np

from dougong.backends import Array, Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.families.listing import Details, listed
from dougong.verify.geometry import core, model
from dougong.verify.numbers import cast, dtype_of, filled, laid_out, normal

Generator = np.random.Generator

_MODELS = (
    "qwen3-32b",
    "deepseek-r1",
    "gpt-oss-120b",
    "kimi-linear-48b-a3b",
    "llama-3.1-405b",
    "smollm2-135m",
)
_OPS = ("rms_norm", "add_rms_norm", "layer_norm")
_SECOND = {"add_rms_norm": "residual", "gated_rms_norm": "gate"}

Rows = Callable[[Generator, tuple[int, ...], str], Array]


def _sized(generator: Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Rows of different sizes: one row's scale on another is seen."""
    size = np.exp(generator.uniform(-1.5, 1.5, (*shape[:-1], 1))).astype(np.float32)
    return (generator.standard_normal(shape, np.float32) * size).astype(dtype_of(dtype))


def _norm(
    generator: Generator,
    *,
    op: str,
    shape: tuple[int, ...],
    dtype: str,
    rows: Rows = _sized,
    bias: bool = False,
    layout: str | None = None,
    **attributes: object,
) -> Call:
    x = rows(generator, shape, dtype)
    inputs = {"x": laid_out(x, layout) if layout else x}
    if op in _SECOND:
        scale = 1e-3 if op == "add_rms_norm" and rows is _near_eps_sum else 1.0
        inputs[_SECOND[op]] = normal(generator, shape, dtype, scale=scale)
    if op != "l2_norm":
        weight = generator.uniform(0.5, 2.0, shape[-1:]) * generator.choice([-1.0, 1.0], shape[-1:])
        if attributes.get("weight_offset"):
            weight = weight - 1.0
        inputs["weight"] = cast(weight, dtype)
    if bias:
        inputs["bias"] = normal(generator, shape[-1:], dtype)
    return Call(op=op, inputs=inputs, attributes=attributes)


def _outlier(generator: Generator, shape: tuple[int, ...], dtype: str) -> Array:
    x = normal(generator, shape, dtype)
    x[..., generator.integers(shape[-1])] = 3000.0
    return x


def _zero_rows(generator: Generator, shape: tuple[int, ...], dtype: str) -> Array:
    x = normal(generator, shape, dtype)
    x[1::2] = 0
    return x


def _tiny_rows(generator: Generator, shape: tuple[int, ...], dtype: str) -> Array:
    return normal(generator, shape, dtype, scale=1e-20 if dtype != "float16" else 1e-5)


def _near_eps(generator: Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Mean squares about eps: sqrt(s) + eps, or eps left out, is seen."""
    return normal(generator, shape, dtype, scale=1e-3)


def _near_eps_sum(generator: Generator, shape: tuple[int, ...], dtype: str) -> Array:
    """Rows of two sizes about eps: the mean of their squares, or the sum, is near it."""
    x = normal(generator, shape, dtype, scale=1e-3)
    x[::2] *= np.asarray(0.1, x.dtype)
    return x


def _large_mean(generator: Generator, shape: tuple[int, ...], dtype: str) -> Array:
    mean = {"float32": 1e4, "float16": 1e3, "bfloat16": 100.0}[dtype]
    return (generator.standard_normal(shape, np.float32) + np.float32(mean)).astype(dtype_of(dtype))


def _squares_overflow(generator: Generator, shape: tuple[int, ...], dtype: str) -> Array:
    return normal(generator, shape, dtype, scale=300.0 if dtype == "float16" else 1e16)


def _sum_overflows(generator: Generator, shape: tuple[int, ...], dtype: str) -> Array:
    del generator
    return filled(shape, dtype, 200.0)


def _nan_row(generator: Generator, shape: tuple[int, ...], dtype: str) -> Array:
    x = normal(generator, shape, dtype)
    x[1, shape[-1] - 1] = np.nan
    return x


def _infinite_row(generator: Generator, shape: tuple[int, ...], dtype: str) -> Array:
    x = normal(generator, shape, dtype)
    x[2, 0] = np.inf
    return x


def _last_counts(generator: Generator, shape: tuple[int, ...], dtype: str) -> Array:
    x = normal(generator, shape, dtype, scale=0.01)
    x[..., -1] = 50.0
    return x


_ROWS: tuple[tuple[str, Rows, str], ...] = (
    ("outlier", _outlier, "one channel a thousand times the others"),
    ("zero-rows", _zero_rows, "padding rows: 0 / sqrt(eps)"),
    ("tiny-rows", _tiny_rows, "squares that underflow"),
    ("near-eps", _near_eps, "eps outside the root, or another eps"),
    ("large-mean", _large_mean, "a variance as the difference of two large numbers"),
    ("squares-overflow", _squares_overflow, "squares beyond the dtype, summed in float32"),
    ("sum-overflows", _sum_overflows, "a sum of squares that a narrow running sum cannot hold"),
    ("nan-row", _nan_row, "NaN in the last channel spoils its row and no other"),
    ("infinite-row", _infinite_row, "an infinity spoils its row and no other"),
    ("last-channel", _last_counts, "a tail left out of the sum"),
)


def _case(
    op: str, what: str, dtype: str, make: Callable[[Generator], Call], edge: str, **details: Unpack[Details]
) -> Case:
    return listed("norm", op, f"{op.replace('_', '-')}-{what}", dtype, make, edge, **details)


def _models(dtype: str) -> Iterator[Case]:
    for name in _MODELS:
        hidden = model(name).hidden_size
        for op in _OPS:
            yield _case(
                op,
                f"d{hidden}",
                dtype,
                partial(_norm, op=op, shape=(9, hidden), dtype=dtype),
                "a hidden size of a real model",
                geometry=name,
                relations=("row_chunks", "batch_permutation", "alone"),
                profile="smoke" if hidden == 2880 else "standard",
            )
    for name in ("qwen3-32b", "qwen3-next-80b-a3b", "gpt-oss-120b"):
        attention = core(name)
        yield _case(
            "rms_norm",
            f"heads{attention.num_heads}-d{attention.qk_dim}",
            dtype,
            partial(_norm, op="rms_norm", shape=(5, attention.num_heads, attention.qk_dim), dtype=dtype),
            "queries and keys normed head by head",
            geometry=f"{name} q_norm",
            profile="smoke" if name == "qwen3-32b" else "standard",
        )
    linear = core("qwen3-next-80b-a3b", "linear")
    for op in ("gated_rms_norm", "l2_norm"):
        yield _case(
            op,
            f"heads{linear.num_heads}-d{linear.v_dim}",
            dtype,
            partial(_norm, op=op, shape=(7, linear.num_heads, linear.v_dim), dtype=dtype),
            "the norms of linear attention",
            geometry="qwen3-next-80b-a3b",
            profile="smoke" if op == "gated_rms_norm" else "standard",
        )
    for hidden in (model("gemma-3-27b").hidden_size, 256):
        yield _case(
            "rms_norm",
            f"offset-d{hidden}",
            dtype,
            partial(_norm, op="rms_norm", shape=(5, hidden), dtype=dtype, weight_offset=1.0),
            "1 + weight, with the 1 forgotten or rounded away",
            geometry="gemma-3-27b",
        )


def _extents(dtype: str) -> Iterator[Case]:
    for op in (*_OPS, "gated_rms_norm", "l2_norm"):
        for axis, m, d in (("m", 600, 48), ("d", 3, 17_000)):
            yield _case(
                op,
                f"extents-{axis}",
                dtype,
                partial(_norm, op=op, shape=(m, d), dtype=dtype),
                OTHER_EXTENT,
                relations=(f"cuts:{axis}", *(("layouts", "again") if axis == "m" else ())),
                profile="smoke" if dtype == "bfloat16" and op == "rms_norm" else "standard",
            )
        if op != "rms_norm":
            for eps in (1e-4, 1e-12):
                yield _case(
                    op,
                    f"eps{eps:.0e}",
                    dtype,
                    partial(_norm, op=op, shape=(5, 256), dtype=dtype, rows=_near_eps_sum, eps=eps),
                    "an eps taken for granted, left out, or outside the root",
                )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    for dtype in FLOATS:
        yield from _models(dtype)
        yield from _extents(dtype)
        for op in (*_OPS, "gated_rms_norm", "l2_norm"):
            for m, d in ((1, 1), (3, 7), (130, 33), (2, 1001)):
                yield _case(
                    op,
                    f"m{m}-d{d}",
                    dtype,
                    partial(_norm, op=op, shape=(m, d), dtype=dtype),
                    "a hidden size that is no multiple of 16",
                )
        for op in _OPS:
            for what, rows, edge in _ROWS:
                yield _case(
                    op,
                    what,
                    dtype,
                    partial(_norm, op=op, shape=(5, 768), dtype=dtype, rows=rows),
                    edge,
                    profile="smoke"
                    if (op, what) in (("rms_norm", "squares-overflow"), ("layer_norm", "large-mean"))
                    else "standard",
                )
        for layout in ("transposed", "column-slice", "every-other"):
            yield _case(
                "rms_norm",
                layout,
                dtype,
                partial(_norm, op="rms_norm", shape=(18, 200), dtype=dtype, layout=layout),
                "strides taken for granted",
            )
        yield _case(
            "layer_norm",
            "bias-d5120",
            dtype,
            partial(_norm, op="layer_norm", shape=(5, 5120), dtype=dtype, bias=True),
            "a bias before the weight, or none",
        )
        for eps in (1e-5, 1e-12):
            yield _case(
                "rms_norm",
                f"eps{eps:.0e}",
                dtype,
                partial(_norm, op="rms_norm", shape=(5, 512), dtype=dtype, rows=_near_eps, eps=eps),
                "an eps taken for granted",
            )
