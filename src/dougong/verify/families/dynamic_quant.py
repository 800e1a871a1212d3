"""Quantisation at run time: tokens of zeros, of one value, of NaN; ties; groups that do not fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Unpack

import numpy as np

from dougong.backends import Array, Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.families.listing import Details, listed
from dougong.verify.geometry import matrix, model
from dougong.verify.numbers import cast, dtype_of, filled, laid_out, normal

Generator = np.random.Generator

_TO = ("int8", "float8_e4m3fn")
_MODELS = ("qwen3-32b", "deepseek-r1", "gpt-oss-120b")


def _random(
    generator: Generator,
    *,
    m: int,
    k: int,
    dtype: str,
    op: str = "dynamic_quant",
    layout: str | None = None,
    **attributes: object,
) -> Call:
    # Tokens differ in size, as they do: a scale of the next row is seen.
    size = np.exp(generator.uniform(-3, 3, (m, 1))).astype(np.float32)
    x = (generator.standard_normal((m, k), np.float32) * size).astype(dtype_of(dtype))
    return Call(op=op, inputs={"x": laid_out(x, layout) if layout else x}, attributes=attributes)


def _planted(
    generator: Generator,
    *,
    dtype: str,
    plant: Callable[[Generator, Array], None],
    op: str = "dynamic_quant",
    k: int = 300,
    **attributes: object,
) -> Call:
    """Five tokens; ``plant`` writes to the middle one."""
    x = normal(generator, (5, k), dtype)
    plant(generator, x[2])
    return Call(op=op, inputs={"x": x}, attributes=attributes)


def _zero(generator: Generator, row: Array) -> None:
    row[:] = 0


def _negative_zero(generator: Generator, row: Array) -> None:
    row[:] = -0.0


def _one_hot(generator: Generator, row: Array) -> None:
    row[:] = 0
    row[generator.integers(row.size)] = -3.0


def _nan(generator: Generator, row: Array) -> None:
    row[generator.integers(row.size)] = np.nan


def _infinity(generator: Generator, row: Array) -> None:
    row[generator.integers(row.size)] = -np.inf


def _outlier(generator: Generator, row: Array) -> None:
    row[generator.integers(row.size)] = 3000.0


def _equal(generator: Generator, row: Array) -> None:
    row[:] = 0.7


def _last(generator: Generator, row: Array) -> None:
    row[:] = 0.01
    row[-1] = 1.5


def _large(generator: Generator, row: Array) -> None:
    row[:] = normal(generator, row.shape, row.dtype.name, scale=15_000.0)


def _small(generator: Generator, row: Array) -> None:
    row[:] = normal(generator, row.shape, row.dtype.name, scale=1e-4)


_PLANTS = (
    ("zero-token", _zero, "a token of zeros divided by its scale of 0"),
    ("negative-zero-token", _negative_zero, "a token of negative zeros"),
    ("one-hot", _one_hot, "one value takes the whole range, the others are 0"),
    ("nan-token", _nan, "a NaN spoils its own token and no other"),
    ("infinite-token", _infinity, "an infinity spoils its own token and no other"),
    ("outlier", _outlier, "one value a thousand times the others"),
    ("equal", _equal, "every value the largest"),
    ("last-is-largest", _last, "a maximum that misses the tail"),
    ("large", _large, "squares or sums of the values overflow, their maximum does not"),
    ("small", _small, "an epsilon added to the scale"),
)


def _ties(generator: Generator, *, dtype: str, to: str) -> Call:
    """Whole and half steps of a scale that is a power of two, to both ends and beyond."""
    del generator
    steps = np.concatenate(
        (np.arange(-130, 131) / 1.0, np.arange(-126, 127) + 0.5, np.array([-300.0, 400.0]))
    )
    if dtype == "bfloat16":  # 8 bits hold halves up to 128
        steps = steps[np.abs(steps) <= 128]
    x = cast(steps * 0.25, dtype)
    return Call(
        op="static_quant", inputs={"x": x[None], "scale": filled((), "float32", 0.25)}, attributes={"to": to}
    )


def _static(generator: Generator, *, dtype: str, to: str) -> Call:
    x = normal(generator, (9, 500), dtype)
    scale = filled((), "float32", 0.021 if to == "int8" else 0.0071)
    return Call(op="static_quant", inputs={"x": x, "scale": scale}, attributes={"to": to})


def _case(
    what: str,
    dtype: str,
    make: Callable[[Generator], Call],
    edge: str,
    *,
    op: str = "dynamic_quant",
    **details: Unpack[Details],
) -> Case:
    return listed("dynamic_quant", op, what, dtype, make, edge, **details)


def _shapes(dtype: str, to: str) -> Iterator[Case]:
    places = [(name, model(name).hidden_size) for name in _MODELS]
    places.append(("qwen3-32b down_proj", matrix("qwen3-32b", "down_proj")[1]))
    for name, k in places:
        for m, group in ((1, 0), (17, 0), (9, 128)):
            yield _case(
                f"{'token' if not group else f'group{group}'}-m{m}-k{k}-to-{to}",
                dtype,
                partial(_random, m=m, k=k, dtype=dtype, to=to, group=group),
                "a maximum over part of a token; a scale of the next one",
                geometry=name,
                relations=("row_chunks", "batch_permutation") if m > 1 else (),
                profile="smoke" if k == 5120 and m == 17 else "standard",
            )
    for m, k, group in ((1, 1, 0), (7, 131, 0), (3, 130, 128), (5, 97, 32)):
        yield _case(
            f"odd-m{m}-k{k}-g{group}-to-{to}",
            dtype,
            partial(_random, m=m, k=k, dtype=dtype, to=to, group=group),
            "the last group is short",
        )
    for layout in ("transposed", "column-slice"):
        yield _case(
            f"{layout}-to-{to}",
            dtype,
            partial(_random, m=18, k=200, dtype=dtype, to=to, group=0, layout=layout),
            "strides taken for granted",
        )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    for dtype in FLOATS:
        for to in _TO:
            yield from _shapes(dtype, to)
            for axis, m, k in (("m", 300, 40), ("k", 3, 9000)):
                yield _case(
                    f"extents-{axis}-to-{to}",
                    dtype,
                    partial(_random, m=m, k=k, dtype=dtype, to=to, group=0),
                    OTHER_EXTENT,
                    relations=(f"cuts:{axis}", *(("layouts", "again") if axis == "m" else ())),
                    profile="smoke" if dtype == "bfloat16" else "standard",
                )
            for what, plant, edge in _PLANTS:
                yield _case(
                    f"{what}-to-{to}",
                    dtype,
                    partial(_planted, dtype=dtype, plant=plant, to=to, group=0),
                    edge,
                    profile="smoke" if what in ("zero-token", "one-hot") else "standard",
                )
            yield _case(
                f"static-to-{to}",
                dtype,
                partial(_static, dtype=dtype, to=to),
                "what is beyond the ends saturates",
                op="static_quant",
            )
        yield _case(
            "static-ties-to-int8",
            dtype,
            partial(_ties, dtype=dtype, to="int8"),
            "halves go to even; both ends saturate",
            op="static_quant",
            switches=("integer_tie",),
            profile="smoke",
        )
        for m, k in ((1, 5120), (17, 333)):
            yield _case(
                f"asymmetric-m{m}-k{k}",
                dtype,
                partial(_random, m=m, k=k, dtype=dtype, op="dynamic_quant_asymmetric"),
                "a zero point of the wrong sign or row",
                op="dynamic_quant_asymmetric",
            )
        for what, plant, edge in _PLANTS[:4]:
            yield _case(
                f"asymmetric-{what}",
                dtype,
                partial(_planted, dtype=dtype, plant=plant, op="dynamic_quant_asymmetric"),
                edge,
                op="dynamic_quant_asymmetric",
            )
