"""Attention of a prompt: heads of real models, every way to say a mask, the seams of tiles, rows that see nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Unpack

import numpy as np

from dougong.backends import Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.families.attention_calls import (
    alike,
    blind,
    chosen,
    heads_of,
    masked,
    packed,
    poisoned,
    random_heads,
    sinks,
    slopes,
    token_major,
)
from dougong.verify.families.listing import Details, listed
from dougong.verify.geometry import core

Generator = np.random.Generator

_MODELS = (
    ("qwen3-32b", "full"),
    ("qwen3-next-80b-a3b", "full"),
    ("minimax-m2", "full"),
    ("gpt-oss-120b", "full"),
    ("glm-4.5", "full"),
    ("qwen2.5-7b", "full"),
    ("gemma-3-27b", "full"),
    ("deepseek-r1", "mla"),
)
_ENCODINGS = ("bool", "infinity", "finite", "none")
_SEAMS = (600, 1100, 4200)
_BOOL_THREADS = ("vllm-project/vllm-ascend#15503", "Ascend/pytorch#88")


def _case(
    what: str,
    dtype: str,
    make: Callable[[Generator], Call],
    edge: str,
    *,
    op: str = "attention",
    **details: Unpack[Details],
) -> Case:
    return listed("attention", op, what, dtype, make, edge, **details)


def _models(dtype: str) -> Iterator[Case]:
    for name, kind in _MODELS:
        heads = heads_of(name, kind)
        for t, s in ((33, 33), (1, 129), (16, 529)):
            yield _case(
                f"{name}-t{t}-s{s}",
                dtype,
                partial(random_heads, heads=heads, t=t, s=s, dtype=dtype, causal=True),
                "chunked prefill: the last query sees the last key" if t < s else "heads of a real model",
                geometry=f"{name}, {heads[0]} heads of {core(name, kind).num_heads}",
                switches=("causal_alignment",) if 1 < t < s else (),
                profile="smoke" if name in ("qwen3-32b", "deepseek-r1") and t == 16 else "standard",
            )
        if kind == "full":
            yield _case(
                f"{name}-chosen",
                dtype,
                partial(chosen, heads=heads, t=12, s=300, dtype=dtype, b=2),
                "which key-value head a query head reads",
                geometry=f"{name}, {heads[0]} heads of {core(name, kind).num_heads}",
                switches=("gqa_mapping",),
                provenance=("onnx/onnx#7274", "tracel-ai/burn#5783"),
                exact=True,
                profile="smoke" if name == "qwen3-32b" else "standard",
            )


def _masks(dtype: str) -> Iterator[Case]:
    for encoding in _ENCODINGS:
        for s in _SEAMS:
            yield _case(
                f"mask-{encoding}-s{s}",
                dtype,
                partial(
                    masked,
                    s=s,
                    encoding=encoding,
                    dtype=dtype,
                    heads=(2, 1, 64, 64) if s > 4096 else (4, 2, 64, 64),
                ),
                "a mask ignored from 512, 1,024 or 4,096 keys on; no mask at all, and a plain average",
                provenance=_BOOL_THREADS if encoding != "none" else ("vllm-project/vllm-ascend#13699",),
                profile="smoke" if s == 600 else "standard",
            )
    for shape in ("t s", "1 1 1 s", "b 1 1 s", "b h t s", "b 1 t s"):
        for encoding in ("bool", "infinity"):
            yield _case(
                f"mask-{encoding}-of-{shape.replace(' ', '')}",
                dtype,
                partial(masked, s=600, encoding=encoding, dtype=dtype, shape=shape),
                "a mask of lower rank or of other axes, taken for another",
                provenance=_BOOL_THREADS,
            )
    for encoding in ("bool", "infinity"):
        yield _case(
            f"blind-row-{encoding}",
            dtype,
            partial(blind, encoding=encoding, dtype=dtype),
            "a row that may see nothing",
            switches=("masked_row",),
            provenance=("pytorch/pytorch#101967", "pytorch/pytorch#109517", "pytorch/pytorch#110213"),
            profile="smoke" if encoding == "bool" else "standard",
        )
        for where, value in (("v", np.nan), ("k", np.nan), ("v", np.inf)):
            yield _case(
                f"masked-{'nan' if np.isnan(value) else 'infinity'}-{where}-{encoding}",
                dtype,
                partial(poisoned, encoding=encoding, dtype=dtype, where=where, value=value),
                "what is masked reaches the answer",
                switches=("masked_nan",),
            )


def _positions(dtype: str) -> Iterator[Case]:
    heads = (4, 2, 64, 64)
    for n in (1, 2, 17, 127, 128, 257):
        yield _case(
            f"causal-t{n}",
            dtype,
            partial(random_heads, heads=heads, t=n, s=n, dtype=dtype, causal=True),
            "the diagonal, at and beside the seam of a tile",
        )
    for t, s in ((7, 519), (64, 1088), (128, 129)):
        yield _case(
            f"chunk-t{t}-s{s}",
            dtype,
            partial(random_heads, heads=heads, t=t, s=s, dtype=dtype, causal=True),
            "a later chunk of a prompt: a causal mask laid at the wrong corner",
            switches=("causal_alignment",),
            profile="smoke" if t == 7 else "standard",
        )
    for t, s in ((5, 520), (3, 1030), (2, 4100)):
        yield _case(
            f"chosen-t{t}-s{s}",
            dtype,
            partial(chosen, heads=heads, t=t, s=s, dtype=dtype, b=2, causal=True),
            "the first and the last key, and one beyond the seam of a tile",
            switches=("causal_alignment",),
            exact=True,
            profile="smoke" if s == 1030 else "standard",
        )
    for name, window, t, s in (
        ("gpt-oss-120b", core("gpt-oss-120b").window or 0, 9, 300),
        ("gemma-3-27b", core("gemma-3-27b").window or 0, 9, 1100),
        ("edge", 1, 5, 20),
        ("edge", 16, 33, 33),
    ):
        yield _case(
            f"window{window}-s{s}",
            dtype,
            partial(random_heads, heads=heads, t=t, s=s, dtype=dtype, causal=True, window=window),
            "a window one too wide or too narrow",
            geometry=name,
            switches=("causal_alignment",) if t < s else (),
            profile="smoke" if s == 300 else "standard",
        )
        yield _case(
            f"window{window}-s{s}-chosen",
            dtype,
            partial(chosen, heads=heads, t=t, s=s, dtype=dtype, causal=True, window=window),
            "the last key inside the window",
            geometry=name,
            switches=("causal_alignment",) if t < s else (),
            exact=True,
        )
    for what, lengths, causal in (
        ("mixed", ((7, 7), (1, 40), (30, 30), (2, 130)), True),
        ("ones", ((1, 1), (1, 1), (1, 17)), True),
        ("empty", ((5, 5), (0, 0), (3, 9)), True),
        ("whole", ((4, 33), (9, 5)), False),
    ):
        yield _case(
            f"packed-{what}",
            dtype,
            partial(packed, lengths=lengths, dtype=dtype, causal=causal),
            "a sequence that sees its neighbour; sequences of length 1 and 0",
            op="attention_varlen",
            switches=("causal_alignment",) if causal else (),
            provenance=("vllm-project/vllm-ascend#13699",),
            profile="smoke" if what == "mixed" else "standard",
        )


def _values(dtype: str) -> Iterator[Case]:
    heads = (4, 2, 128, 128)
    for what, size, attributes in (
        ("plain", 1.0, {}),
        ("sharp", 75.0, {}),
        ("scale", 1.0, {"scale": 0.25}),
        ("softcap", 12.0, {"softcap": 50.0}),
        ("softcap-tight", 4.0, {"softcap": 5.0, "causal": True}),
    ):
        yield _case(
            what,
            dtype,
            partial(random_heads, heads=heads, t=8, s=200, dtype=dtype, b=3, size=size, **attributes),
            "logits of 300, a cap, a scale that is not the usual one",
            relations=("batch_permutation", "alone", "row_chunks:t") if "causal" not in attributes else (),
            switches=("causal_alignment",) if "causal" in attributes else (),
            asks_precision=what == "plain" and dtype == "float32",
            profile="smoke" if what in ("plain", "sharp") else "standard",
        )
    for what, extra in (("sinks", sinks), ("alibi", slopes)):
        for window in (0, 24):
            yield _case(
                f"{what}{'-window' if window else ''}",
                dtype,
                partial(
                    random_heads,
                    heads=heads,
                    t=40,
                    s=40,
                    dtype=dtype,
                    extra=extra,
                    causal=True,
                    window=window,
                ),
                "a sink whose value counts, a slope of another head",
                geometry="gpt-oss-120b" if what == "sinks" else "edge",
            )
    for s in (3, 100, 1000):
        yield _case(
            f"alike-s{s}",
            dtype,
            partial(alike, s=s, dtype=dtype),
            "equal logits: the mean of the values",
        )
    for t, kept in ((33, None), (40, 29)):
        yield _case(
            f"token-major-t{t}{'-cut' if kept else ''}",
            dtype,
            partial(token_major, t=t, dtype=dtype, kept=kept),
            "heads and tokens swapped in memory, cut out of a fused projection",
        )
    for h, g, d, e in ((1, 1, 64, 64), (3, 1, 80, 80), (5, 5, 96, 32), (9, 3, 64, 64), (7, 7, 256, 128)):
        yield _case(
            f"h{h}-g{g}-d{d}-e{e}",
            dtype,
            partial(random_heads, heads=(h, g, d, e), t=11, s=11, dtype=dtype, causal=True),
            "odd heads and widths, one key-value head, values of another width",
        )


def _extents(dtype: str) -> Iterator[Case]:
    for axis, b, heads, t, s in (
        ("b", 34, (2, 1, 16, 16), 2, 9),
        ("h", 1, (130, 1, 16, 16), 2, 9),
        ("d", 1, (2, 1, 520, 8), 3, 9),
        ("e", 1, (2, 1, 16, 260), 3, 9),
        ("t", 1, (2, 1, 32, 16), 520, 9),
        ("s", 1, (2, 1, 32, 16), 3, 4200),
    ):
        yield _case(
            f"extents-{axis}",
            dtype,
            partial(random_heads, b=b, heads=heads, t=t, s=s, dtype=dtype),
            OTHER_EXTENT,
            relations=(f"cuts:{axis}", *(("layouts", "again") if axis == "b" else ())),
            profile="smoke" if dtype == "bfloat16" else "standard",
        )
    for t in (32, 48, 64, 96, 100, 192, 255, 256, 384):
        yield _case(
            f"causal-t{t}",
            dtype,
            partial(random_heads, heads=(2, 1, 32, 32), t=t, s=t, dtype=dtype, causal=True),
            "the diagonal, at and beside the seam of a tile",
        )
    for times, pairs in ((2, 5), (4, 4), (5, 2), (7, 4), (8, 8), (10, 2), (12, 2), (16, 2)):
        yield _case(
            f"chosen-{pairs}-heads-of-{times}",
            dtype,
            partial(chosen, heads=(times * pairs, pairs, 32, 32), t=3, s=40, dtype=dtype),
            "which key-value head a query head reads",
            switches=("gqa_mapping",),
            exact=True,
        )
    yield _case(
        "alibi-6-heads",
        dtype,
        partial(random_heads, heads=(6, 6, 32, 32), t=40, s=40, dtype=dtype, extra=slopes, causal=True),
        "slopes that no narrow dtype holds",
    )
    lengths = ((40, 40), (1, 90), (33, 70))
    for what, attributes in (
        ("window", {"window": 17}),
        ("softcap", {"softcap": 3.0}),
        ("scale", {"scale": 0.3}),
    ):
        yield _case(
            f"packed-{what}",
            dtype,
            partial(packed, lengths=lengths, dtype=dtype, causal=True, **attributes),
            "a window, a cap or a scale forgotten in packed sequences",
            op="attention_varlen",
            switches=("causal_alignment",),
        )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    for dtype in FLOATS:
        yield from _models(dtype)
        yield from _extents(dtype)
        yield from _masks(dtype)
        yield from _positions(dtype)
        yield from _values(dtype)
