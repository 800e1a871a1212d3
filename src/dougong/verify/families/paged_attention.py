"""Decode attention: every page size, tables in any order, pages half full, slots that hold what is no longer true."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Unpack

import numpy as np

from dougong.backends import Array, Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import Case
from dougong.verify.families.attention_calls import heads_of
from dougong.verify.families.listing import Details, listed
from dougong.verify.numbers import dtype_of, filled, normal, signs

Generator = np.random.Generator
Heads = tuple[int, int, int, int]

_PAGES = (1, 8, 16, 32, 48, 64, 128, 256)
_HEADS: Heads = (4, 2, 64, 64)
_MODELS = ("qwen3-32b", "qwen3-next-80b-a3b", "gpt-oss-120b", "glm-4.5")
_STALE = 30.0
"""How much larger than the rest what stands in unused slots is: plausible, finite, and seen when read."""


def paged(
    generator: Generator,
    *,
    lengths: Sequence[int],
    page: int,
    dtype: str,
    heads: Heads = _HEADS,
    t: int = 1,
    chosen: bool = False,
    stale: float | None = None,
    shared: int = 0,
    cache: str | None = None,
    **attributes: Any,
) -> Call:
    """Make sequences over one pool of pages, in a shuffled order.

    Parameters
    ----------
    chosen
        Every query finds one key and nothing of the others: the answer is a value, bit for bit.
    stale
        What stands in unused slots; large numbers unless told otherwise.
    shared
        How many of its first pages the last sequence shares with the first.
    cache
        The dtype of keys and values, with scales.
    """
    h, g, d, e = heads
    wanted = [-(-length // page) for length in lengths]
    width, spare = max(wanted) + 2, 3
    order = generator.permutation(sum(wanted) + spare).astype(np.int32)
    pool = len(order)
    table = np.full((len(lengths), width), order[-1], np.int32)  # beyond a sequence: a page of nobody
    for row, start in enumerate(np.cumsum([0, *wanted[:-1]])):
        table[row, : wanted[row]] = order[start : start + wanted[row]]
    if shared:
        table[-1, :shared] = table[0, :shared]
    filled_slots = np.zeros((pool, page), np.bool_)
    for row, length in enumerate(lengths):
        at = np.arange(length)
        filled_slots[table[row, at // page], at % page] = True
    kind = cache or dtype
    keys, values = (_stored(generator, (pool, page, g, width_), kind) for width_ in (d, e))
    if chosen:
        keys = signs(generator, keys.shape, kind)
    unused = _STALE if stale is None else stale
    for stored in (keys, values):
        if cache == "int8":
            stored[~filled_slots] = 127
        else:
            stored[~filled_slots] = (stored[~filled_slots].astype(np.float32) * unused).astype(stored.dtype)
    if chosen:
        q = _aimed(generator, keys, table, lengths, (h, g, d), t, attributes)
    else:
        q = normal(generator, (len(lengths), t, h, d), "float32")
    inputs = {
        "q": q.astype(dtype_of(dtype)),
        "key_cache": keys,
        "value_cache": values,
        "block_table": table,
        "lengths": np.array(lengths, np.int32),
    }
    if cache:
        size = 1 / 73.0 if cache == "int8" else 1.0
        inputs |= {"k_scale": filled((), "float32", 1.3 * size), "v_scale": filled((), "float32", 0.7 * size)}
    return Call(op="paged_attention", inputs=inputs, attributes=attributes)


def _stored(generator: Generator, shape: tuple[int, ...], kind: str) -> Array:
    if kind == "int8":
        return generator.integers(-127, 127, shape, np.int8, endpoint=True)
    return normal(generator, shape, kind)


def _aimed(
    generator: Generator,
    keys: Array,
    table: Array,
    lengths: Sequence[int],
    shape: tuple[int, int, int],
    t: int,
    attributes: dict[str, Any],
) -> Array:
    h, g, d = shape
    q = np.empty((len(lengths), t, h, d), np.float32)
    window, page = int(attributes.get("window", 0)), keys.shape[1]
    for row, length in enumerate(lengths):
        for step in range(t):
            last = length - t + step
            first = max(0, last - window + 1) if window else 0
            target = generator.integers(first, last + 1, h)
            target[0], target[-1] = first, last
            of_head = np.arange(h) // (h // g)
            q[row, step] = 32.0 * keys[table[row, target // page], target % page, of_head].astype(np.float32)
    return q


def _merged(generator: Generator, *, parts: int, dtype: str, what: str) -> Call:
    values = normal(generator, (parts, 5, 4, 64), dtype)
    log_sums = generator.uniform(-4, 9, (parts, 5, 4)).astype(np.float32)
    if what == "far":
        log_sums *= np.float32(40)
    elif what == "empty":
        log_sums[0, 1:3] = -np.inf
        log_sums[1:, 2] = -np.inf
        values[0, 1:3] = np.nan
    elif what == "equal":
        log_sums[:] = log_sums[:1]
    return Call(op="merge_attention", inputs={"parts": values, "log_sums": log_sums})


def _case(
    what: str,
    dtype: str,
    make: Callable[[Generator], Call],
    edge: str,
    *,
    op: str = "paged_attention",
    **details: Unpack[Details],
) -> Case:
    return listed("paged_attention", op, what, dtype, make, edge, **details)


def _pages(dtype: str) -> Iterator[Case]:
    for page in _PAGES:
        lengths = (1, page, page + 1, 3 * page + page // 2 + 1, max(1, 2 * page - 1), 300)
        for chosen in (False, True):
            yield _case(
                f"page{page}{'-chosen' if chosen else ''}",
                dtype,
                partial(paged, lengths=lengths, page=page, dtype=dtype, chosen=chosen),
                "a page size that corrupts; the last page half full; the slot after the last",
                relations=("batch_permutation", "alone"),
                exact=chosen,
                provenance=("sgl-project/sglang#38196",),
                profile="smoke" if page in (16, 128) and chosen else "standard",
            )
        yield _case(
            f"page{page}-shared",
            dtype,
            partial(
                paged,
                lengths=(3 * page, 2 * page + 1, 3 * page + 1),
                page=page,
                dtype=dtype,
                shared=2,
                chosen=True,
            ),
            "two sequences with the same first pages",
            exact=True,
        )
    for name in _MODELS:
        heads = heads_of(name, "full")
        for page in (16, 128):
            yield _case(
                f"{name}-page{page}",
                dtype,
                partial(paged, lengths=(300, 17), page=page, dtype=dtype, heads=heads),
                "heads of a real model",
                geometry=f"{name}, {heads[0]} heads",
                provenance=("sgl-project/sglang#38196",),
                profile="smoke" if name == "qwen3-32b" and page == 16 else "standard",
            )
    for t in (2, 4):
        for chosen in (False, True):
            yield _case(
                f"tokens{t}{'-chosen' if chosen else ''}",
                dtype,
                partial(paged, lengths=(40, 100, 16 + t), page=16, dtype=dtype, t=t, chosen=chosen),
                "several tokens of a sequence at once: a draft sees its successors",
                exact=chosen,
            )


def _batches(dtype: str) -> Iterator[Case]:
    for batch in (1, 3, 64, 128, 200, 256, 257, 512, 1024):
        lengths = [1 + (7 * row) % 37 for row in range(batch)]
        yield _case(
            f"batch{batch}",
            dtype,
            partial(paged, lengths=lengths, page=16, dtype=dtype, heads=(2, 1, 64, 64), chosen=batch > 64),
            "a row that reads its neighbour's table, under load",
            exact=batch > 64,
            relations=("batch_permutation",) if batch in (3, 64) else (),
            profile="smoke" if batch == 257 else "standard",
        )
    for length in (512, 513, 1025, 4097):
        yield _case(
            f"context{length}",
            dtype,
            partial(paged, lengths=(length, length - 3), page=64, dtype=dtype, heads=(2, 1, 64, 64)),
            "keys from 512 or 4,096 on dropped; a split of the keys that loses its remainder",
            provenance=("vllm-project/vllm-ascend#15503",),
        )
    for length in (32_768, 131_072):
        yield _case(
            f"context{length}-chosen",
            dtype,
            partial(paged, lengths=(length,), page=128, dtype=dtype, heads=(2, 1, 64, 16), chosen=True),
            "the first and the last of a hundred thousand keys",
            exact=True,
            profile="full" if length == 131_072 and dtype != "bfloat16" else "standard",
            provenance=("ROCm/aiter#4855", "vllm-project/vllm#54924"),
        )
    yield _case(
        "context131072",
        dtype,
        partial(paged, lengths=(131_072,), page=128, dtype=dtype, heads=(2, 1, 64, 32)),
        "a sum over a hundred thousand values",
        profile="full",
    )


def _extents(dtype: str) -> Iterator[Case]:
    lengths = tuple(1 + (7 * row) % 37 for row in range(100))
    yield _case(
        "extents-b",
        dtype,
        partial(paged, lengths=lengths, page=16, dtype=dtype, heads=(2, 1, 16, 16)),
        "a batch at which a kernel takes another way; strides taken for granted",
        relations=("cuts:b", "layouts", "again"),
    )
    yield _case(
        "extents-h",
        dtype,
        partial(paged, lengths=(17, 40), page=16, dtype=dtype, heads=(70, 1, 16, 16)),
        "a number of heads at which a kernel takes another way",
        relations=("cuts:h",),
    )
    every = (
        *range(1, 131),
        191,
        192,
        193,
        255,
        256,
        257,
        383,
        384,
        500,
        511,
        512,
        640,
        1000,
        1023,
        1024,
        2048,
        4096,
    )
    for page in (16, 64):
        yield _case(
            f"lengths-page{page}",
            dtype,
            partial(paged, lengths=every, page=page, dtype=dtype, heads=(2, 1, 32, 32)),
            "a length at which a kernel takes another way: a full page, a full split",
            profile="smoke" if dtype == "bfloat16" and page == 16 else "standard",
        )


def _slots(dtype: str) -> Iterator[Case]:
    yield _case(
        "unused-nan",
        dtype,
        partial(paged, lengths=(5, 33, 64), page=16, dtype=dtype, stale=np.nan),
        "NaN left in unused slots",
        switches=("masked_nan",),
        profile="smoke",
    )
    yield _case(
        "unused-zero",
        dtype,
        partial(paged, lengths=(5, 33, 64), page=16, dtype=dtype, stale=0.0),
        "unused slots of zeros: they would still take weight",
    )
    for cache in ("float8_e4m3fn", "int8"):
        for page in (16, 64):
            yield _case(
                f"cache-{cache}-page{page}",
                dtype,
                partial(paged, lengths=(70, 16, 129), page=page, dtype=dtype, cache=cache),
                "a cache in 8 bits: both scales, and which is which",
                profile="smoke" if page == 16 and cache == "float8_e4m3fn" else "standard",
            )
    for what, attributes in (
        ("window", {"window": 24}),
        ("softcap", {"softcap": 8.0}),
        ("scale", {"scale": 0.3}),
    ):
        yield _case(
            what,
            dtype,
            partial(paged, lengths=(20, 24, 25, 90), page=16, dtype=dtype, **attributes),
            "a window, a cap or a scale forgotten in decode",
        )
    yield _case(
        "window-chosen",
        dtype,
        partial(paged, lengths=(24, 25, 90), page=16, dtype=dtype, chosen=True, window=24),
        "the first key inside the window",
        exact=True,
    )
    for what in ("plain", "far", "empty", "equal"):
        for parts in (2, 7):
            yield _case(
                f"merge{parts}-{what}",
                dtype,
                partial(_merged, parts=parts, dtype=dtype, what=what),
                "parts of the keys merged with the wrong weight; a part that saw nothing",
                op="merge_attention",
                profile="smoke" if what == "empty" and parts == 7 else "standard",
            )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    for dtype in FLOATS:
        yield from _pages(dtype)
        yield from _batches(dtype)
        yield from _extents(dtype)
        yield from _slots(dtype)
