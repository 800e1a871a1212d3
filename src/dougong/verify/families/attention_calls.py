"""Calls of attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.bound import LARGEST
from dougong.verify.geometry import core
from dougong.verify.numbers import cast, dtype_of, filled, normal, signs

Generator = np.random.Generator


def heads_of(name: str, kind: str) -> tuple[int, int, int, int]:
    """Return query heads, key-value heads, and both widths of a head: the ratio of the model, few key-value heads."""
    attention = core(name, kind)
    if kind == "mla":  # computed with one key-value head per query head in prefill
        return 3, 3, attention.qk_dim, attention.v_dim
    ratio = attention.num_heads // attention.num_kv_heads
    return 2 * ratio, 2, attention.qk_dim, attention.v_dim


def qkv(
    generator: Generator,
    *,
    b: int,
    heads: tuple[int, int, int, int],
    t: int,
    s: int,
    dtype: str,
    size: float = 1.0,
) -> dict[str, Array]:
    """Make queries, keys and values; logits of the order of ``size``."""
    h, g, d, e = heads
    return {
        "q": normal(generator, (b, h, t, d), dtype, scale=size),
        "k": normal(generator, (b, g, s, d), dtype),
        "v": normal(generator, (b, g, s, e), dtype),
    }


def random_heads(
    generator: Generator,
    *,
    heads: tuple[int, int, int, int],
    t: int,
    s: int,
    dtype: str,
    b: int = 1,
    size: float = 1.0,
    extra: Callable[[Generator, int, str], dict[str, Array]] | None = None,
    **attributes: Any,
) -> Call:
    """Make attention of normal numbers."""
    inputs = qkv(generator, b=b, heads=heads, t=t, s=s, dtype=dtype, size=size)
    if extra:
        inputs |= extra(generator, heads[0], dtype)
    return Call(op="attention", inputs=inputs, attributes=attributes)


def sinks(generator: Generator, heads: int, dtype: str) -> dict[str, Array]:
    """Make one more logit per head."""
    return {"sinks": normal(generator, (heads,), dtype, scale=2.0)}


def slopes(generator: Generator, heads: int, dtype: str) -> dict[str, Array]:
    """Make the slopes of ALiBi."""
    del generator, dtype
    return {"slopes": (2.0 ** (-8.0 * np.arange(1, heads + 1) / heads)).astype(np.float32)}


def encoded(visible: Array, encoding: str, dtype: str) -> Array | None:
    """Say which keys are visible: as bool, or as what is added to logits."""
    if encoding == "none":
        return None
    if encoding == "bool":
        return visible
    hidden = -np.inf if encoding == "infinity" else -LARGEST[dtype]
    return np.where(visible, 0.0, hidden).astype(np.float32).astype(dtype_of(dtype))


def masked(
    generator: Generator,
    *,
    s: int,
    encoding: str,
    dtype: str,
    shape: str = "1 1 t s",
    heads: tuple[int, int, int, int] = (4, 2, 64, 64),
) -> Call:
    """Make keys masked at random, and a run of them from the middle of the last tile on."""
    b, t = 2, 4
    inputs = qkv(generator, b=b, heads=heads, t=t, s=s, dtype=dtype)
    extents = {"b": b, "t": t, "s": s, "h": heads[0], "1": 1}
    visible = generator.random([extents[axis] for axis in shape.split()]) < 0.5
    visible[..., s - s // 5 :] = False
    visible[..., 0] = True
    mask = encoded(visible, encoding, dtype)
    return Call(op="attention", inputs=inputs if mask is None else {**inputs, "mask": mask})


def blind(generator: Generator, *, encoding: str, dtype: str) -> Call:
    """Make attention whose third row sees nothing."""
    inputs = qkv(generator, b=1, heads=(2, 2, 64, 64), t=6, s=40, dtype=dtype)
    visible = generator.random((1, 1, 6, 40)) < 0.5
    visible[..., 0] = True
    visible[:, :, 2] = False
    mask = encoded(visible, encoding, dtype)
    assert mask is not None
    return Call(op="attention", inputs={**inputs, "mask": mask})


def poisoned(generator: Generator, *, encoding: str, dtype: str, where: str, value: float) -> Call:
    """Make attention with ``value`` in a masked key or value."""
    inputs = qkv(generator, b=1, heads=(2, 1, 64, 64), t=5, s=70, dtype=dtype)
    visible = generator.random((1, 1, 5, 70)) < 0.5
    visible[..., 0] = True
    visible[..., [33, 69]] = False
    inputs[where][:, :, [33, 69]] = value
    mask = encoded(visible, encoding, dtype)
    assert mask is not None
    return Call(op="attention", inputs={**inputs, "mask": mask})


def chosen(
    generator: Generator,
    *,
    heads: tuple[int, int, int, int],
    t: int,
    s: int,
    dtype: str,
    b: int = 1,
    **attributes: Any,
) -> Call:
    """Make attention in which every query finds one key and nothing of the others: the answer is a value."""
    h, g, d, e = heads
    inputs = qkv(generator, b=b, heads=heads, t=t, s=s, dtype=dtype)
    keys = signs(generator, (b, g, s, d), "float32")
    last = np.arange(t) + s - t if attributes.get("causal") else np.full(t, s - 1)
    window = int(attributes.get("window", 0)) or s
    first = np.maximum(last - window + 1, 0)
    target = generator.integers(first, last + 1, (b, h, t))
    target[..., 0], target[..., -1] = first[0], last[-1]
    of_head = np.repeat(keys, h // g, axis=1)
    q = 32.0 * np.take_along_axis(of_head, target[..., None], axis=2)
    assert e == inputs["v"].shape[-1]
    return Call(
        op="attention", inputs={**inputs, "q": cast(q, dtype), "k": cast(keys, dtype)}, attributes=attributes
    )


def alike(generator: Generator, *, s: int, dtype: str) -> Call:
    """Make keys that are all the same: the plain mean of values that are not."""
    inputs = qkv(generator, b=1, heads=(2, 1, 64, 64), t=3, s=s, dtype=dtype)
    return Call(op="attention", inputs={**inputs, "k": filled(inputs["k"].shape, dtype, 0.25)})


def token_major(generator: Generator, *, t: int, dtype: str, kept: int | None = None) -> Call:
    """Make heads as a fused projection leaves them: ``[b, t, h, d]`` seen as ``[b, h, t, d]``, cut out of one row."""
    b, h, g, d = 2, 6, 2, 64
    fused = normal(generator, (b, t, h + 2 * g, d), dtype)
    parts = np.split(fused, [h, h + g], axis=2)
    inputs = {name: part.swapaxes(1, 2) for name, part in zip("qkv", parts, strict=True)}
    if kept:
        inputs = {name: part[:, :, :kept] for name, part in inputs.items()}
    return Call(op="attention", inputs=inputs, attributes={"causal": True})


def packed(
    generator: Generator, *, lengths: tuple[tuple[int, int], ...], dtype: str, causal: bool, **attributes: Any
) -> Call:
    """Make packed sequences of (query tokens, key tokens)."""
    queries, keys = (np.cumsum([0, *each]).astype(np.int32) for each in zip(*lengths, strict=True))
    h, g, d = 8, 2, 64
    return Call(
        op="attention_varlen",
        inputs={
            "q": normal(generator, (int(queries[-1]), h, d), dtype),
            "k": normal(generator, (int(keys[-1]), g, d), dtype),
            "v": normal(generator, (int(keys[-1]), g, d), dtype),
            "q_starts": queries,
            "k_starts": keys,
        },
        attributes={"causal": causal, **attributes},
    )
