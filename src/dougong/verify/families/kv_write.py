"""Writes to the KV cache: every page size, padding, duplicates, slots beyond the pool and beyond 2**31."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from dougong.backends import Array, Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.geometry import core
from dougong.verify.numbers import bits, dtype_of, normal

_BLOCKS = (1, 16, 32, 64, 128)
_MODELS = ("qwen3-32b", "gpt-oss-120b", "llama-3.1-8b", "qwen3.5-27b")


def _slots(generator: np.random.Generator, what: str, entries: int, t: int) -> Array:
    slots = generator.permutation(entries)[:t]
    slots[0], slots[-1] = (0, entries - 1) if what != "one" else (entries - 1,) * 2
    slots = np.unique(slots)
    generator.shuffle(slots)
    if what == "padded":
        slots[1::3] = -1
    if what == "all-padded":
        slots[:] = -1
    if what == "duplicate":
        slots[: len(slots) // 2] = slots[0]
    if what == "beyond":
        slots[1] = entries
    if what == "far-beyond":
        slots[1] = (1 << 32) + 1
    return slots


def _write(
    generator: np.random.Generator,
    *,
    dtype: str,
    block: int,
    heads: int,
    d: int,
    t: int,
    what: str,
    index: str,
) -> Call:
    shape = (max(2, -(-4 * t // block)), block, heads, d)
    slots = _slots(generator, what, shape[0] * block, t).astype(index)
    return Call(
        op="kv_cache_write",
        inputs={
            "key_cache": bits(generator, shape, dtype),
            "value_cache": bits(generator, shape, dtype),
            "key": normal(generator, (len(slots), heads, d), dtype),
            "value": normal(generator, (len(slots), heads, d), dtype),
            "slots": slots,
        },
    )


def _write_float8(
    generator: np.random.Generator, *, dtype: str, cache: str, scale: float, loud: bool
) -> Call:
    shape, t = (5, 16, 2, 64), 23
    key, value = (normal(generator, (t, 2, 64), dtype, scale=4.0) for _ in range(2))
    if loud:
        key[0, 0, :4] = [60000.0, -60000.0, 1000.0, -500.0]
    old = [normal(generator, shape, "float32").astype(dtype_of(cache)) for _ in range(2)]
    slots = _slots(generator, "padded", 80, t)
    return Call(
        op="kv_cache_write",
        inputs={
            "key_cache": old[0],
            "value_cache": old[1],
            "key": key[: len(slots)],
            "value": value[: len(slots)],
            "slots": slots,
        },
        attributes={"key_scale": scale, "value_scale": 0.5 * scale},
    )


def _packed(generator: np.random.Generator, *, dtype: str) -> Call:
    """Keys and values as the windows of one fused projection that they are."""
    fused = normal(generator, (17, 12, 64), dtype)
    call = _write(generator, dtype=dtype, block=16, heads=2, d=64, t=17, what="distinct", index="int64")
    t = len(call.inputs["slots"])
    return Call(op=call.op, inputs={**call.inputs, "key": fused[:t, 8:10], "value": fused[:t, 10:12]})


def _latent(
    generator: np.random.Generator, *, dtype: str, block: int, latent: int, rotary: int, what: str
) -> Call:
    t = 29
    shape = (max(2, -(-4 * t // block)), block, latent + rotary)
    slots = _slots(generator, what, shape[0] * block, t)
    return Call(
        op="latent_cache_write",
        inputs={
            "cache": bits(generator, shape, dtype),
            "latent": normal(generator, (len(slots), latent), dtype),
            "rotary": normal(generator, (len(slots), rotary), dtype),
            "slots": slots,
        },
    )


def _mapping(generator: np.random.Generator, *, block: int, what: str) -> Call:
    requests = generator.integers(0, 5, 200)
    most = (1 << 31) - 1 if what == "large-pool" else 4096
    table = generator.integers(most - 4000 if what == "large-pool" else 0, most, (5, 64)).astype(np.int32)
    positions = generator.integers(0, 64 * block, 200)
    positions[:4] = [0, block - 1, min(block, 64 * block - 1), 64 * block - 1]
    if what == "padded":
        positions[4::5] = -1
    return Call(
        op="slot_mapping",
        inputs={"positions": positions, "requests": requests, "block_table": table},
        attributes={"block_size": block},
    )


def _copies(generator: np.random.Generator, *, dtype: str, block: int, what: str) -> Call:
    order = generator.permutation(24)
    pairs = np.stack([order[:8], order[8:16]], axis=1)
    if what == "chained":  # what is written here is read there
        pairs = np.stack([order[:9], np.roll(order[:9], 1)], axis=1)
    if what == "shared":
        pairs[:, 0] = order[0]
    cache = bits(generator, (24, block, 2, 33), dtype)
    return Call(op="copy_blocks", inputs={"cache": cache, "pairs": pairs.astype(np.int64)})


def _gathered(generator: np.random.Generator, *, dtype: str, block: int) -> Call:
    lengths = np.array([1, block, block + 1, 3 * block - 1, 0, 4 * block], np.int32)
    table = generator.permutation(6 * 4).reshape(6, 4).astype(np.int32)
    table[3] = table[2]
    cache = bits(generator, (24, block, 2, 32), dtype)
    return Call(op="gather_cache", inputs={"cache": cache, "block_table": table, "lengths": lengths})


def _divide(generator: np.random.Generator, *, op: str, dtype: str, what: str) -> Call:
    most = {"small": 4096, "large": (1 << 31) - 1, "wide": 1 << 62}[what]
    x = generator.integers(-most if what != "small" else 0, most, 500)
    other = np.tile([1, 16, 128, 3, 7], 100)
    if what != "small":
        x[:5], other[2::5] = [-1, -16, -17, -128, -129], -3
    return Call(op=op, inputs={"x": x.astype(dtype), "other": other.astype(dtype)})


def _case(op: str, what: str, dtype: str, **rest: object) -> Case:
    return Case(id=f"kv_write/{op}-{what}-{dtype}", family="kv_write", op=op, dtype=dtype, **rest)  # type: ignore[arg-type]


_SLOT_EDGES = {
    "distinct": "the first slot, the last and some between",
    "one": "the last slot alone",
    "padded": "padding between tokens: slot -1 is no slot",
    "all-padded": "nothing but padding: the cache stays as it was",
    "duplicate": "several tokens for one slot: one entry stays, whole",
    "beyond": "a slot one beyond the pool",
    "far-beyond": "a slot that 32 bits cannot tell from one inside",
}


def _switches(what: str) -> tuple[str, ...]:
    if what == "duplicate":
        return ("duplicate_write",)
    return ("slot_beyond_cache",) if what.endswith("beyond") else ()


def _pages() -> Iterator[Case]:
    heads = core("qwen3-32b")
    for dtype in FLOATS:
        for block in _BLOCKS:
            for what in ("distinct", "padded"):
                yield _case(
                    "kv_cache_write",
                    f"page{block}-{what}",
                    dtype,
                    make=partial(
                        _write,
                        dtype=dtype,
                        block=block,
                        heads=heads.num_kv_heads,
                        d=heads.qk_dim,
                        t=33,
                        what=what,
                        index="int64",
                    ),
                    geometry="qwen3-32b cache",
                    edge=f"pages of {block}; {_SLOT_EDGES[what]}",
                    exact=True,
                    provenance=("sgl-project/sglang#38196",) if block == 16 else (),
                    profile="smoke" if block in (1, 16, 128) and dtype == "bfloat16" else "standard",
                )
        for what, edge in _SLOT_EDGES.items():
            for index in ("int64", "int32") if what != "far-beyond" else ("int64",):
                yield _case(
                    "kv_cache_write",
                    f"{what}-{index}",
                    dtype,
                    make=partial(_write, dtype=dtype, block=16, heads=2, d=64, t=19, what=what, index=index),
                    edge=edge,
                    switches=_switches(what),
                    exact=what != "duplicate",
                    profile="smoke" if what == "beyond" and dtype == "bfloat16" else "standard",
                )
        for name in _MODELS[1:]:
            heads_of = core(name)
            yield _case(
                "kv_cache_write",
                name,
                dtype,
                make=partial(
                    _write,
                    dtype=dtype,
                    block=16,
                    heads=heads_of.num_kv_heads,
                    d=heads_of.qk_dim,
                    t=17,
                    what="padded",
                    index="int64",
                ),
                geometry=f"{name} cache",
                edge="heads and widths of a model",
                exact=True,
            )
        yield _case(
            "kv_cache_write",
            "extents",
            dtype,
            make=partial(_write, dtype=dtype, block=16, heads=2, d=72, t=140, what="padded", index="int64"),
            edge=OTHER_EXTENT,
            relations=("cuts:t", "cuts:d", "layouts", "again"),
            exact=True,
        )
        yield _case(
            "kv_cache_write",
            "fused-projection",
            dtype,
            make=partial(_packed, dtype=dtype),
            edge="keys and values that are windows of one projection",
            exact=True,
        )


def _narrow() -> Iterator[Case]:
    for dtype in FLOATS:
        for cache in ("float8_e4m3fn", "float8_e5m2"):
            for scale, loud in ((1.0, False), (0.037, False), (1.0, True)):
                if cache == "float8_e5m2" and loud:
                    continue
                yield _case(
                    "kv_cache_write",
                    f"{cache.replace('_', '-')}-{'loud' if loud else f'scale{scale:g}'}",
                    dtype,
                    make=partial(_write_float8, dtype=dtype, cache=cache, scale=scale, loud=loud),
                    edge="entries beyond the cache's largest number"
                    if loud
                    else "a float8 cache and its scales",
                    profile="smoke"
                    if dtype == "bfloat16" and scale != 1.0 and cache.endswith("fn")
                    else "standard",
                )


def _latents() -> Iterator[Case]:
    mla = core("deepseek-v3", "mla")
    for dtype in FLOATS:
        for block in (1, 64, 128):
            for what in ("padded", "distinct"):
                yield _case(
                    "latent_cache_write",
                    f"page{block}-{what}",
                    dtype,
                    make=partial(
                        _latent,
                        dtype=dtype,
                        block=block,
                        latent=mla.latent_dim,
                        rotary=mla.rope_dim,
                        what=what,
                    ),
                    geometry="deepseek-v3 cache",
                    edge=f"latent and rotary parts side by side; {_SLOT_EDGES[what]}",
                    exact=True,
                    profile="smoke" if block == 64 and dtype == "bfloat16" else "standard",
                )
        for what in ("duplicate", "beyond"):
            yield _case(
                "latent_cache_write",
                what,
                dtype,
                make=partial(_latent, dtype=dtype, block=16, latent=64, rotary=16, what=what),
                edge=_SLOT_EDGES[what],
                switches=_switches(what),
                exact=what != "duplicate",
            )


def _arithmetic() -> Iterator[Case]:
    for block in _BLOCKS:
        for what in ("plain", "padded", "large-pool"):
            yield _case(
                "slot_mapping",
                f"page{block}-{what}",
                "int64",
                make=partial(_mapping, block=block, what=what),
                edge="block numbers near 2**31: slots need 64 bits"
                if what == "large-pool"
                else "the last place of a page and the first of the next",
                exact=True,
                profile="smoke" if block == 16 else "standard",
            )
    for op in ("floor_divide", "remainder"):
        for dtype, ranges in (("int32", ("small", "large")), ("int64", ("small", "large", "wide"))):
            for what in ranges:
                yield _case(
                    op,
                    what,
                    dtype,
                    make=partial(_divide, op=op, dtype=dtype, what=what),
                    edge="-1 // 16 is a padded slot: -1, not 0; beyond 2**24 floats are not exact",
                    switches=("negative_division",) if what != "small" else (),
                    exact=True,
                    profile="smoke" if what == "large" else "standard",
                )


def _blocks() -> Iterator[Case]:
    for dtype in (*FLOATS, "float8_e4m3fn"):
        for block in (1, 16, 128):
            yield _case(
                "gather_cache",
                f"page{block}",
                dtype,
                make=partial(_gathered, dtype=dtype, block=block),
                edge="requests that end on a page, one past it and one short of it; shared pages; an empty request",
                exact=True,
            )
        for what in ("plain", "chained", "shared"):
            yield _case(
                "copy_blocks",
                what,
                dtype,
                make=partial(_copies, dtype=dtype, block=16, what=what),
                edge="a block that is read and written at once"
                if what == "chained"
                else "blocks evicted and resumed",
                exact=True,
            )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    yield from _pages()
    yield from _narrow()
    yield from _latents()
    yield from _arithmetic()
    yield from _blocks()
