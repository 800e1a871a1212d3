"""Linear layers: extents of real models, one token to a prompt, and the accumulators' edges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Unpack

import numpy as np

from dougong.backends import Array, Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import Case
from dougong.verify.families.listing import Details, listed
from dougong.verify.geometry import matrix
from dougong.verify.numbers import LAYOUTS, cast, filled, integers, laid_out, normal, positive

Generator = np.random.Generator

_HEADS = (
    "deepseek-r1",
    "qwen3-32b",
    "kimi-k2",
    "minimax-m2",
    "gpt-oss-120b",
    "qwen3.5-27b",
    "gemma-3-27b",
)
_DEEP = (
    ("qwen3-32b", "q_proj"),
    ("qwen3-32b", "o_proj"),
    ("qwen3-32b", "down_proj"),
    ("llama-3.1-70b", "down_proj"),
    ("deepseek-r1", "kv_a_proj_with_mqa"),
    ("gpt-oss-120b", "q_proj"),
    ("minimax-m2", "o_proj"),
    ("kimi-linear-48b-a3b", "o_proj"),
)
_WIDE = (
    ("qwen3-32b", "gate_proj"),
    ("deepseek-r1", "kv_b_proj"),
    ("nemotron-h-56b", "mixer.in_proj"),
    ("llama-3.1-405b", "up_proj"),
)
_ODD = ((1, 1, 1), (3, 5, 7), (17, 71, 130), (33, 129, 257), (1, 1000, 1), (64, 1, 4095), (127, 255, 511))
_EMPTY = ((0, 16, 32), (4, 16, 0), (4, 0, 32))
_BATCHES = (
    ("heads", (1, 8, 64, 128), (1, 8, 128, 65)),
    ("many", (129, 3, 33), (129, 33, 5)),
    ("shared", (12, 7, 40), (1, 40, 9)),
    ("grouped", (2, 4, 1, 16), (2, 1, 16, 24)),
    ("one", (1, 17, 256), (1, 256, 31)),
    ("column", (5, 64, 1), (5, 1, 64)),
)
_DEEP_VALUES = 1 << 19
_LARGEST = {"float32": 3.4028234663852886e38, "float16": 65504.0, "bfloat16": 3.3895313892515355e38}
_SMALLEST_SUBNORMAL = {"float32": 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-133}


def random_linear(
    generator: Generator, *, m: int, n: int, k: int, dtype: str, bias: float | None = None
) -> Call:
    """Make a layer of normal numbers whose outputs are of the order of 1; ``bias`` is the scale of one."""
    inputs = {"x": normal(generator, (m, k), dtype)}
    inputs["weight"] = normal(generator, (n, k), dtype, scale=max(k, 1) ** -0.5)
    if bias is not None:
        inputs["bias"] = normal(generator, (n,), dtype, scale=bias)
    return Call(op="linear", inputs=inputs)


def _whole(generator: Generator, *, m: int, n: int, k: int, dtype: str) -> Call:
    x = integers(generator, (m, k), dtype, most=3)
    return Call(op="linear", inputs={"x": x, "weight": integers(generator, (n, k), dtype, most=3)})


def _positive(generator: Generator, *, m: int, n: int, k: int, dtype: str) -> Call:
    x = positive(generator, (m, k), dtype)
    return Call(op="linear", inputs={"x": x, "weight": positive(generator, (n, k), dtype, scale=4.0 / k)})


def _given(generator: Generator, *, x: Callable[[], Array], weight: Callable[[], Array]) -> Call:
    del generator
    return Call(op="linear", inputs={"x": x(), "weight": weight()})


def _one_hot(generator: Generator, *, n: int, k: int, dtype: str) -> Call:
    x = np.zeros((9, k), np.float32)
    x[np.arange(9), generator.permutation(k)[:9]] = 1.0
    return Call(op="linear", inputs={"x": cast(x, dtype), "weight": normal(generator, (n, k), dtype)})


def _narrow(generator: Generator, *, k: int, bits: int) -> Call:
    """Pairs ``1 + e`` and ``-1`` with ``e`` of one bit below the width under test: a narrowed product loses it."""
    x = np.ones((4, k), np.float32)
    x[:, ::2] += np.float32(2.0**-bits)
    weight = np.where(np.arange(k) % 2, -1.0, 1.0) * generator.choice([1.0, 2.0, 4.0], (8, k // 2)).repeat(
        2, 1
    )
    return Call(op="linear", inputs={"x": x, "weight": weight.astype(np.float32)})


def _planted(generator: Generator, *, dtype: str, where: str, values: tuple[float, ...]) -> Call:
    """A layer with special numbers: ``x`` has them in row 1, ``weight`` in row 2, ``pair`` a zero beside infinity."""
    x, weight = normal(generator, (5, 48), dtype), normal(generator, (19, 48), dtype)
    if where == "pair":
        weight[:, 7] = 0
    target, row = (weight, 2) if where == "weight" else (x, 1)
    for column, value in zip((7, 30, 47), values, strict=False):
        target[row, column] = value
    return Call(op="linear", inputs={"x": x, "weight": weight})


def _strided(generator: Generator, *, layout: str, operand: str, dtype: str) -> Call:
    call = random_linear(generator, m=18, n=66, k=140, dtype=dtype)
    return Call(op="linear", inputs={**call.inputs, operand: laid_out(call.inputs[operand], layout)})


def _batched(
    generator: Generator, *, a: tuple[int, ...], b: tuple[int, ...], dtype: str, swapped: bool
) -> Call:
    left, right = normal(generator, a, dtype), normal(generator, b, dtype, scale=a[-1] ** -0.5)
    if swapped:  # the layout of heads and of transposed keys, as a model hands them over
        left, right = (laid_out(each, "transposed") for each in (left, right))
    return Call(op="matmul", inputs={"a": left, "b": right})


def _case(
    what: str,
    dtype: str,
    make: Callable[[Generator], Call],
    edge: str,
    *,
    op: str = "linear",
    **details: Unpack[Details],
) -> Case:
    return listed("gemm", op, f"{op}-{what}", dtype, make, edge, **details)


def _models(dtype: str) -> Iterator[Case]:
    for name in _HEADS:
        n, k = matrix(name, "lm_head")
        for m in (1, 2):
            yield _case(
                f"vocab{n}-m{m}",
                dtype,
                partial(random_linear, m=m, n=n, k=8, dtype=dtype),
                "a column index beyond 2^17; a column tail",
                geometry=f"{name} lm_head, k cut to 8",
                profile="smoke" if n == 248_320 and m == 1 else "standard",
                provenance=("baidu/vLLM-Kunlun#387",),
                relations=("column_chunks",),
            )
        if name == "qwen3.5-27b" and dtype == "float16":
            yield _case(
                f"vocab{n}-whole",
                dtype,
                partial(random_linear, m=1, n=n, k=k, dtype=dtype),
                "the product that answered wrongly in service",
                geometry=f"{name} lm_head",
                profile="full",
                provenance=("baidu/vLLM-Kunlun#387",),
            )
    for name, weight in _DEEP:
        n, k = matrix(name, weight)
        n = min(n, _DEEP_VALUES // k)
        for m in (1, 2, 7, 16, 17, 128) if (name, weight) == _DEEP[0] else (1, 17, 128):
            yield _case(
                f"k{k}-{weight.split('.')[-1].replace('_', '-')}-m{m}",
                dtype,
                partial(random_linear, m=m, n=n, k=k, dtype=dtype),
                "rows that do not fill a tile; a long sum" if m in (7, 17) else "a long sum",
                geometry=f"{name} {weight}, n cut to {n}",
                profile="smoke" if m == 17 and k in (5120, 28_672) else "standard",
                relations=("row_chunks", "batch_permutation") if m > 1 else ("layouts",),
            )
    for name, weight in _WIDE:
        n, _ = matrix(name, weight)
        for m in (1, 9):
            yield _case(
                f"n{n}-m{m}",
                dtype,
                partial(random_linear, m=m, n=n, k=16, dtype=dtype),
                "many columns, few terms",
                geometry=f"{name} {weight}, k cut to 16",
                relations=("column_chunks",),
            )
    yield _case(
        "m4096",
        dtype,
        partial(random_linear, m=4096, n=160, k=96, dtype=dtype),
        "a whole prompt of rows",
        geometry="edge",
        relations=("row_chunks",),
    )


def _shapes(dtype: str) -> Iterator[Case]:
    for m, n, k in _ODD:
        yield _case(
            f"m{m}-n{n}-k{k}",
            dtype,
            partial(random_linear, m=m, n=n, k=k, dtype=dtype),
            "no extent fills a tile",
            profile="smoke" if k == 257 else "standard",
        )
    for m, n, k in _EMPTY:
        yield _case(
            f"empty-m{m}-n{n}-k{k}",
            dtype,
            partial(random_linear, m=m, n=n, k=k, dtype=dtype),
            "an extent of 0: a sum of nothing is 0",
            exact=True,
        )
    for operand in ("x", "weight"):
        for layout in LAYOUTS:
            yield _case(
                f"{operand}-{layout}",
                dtype,
                partial(_strided, layout=layout, operand=operand, dtype=dtype),
                "strides taken for granted",
                profile="smoke" if layout == "column-slice" and operand == "x" else "standard",
            )
    for (m, n, k), bias in (((17, 300, 128), 1.0), ((1, 5120, 64), 100.0), ((5, 7, 0), 1.0)):
        yield _case(
            f"bias-m{m}-n{n}-k{k}",
            dtype,
            partial(random_linear, m=m, n=n, k=k, dtype=dtype, bias=bias),
            "a bias dropped, added twice, or to rows instead of columns",
        )
    for what, a, b in _BATCHES:
        for swapped in (False, True):
            yield _case(
                what + ("-swapped" if swapped else ""),
                dtype,
                partial(_batched, a=a, b=b, dtype=dtype, swapped=swapped),
                "batch strides, expanded batches, the axes of heads swapped",
                op="matmul",
            )


def _extents(dtype: str) -> Iterator[Case]:
    for axis, m, n, k in (("m", 600, 33, 40), ("n", 2, 9000, 16), ("k", 3, 5, 9000)):
        yield _case(
            f"extents-{axis}",
            dtype,
            partial(random_linear, m=m, n=n, k=k, dtype=dtype),
            "an extent at which a kernel takes another way",
            relations=(f"cuts:{axis}", *(("layouts", "again") if axis == "m" else ())),
            profile="smoke" if dtype == "bfloat16" else "standard",
        )
    for axes, a, b in (("b", (140, 3, 8), (140, 8, 5)), ("mkn", (2, 66, 66), (2, 66, 66))):
        yield _case(
            f"extents-{axes}",
            dtype,
            partial(_batched, a=a, b=b, dtype=dtype, swapped=False),
            "an extent at which a kernel takes another way",
            op="matmul",
            relations=(*(f"cuts:{axis}" for axis in axes), "layouts", "again"),
            profile="smoke" if dtype == "bfloat16" else "standard",
        )


def _sums(dtype: str) -> Iterator[Case]:
    for m, n, k in ((3, 5, 64), (17, 130, 333), (1, 248_320, 8), (130, 258, 96)):
        yield _case(
            f"integers-m{m}-n{n}-k{k}",
            dtype,
            partial(_whole, m=m, n=n, k=k, dtype=dtype),
            "whole numbers: exact in any order, so a wrong element anywhere is seen",
            profile="smoke" if n in (130, 248_320) else "standard",
            exact=True,
            provenance=("baidu/vLLM-Kunlun#387",) if n > 200_000 else (),
        )
    for k in (257, 2049, 8192):
        yield _case(
            f"ones-k{k}",
            dtype,
            partial(_given, x=partial(filled, (3, k), dtype), weight=partial(filled, (5, k), dtype)),
            "a running sum that stands still in 8 or 11 bits",
            profile="smoke" if k == 8192 else "standard",
            exact=True,
        )
    for k in (1024, 4096):
        yield _case(
            f"positive-k{k}",
            dtype,
            partial(_positive, m=9, n=64, k=k, dtype=dtype),
            "sums without cancellation: a biased product or sum adds up",
            profile="smoke" if k == 1024 else "standard",
        )
    for k in (512, 1024, 4096):
        signs = np.where(np.arange(k) < k // 2, 16.0, -16.0)
        yield _case(
            f"cancelling-k{k}",
            dtype,
            partial(
                _given,
                x=partial(filled, (3, k), dtype, 16.0),
                weight=partial(cast, np.tile(signs, (5, 1)), dtype),
            ),
            "partial sums beyond 65504, answer 0",
            profile="smoke" if k == 1024 else "standard",
            exact=True,
        )
    yield _case(
        "one-hot",
        dtype,
        partial(_one_hot, n=700, k=512, dtype=dtype),
        "every weight comes out as it went in: no narrower product",
        exact=True,
    )
    steps = np.ones((4, 512))
    steps[:, 0] = 512.0 if dtype == "bfloat16" else 4096.0
    yield _case(
        "staircase",
        dtype,
        partial(_given, x=partial(cast, steps, dtype), weight=partial(filled, (3, 512), dtype)),
        "one large term, many small ones that a narrow sum drops",
        exact=True,
    )


def _specials(dtype: str) -> Iterator[Case]:
    nan, inf = np.nan, np.inf
    for what, where, values in (
        ("nan-row", "x", (nan,)),
        ("nan-column", "weight", (nan,)),
        ("inf-row", "x", (inf,)),
        ("inf-column", "weight", (-inf,)),
        ("inf-zero", "pair", (inf,)),
        ("inf-minus-inf", "x", (inf, -inf)),
        ("nan-last", "x", (1.0, 1.0, nan)),
    ):
        yield _case(
            what,
            dtype,
            partial(_planted, dtype=dtype, where=where, values=values),
            "NaN and infinity go where they must and nowhere else",
            profile="smoke" if what in ("nan-row", "inf-zero") else "standard",
            provenance=("tenstorrent/tt-metal#56414",),
        )
    top = _LARGEST[dtype]
    root = 2.0 ** (8 if dtype == "float16" else 64)
    for what, x, weight, k in (
        ("overflow", root, root, 1),
        ("overflow-sum", root / 2, root / 2, 32),
        ("overflow-negative", -root, root, 2),
        ("largest", top / 2, 1.0, 2),
    ):
        yield _case(
            what,
            dtype,
            partial(
                _given,
                x=partial(filled, (2, k), dtype, x),
                weight=partial(filled, (3, k), dtype, weight),
            ),
            "the largest number stays, what is beyond becomes infinity and not the largest number",
            profile="smoke" if what == "overflow-sum" else "standard",
            provenance=("DeepLink-org/deeplink.framework#684",),
            switches=() if what == "largest" else ("overflow",),
        )
    least = _SMALLEST_SUBNORMAL[dtype]
    for what, x, weight in (("subnormal-input", 6 * least, 3.0), ("subnormal-result", 2.0**-6, 64 * least)):
        yield _case(
            what,
            dtype,
            partial(
                _given,
                x=partial(filled, (2, 1), dtype, x),
                weight=partial(filled, (3, 1), dtype, weight),
            ),
            "subnormal numbers kept or flushed",
            switches=("subnormals",),
        )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    for dtype in FLOATS:
        yield from _models(dtype)
        yield from _shapes(dtype)
        yield from _extents(dtype)
        yield from _sums(dtype)
        yield from _specials(dtype)
    for k, bits in ((2, 12), (64, 12), (512, 12), (64, 16)):
        yield _case(
            f"narrow-product-k{k}-bit{bits}",
            "float32",
            partial(_narrow, k=k, bits=bits),
            "TF32, HF32 or bfloat16 products behind float32",
            profile="smoke" if bits == 12 else "standard",
        )
