"""Rotary embedding: the angles of real models from the first token to the millionth."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Unpack

import numpy as np

from dougong.backends import Array, Call
from dougong.backends.reference.rope import tables
from dougong.ops.definition import FLOATS
from dougong.verify.case import OTHER_EXTENT, Case
from dougong.verify.families.listing import Details, listed
from dougong.verify.geometry import core
from dougong.verify.numbers import dtype_of, laid_out, normal

Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Rotary:
    """How a model turns its heads, from its configuration; ``dim`` 0 is the whole head."""

    model: str
    base: float
    dim: int = 0
    style: str = "neox"
    scaling: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def attributes(self) -> dict[str, Any]:
        """As a call has them."""
        return {"base": self.base, "dim": self.dim, "style": self.style, "scaling": dict(self.scaling)}


_LLAMA3 = {"type": "llama3", "factor": 8.0, "low": 1.0, "high": 4.0, "original": 8192}
_YARN_R1 = {"type": "yarn", "factor": 40.0, "fast": 32.0, "slow": 1.0, "original": 4096}
_YARN_OSS = {
    "type": "yarn",
    "factor": 32.0,
    "fast": 32.0,
    "slow": 1.0,
    "original": 4096,
    "truncate": False,
    "attention_factor": 0.1 * math.log(32.0) + 1.0,
}
_MODELS = (
    Rotary("qwen3-32b", 1e6),
    Rotary("llama-3.1-8b", 5e5, scaling=_LLAMA3),
    Rotary("gpt-oss-120b", 150_000.0, scaling=_YARN_OSS),
    Rotary("glm-4.5", 1e6, dim=64),
    Rotary("qwen3-next-80b-a3b", 1e7, dim=64),
    Rotary("minimax-m2", 5e6, dim=64),
    Rotary("gemma-3-27b", 1e6, scaling={"type": "linear", "factor": 8.0}),
    Rotary("glm-4-9b", 1e4, dim=64, style="interleaved"),
)
_LATENT = Rotary("deepseek-r1", 1e4, style="interleaved", scaling=_YARN_R1)
_DYNAMIC = {"type": "dynamic", "factor": 2.0, "length": 16_384, "original": 4096}
_STARTS = {"0": 0, "4k": 4096, "128k": 131_072, "1m": 1_048_576}
_TOKENS = 9


def _positions(generator: Generator, start: int, count: int = _TOKENS) -> Array:
    """Positions about ``start``, not in order, ``start`` itself among them."""
    near = start + generator.permutation(max(64, count))[:count]
    near[count // 2] = start
    return near.astype(np.int64)


def _rope(
    generator: Generator,
    *,
    start: int,
    heads: int,
    d: int,
    dtype: str,
    attributes: Mapping[str, Any],
    tokens: int = _TOKENS,
    layout: str | None = None,
) -> Call:
    x = normal(generator, (tokens, heads, d), dtype)
    if layout:
        x = laid_out(x, layout)
    positions = _positions(generator, start, tokens)
    return Call(op="rope", inputs={"x": x, "positions": positions}, attributes=attributes)


def _angles(generator: Generator, *, start: int, dim: int, attributes: Mapping[str, Any]) -> Call:
    positions = np.concatenate((_positions(generator, start, 33), np.array([start + 1, max(start - 1, 0)])))
    return Call(op="rope_angles", inputs={"positions": positions}, attributes={**attributes, "dim": dim})


def _cached(generator: Generator, *, rows: int, heads: int, d: int, dtype: str, style: str, ids: str) -> Call:
    tokens = 12
    plan = Call(op="rope_angles", inputs={"x": np.zeros((1, 1, d))}, attributes={"base": 1e6})
    cos, sin = (each.astype(dtype_of(dtype)) for each in tables(plan, np.arange(rows)))
    positions = generator.integers(0, rows, tokens)
    if ids == "every-other":
        positions = generator.integers(0, rows, 2 * tokens)[::2]
    elif ids == "last":
        positions[:] = rows - 1
    elif ids == "int32":
        positions = positions.astype(np.int32)
    inputs = {
        "x": normal(generator, (tokens, heads, d), dtype),
        "cos": cos,
        "sin": sin,
        "positions": positions,
    }
    return Call(op="rope_cached", inputs=inputs, attributes={"style": style})


def _mrope(
    generator: Generator, *, d: int, dim: int, dtype: str, sections: tuple[int, ...], interleaved: bool
) -> Call:
    positions = np.stack([_positions(generator, start, 15) for start in (2000, 40, 17)])
    return Call(
        op="mrope",
        inputs={"x": normal(generator, (15, 2, d), dtype), "positions": positions},
        attributes={"base": 5e6, "dim": dim, "sections": sections, "interleaved": interleaved},
    )


def _scores(generator: Generator, *, start: int, d: int, dtype: str) -> Call:
    q, k = (normal(generator, (n, 2, d), dtype) for n in (16, 64))
    at = start + np.arange(64)
    return Call(
        op="rope_scores",
        inputs={"q": q, "k": k, "q_positions": at[-16:].astype(np.int64), "k_positions": at.astype(np.int64)},
        attributes={"base": 1e6},
    )


def _case(
    op: str, what: str, dtype: str, make: Callable[[Generator], Call], edge: str, **details: Unpack[Details]
) -> Case:
    return listed("rope", op, f"{op.replace('_', '-')}-{what}", dtype, make, edge, **details)


def _tables() -> Iterator[Case]:
    every = (*_MODELS, _LATENT)
    for rotary in every:
        attention = core(rotary.model, "mla" if rotary is _LATENT else "full")
        dim = rotary.dim or attention.rope_dim or attention.qk_dim
        for what, start in _STARTS.items():
            yield _case(
                "rope_angles",
                f"{rotary.model}-{what}",
                "float32",
                partial(_angles, start=start, dim=dim, attributes=rotary.attributes),
                "an angle in bfloat16, or a sine reduced badly at large angles",
                geometry=rotary.model,
                profile="smoke" if rotary.model == "qwen3-32b" else "standard",
            )
    for what, start in (("2-24", 2**24 - 20), ("beyond-2-24", 2**24 + 1)):
        yield _case(
            "rope_angles",
            what,
            "float32",
            partial(_angles, start=start, dim=128, attributes={"base": 1e6}),
            "positions that float32 holds no more",
        )
    yield _case(
        "rope_angles",
        "dynamic-4k",
        "float32",
        partial(_angles, start=4096, dim=128, attributes={"base": 1e4, "scaling": _DYNAMIC}),
        "a base grown with the length",
    )


def _heads(dtype: str) -> Iterator[Case]:
    for rotary in _MODELS:
        attention = core(rotary.model)
        for what in ("0", "4k", "128k"):
            yield _case(
                "rope",
                f"{rotary.model}-{what}",
                dtype,
                partial(
                    _rope,
                    start=_STARTS[what],
                    heads=min(attention.num_kv_heads, 8),
                    d=attention.qk_dim,
                    dtype=dtype,
                    attributes=rotary.attributes,
                ),
                "halves instead of pairs, a part that is not to be turned, the sign of the sine",
                geometry=f"{rotary.model} keys",
                relations=("row_chunks", "batch_permutation") if what == "4k" else (),
                profile="smoke"
                if (rotary.model, what) in (("qwen3-32b", "4k"), ("glm-4-9b", "0"))
                else "standard",
            )
    yield _case(
        "rope",
        "deepseek-r1-128k",
        dtype,
        partial(
            _rope,
            start=131_072,
            heads=2,
            d=core("deepseek-r1", "mla").rope_dim,
            dtype=dtype,
            attributes=_LATENT.attributes,
        ),
        "the turned part of a latent head",
        geometry="deepseek-r1",
    )
    for heads, d, tokens, layout in (
        (1, 64, 1, None),
        (3, 80, 5, None),
        (5, 96, 33, "column-slice"),
        (7, 128, 17, "transposed"),
    ):
        yield _case(
            "rope",
            f"h{heads}-d{d}-t{tokens}{'-' + layout if layout else ''}",
            dtype,
            partial(
                _rope,
                start=1000,
                heads=heads,
                d=d,
                dtype=dtype,
                attributes={"base": 1e4},
                tokens=tokens,
                layout=layout,
            ),
            "odd heads, odd sizes, heads cut out of a fused projection",
        )
    for style in ("neox", "interleaved"):
        for axis, heads, tokens in (("t", 1, 600), ("h", 130, 2)):
            yield _case(
                "rope",
                f"extents-{axis}-{style}",
                dtype,
                partial(
                    _rope,
                    start=1000,
                    heads=heads,
                    d=16,
                    dtype=dtype,
                    attributes={"base": 1e4, "style": style},
                    tokens=tokens,
                ),
                OTHER_EXTENT,
                relations=(f"cuts:{axis}", "layouts", "again"),
                profile="smoke" if dtype == "bfloat16" and style == "neox" else "standard",
            )
        for d in (8, 32, 72, 112, 160, 192, 256, 512):
            yield _case(
                "rope",
                f"width{d}-{style}",
                dtype,
                partial(
                    _rope, start=1000, heads=2, d=d, dtype=dtype, attributes={"base": 1e4, "style": style}
                ),
                "a width of a head at which a kernel takes another way",
            )
        for ids in ("random", "every-other", "last", "int32"):
            yield _case(
                "rope_cached",
                f"{style}-{ids}",
                dtype,
                partial(_cached, rows=4096, heads=4, d=128, dtype=dtype, style=style, ids=ids),
                "rows of a table by ids that are not contiguous",
                profile="smoke" if (style, ids) == ("neox", "every-other") else "standard",
            )
    for what, d, dim, sections, interleaved in (
        ("qwen2-vl", 128, 128, (16, 24, 24), False),
        ("qwen3-vl", 128, 128, (24, 20, 20), True),
        ("qwen3.5", 256, 64, (11, 11, 10), True),
    ):
        yield _case(
            "mrope",
            what,
            dtype,
            partial(_mrope, d=d, dim=dim, dtype=dtype, sections=sections, interleaved=interleaved),
            "time, height and width mixed up",
            geometry=f"{what} sections",
        )
    for what, start in _STARTS.items():
        yield _case(
            "rope_scores",
            f"shift-{what}",
            dtype,
            partial(_scores, start=start, d=128, dtype=dtype),
            "the same text further on scores the same: an angle in few bits does not",
            profile="smoke" if what == "128k" else "standard",
        )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    yield from _tables()
    for dtype in FLOATS:
        yield from _heads(dtype)
