"""Latent attention by both routes, chosen keys, and states carried over thousands of tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Unpack

import numpy as np

from dougong.backends import Array, Call
from dougong.ops.definition import FLOATS
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.families.listing import Details, listed
from dougong.verify.geometry import core
from dougong.verify.numbers import cast, integers, normal

Generator = np.random.Generator


def mla(
    generator: Generator,
    *,
    name: str,
    heads: int,
    t: int,
    s: int,
    dtype: str,
    route: str,
    rank: int | None = None,
) -> Call:
    """Make latent attention of a model, few of its heads."""
    attention = core(name, "mla")
    nope, rope, wide = attention.qk_dim - attention.rope_dim, attention.rope_dim, attention.v_dim
    width = rank or attention.latent_dim
    return Call(
        op="mla",
        inputs={
            "q_nope": normal(generator, (t, heads, nope), dtype),
            "q_rope": normal(generator, (t, heads, rope), dtype),
            "latent": normal(generator, (s, width), dtype),
            "k_rope": normal(generator, (s, rope), dtype),
            "w_uk": normal(generator, (heads, nope, width), dtype, scale=width**-0.5),
            "w_uv": normal(generator, (heads, wide, width), dtype, scale=width**-0.5),
        },
        attributes={"route": route},
    )


def _sparse(generator: Generator, *, t: int, s: int, n: int, dtype: str, what: str) -> Call:
    h, g, d = 4, 1, 64
    index = np.stack([generator.permutation(s)[:n] for _ in range(t)]).astype(np.int32)
    if what == "short":
        for row in range(t):
            index[row, 1 + (5 * row) % n :] = -1
    elif what == "ends":
        index[:, 0], index[:, 1:] = s - 1, np.where(index[:, 1:] == s - 1, 0, index[:, 1:])
        index.sort(axis=1)
        index = np.where(np.diff(index, axis=1, prepend=-2) == 0, -1, index).astype(np.int32)
    return Call(
        op="sparse_attention",
        inputs={
            "q": normal(generator, (t, h, d), dtype),
            "k": normal(generator, (s, g, d), dtype),
            "v": normal(generator, (s, g, d), dtype),
            "index": index,
        },
    )


def _index(generator: Generator, *, t: int, s: int, top_k: int, dtype: str, ties: bool) -> Call:
    attention = core("deepseek-v3.2", "mla")
    heads, d = attention.index_heads // 8, attention.index_dim
    if ties:  # whole numbers of few values: many equal scores
        q, k = integers(generator, (t, heads, d), dtype, most=1), integers(generator, (s, d), dtype, most=1)
        weights = np.ones((t, heads), np.float32)
    else:
        q, k = normal(generator, (t, heads, d), dtype), normal(generator, (s, d), dtype)
        weights = generator.standard_normal((t, heads)).astype(np.float32)
    return Call(op="index_select", inputs={"q": q, "k": k, "weights": weights}, attributes={"top_k": top_k})


def _unit(x: Array, dtype: str) -> Array:
    return cast(x / np.linalg.norm(x, axis=-1, keepdims=True), dtype)


def delta_rule(
    generator: Generator, *, t: int, heads: int, d: int, e: int, dtype: str, chunk: int, decay: str = "mixed"
) -> Call:
    """Make a gated delta rule: keys of norm 1, decays that forget at once, slowly or never."""
    g = {
        "mixed": -np.exp(generator.uniform(-9, 1, (t, heads))),
        "never": np.zeros((t, heads)),
        "at-once": np.full((t, heads), -30.0),
    }[decay]
    return Call(
        op="gated_delta_rule",
        inputs={
            "q": _unit(generator.standard_normal((t, heads, d)), dtype),
            "k": _unit(generator.standard_normal((t, heads, d)), dtype),
            "v": normal(generator, (t, heads, e), dtype),
            "g": g.astype(np.float32),
            "beta": generator.uniform(0.02, 1, (t, heads)).astype(np.float32),
            "state": normal(generator, (heads, d, e), "float32"),
        },
        attributes={"chunk": chunk},
    )


def _linear(generator: Generator, *, t: int, heads: int, d: int, dtype: str, chunk: int) -> Call:
    slopes = 2.0 ** (-8.0 * np.arange(1, heads + 1) / heads)
    return Call(
        op="linear_attention",
        inputs={
            "q": normal(generator, (t, heads, d), dtype, scale=d**-0.5),
            "k": normal(generator, (t, heads, d), dtype, scale=d**-0.25),
            "v": normal(generator, (t, heads, d), dtype),
            "g": -slopes.astype(np.float32),
            "state": normal(generator, (heads, d, d), "float32"),
        },
        attributes={"chunk": chunk},
    )


def _scan(generator: Generator, *, t: int, d: int, n: int, dtype: str) -> Call:
    return Call(
        op="selective_scan",
        inputs={
            "x": normal(generator, (t, d), dtype),
            "delta": np.exp(generator.uniform(-7, -1, (t, d))).astype(np.float32),
            "a": -(np.arange(1, n + 1) * generator.uniform(0.5, 1.5, (d, 1))).astype(np.float32),
            "b": normal(generator, (t, n), dtype),
            "c": normal(generator, (t, n), dtype, scale=n**-0.5),
            "skip": normal(generator, (d,), "float32"),
            "state": normal(generator, (d, n), "float32"),
        },
    )


def _conv(generator: Generator, *, t: int, d: int, width: int, dtype: str, bias: bool) -> Call:
    inputs = {
        "x": normal(generator, (t, d), dtype),
        "weight": normal(generator, (d, width), dtype, scale=width**-0.5),
        "state": normal(generator, (d, width - 1), dtype),
    }
    if bias:
        inputs["bias"] = normal(generator, (d,), dtype)
    return Call(op="causal_conv1d", inputs=inputs)


def _case(
    op: str, what: str, dtype: str, make: Callable[[Generator], Call], edge: str, **details: Unpack[Details]
) -> Case:
    return listed("latent_attention", op, f"{op.replace('_', '-')}-{what}", dtype, make, edge, **details)


def _latent(dtype: str) -> Iterator[Case]:
    for name in ("deepseek-r1", "kimi-linear-48b-a3b"):
        for route in ("naive", "absorbed"):
            for t, s in ((17, 17), (1, 130), (4, 530)):
                yield _case(
                    "mla",
                    f"{name}-{route}-t{t}-s{s}",
                    dtype,
                    partial(mla, name=name, heads=3, t=t, s=s, dtype=dtype, route=route),
                    "both routes are one formula; the rotary part belongs to every head",
                    geometry=f"{name}, 3 heads of {core(name, 'mla').num_heads}",
                    profile="smoke" if name == "deepseek-r1" and t == 4 else "standard",
                )
    for route in ("naive", "absorbed"):
        yield _case(
            "mla",
            f"one-token-{route}",
            dtype,
            partial(mla, name="deepseek-r1", heads=1, t=1, s=1, dtype=dtype, route=route, rank=40),
            "the first token of all, an odd rank",
        )


def _chosen(dtype: str) -> Iterator[Case]:
    for what, t, s, n in (("some", 5, 700, 64), ("short", 7, 700, 33), ("ends", 3, 2100, 2048)):
        yield _case(
            "sparse_attention",
            what,
            dtype,
            partial(_sparse, t=t, s=s, n=n, dtype=dtype, what=what),
            "keys by index, fewer than asked, the first and the last",
            profile="smoke" if what == "short" else "standard",
        )
    for t, s, top_k in ((4, 300, 64), (5, 2500, 2048), (3, 40, 64)):
        for ties in (False, True):
            yield _case(
                "index_select",
                f"t{t}-s{s}-k{top_k}{'-ties' if ties else ''}",
                dtype,
                partial(_index, t=t, s=s, top_k=top_k, dtype=dtype, ties=ties),
                "an index twice, an unseen key, a tie that drops a better one",
                geometry="deepseek-v3.2 indexer, heads cut",
            )


def _recurrences(dtype: str) -> Iterator[Case]:
    linear = core("qwen3-next-80b-a3b", "linear")
    d, e = linear.qk_dim, linear.v_dim
    for chunk in (1, 64):
        for t in (1, 63, 64, 129, 257):
            yield _case(
                "gated_delta_rule",
                f"chunk{chunk}-t{t}",
                dtype,
                partial(delta_rule, t=t, heads=2, d=d, e=e, dtype=dtype, chunk=chunk),
                "chunks that do not fill; a chunk's seam; the state handed on",
                geometry=f"qwen3-next-80b-a3b, 2 heads of {linear.num_heads}",
                profile="smoke" if t == 129 else "standard",
            )
        for decay in ("never", "at-once"):
            yield _case(
                "gated_delta_rule",
                f"chunk{chunk}-{decay}",
                dtype,
                partial(delta_rule, t=130, heads=2, d=64, e=32, dtype=dtype, chunk=chunk, decay=decay),
                "decays of 1 and of nothing: exponentials of large differences",
            )
    for t, profile in ((2048, "standard"), (32_768, "full")):
        yield _case(
            "gated_delta_rule",
            f"drift-t{t}",
            dtype,
            partial(delta_rule, t=t, heads=1, d=32, e=16, dtype=dtype, chunk=64, decay="never"),
            "an exponential's small error over thousands of tokens",
            profile=profile,
            provenance=("flagos-ai/vllm-plugin-FL",),
        )
    for chunk in (1, 64):
        for t in (1, 65, 200):
            yield _case(
                "linear_attention",
                f"chunk{chunk}-t{t}",
                dtype,
                partial(_linear, t=t, heads=4, d=64, dtype=dtype, chunk=chunk),
                "a decay of another head; a chunk's seam",
                geometry="minimax-m1 decays, 4 heads",
                profile="smoke" if chunk == 64 and t == 65 else "standard",
            )
    for t, width, n in ((1, 33, 16), (130, 64, 16), (600, 20, 16)):
        yield _case(
            "selective_scan",
            f"t{t}-d{width}-n{n}",
            dtype,
            partial(_scan, t=t, d=width, n=n, dtype=dtype),
            "a state kept in few bits, a step of the next channel",
            profile="smoke" if t == 130 else "standard",
        )
    for t, channels, width, bias in (
        (1, 130, 4, False),
        (7, 64, 4, True),
        (100, 33, 4, False),
        (2, 50, 3, True),
    ):
        yield _case(
            "causal_conv1d",
            f"t{t}-d{channels}-w{width}{'-bias' if bias else ''}",
            dtype,
            partial(_conv, t=t, d=channels, width=width, dtype=dtype, bias=bias),
            "the state of fewer tokens than taps; taps in the wrong order",
            geometry="qwen3-next-80b-a3b" if width == 4 else "edge",
            profile="smoke" if t == 7 else "standard",
        )


def _extents(dtype: str) -> Iterator[Case]:
    for route in ("naive", "absorbed"):
        for axis, heads, t, s in (("t", 1, 140, 140), ("h", 34, 1, 9), ("s", 1, 1, 600)):
            yield _case(
                "mla",
                f"extents-{axis}-{route}",
                dtype,
                partial(mla, name="deepseek-r1", heads=heads, t=t, s=s, dtype=dtype, route=route, rank=40),
                OTHER_EXTENT,
                # Fewer keys than tokens is no call, so of both only the tokens are cut.
                relations=(f"cuts:{axis}", *(("layouts",) if axis == "h" else ())),
                profile="smoke" if dtype == "bfloat16" and axis == "h" and route == "naive" else "standard",
            )
    for op, make in (
        ("gated_delta_rule", partial(delta_rule, t=140, heads=1, d=16, e=8, dtype=dtype, chunk=64)),
        ("linear_attention", partial(_linear, t=140, heads=2, d=16, dtype=dtype, chunk=64)),
        ("selective_scan", partial(_scan, t=140, d=5, n=4, dtype=dtype)),
        ("causal_conv1d", partial(_conv, t=520, d=9, width=4, dtype=dtype, bias=True)),
    ):
        yield _case(
            op,
            "extents",
            dtype,
            make,
            OTHER_EXTENT,
            relations=("cuts:t", "layouts", "again"),
        )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    for dtype in FLOATS:
        yield from _extents(dtype)
        yield from _latent(dtype)
        yield from _chosen(dtype)
        yield from _recurrences(dtype)
