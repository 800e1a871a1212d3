"""Views and copies: strided, expanded and empty arrays, odd extents, every dtype, every bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from dougong.backends import Array, Call
from dougong.verify.case import Case
from dougong.verify.geometry import core
from dougong.verify.numbers import bits

_DTYPES = ("float32", "float16", "bfloat16", "float8_e4m3fn", "int8", "int32", "int64")
_USUAL = ("float32", "bfloat16", "int8", "int64")

_SIZES = (
    *(1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 96, 127, 128, 129, 192, 255, 256, 257, 511, 512),
    *(1000, 1023, 1024, 1025, 2048, 4095, 4096, 4097, 1 << 16),
)

Layout = Callable[[np.random.Generator, str], Array]


def _plain(generator: np.random.Generator, dtype: str) -> Array:
    return bits(generator, (7, 33, 5), dtype)


def _strided(generator: np.random.Generator, dtype: str) -> Array:
    return bits(generator, (14, 70, 5), dtype)[::2, 3:69:2]


def _offset(generator: np.random.Generator, dtype: str) -> Array:
    return bits(generator, (9, 40, 5), dtype)[1:8, 5:38]


def _transposed(generator: np.random.Generator, dtype: str) -> Array:
    return bits(generator, (5, 33, 7), dtype).transpose(2, 1, 0)


def _expanded(generator: np.random.Generator, dtype: str) -> Array:
    return np.broadcast_to(bits(generator, (7, 1, 5), dtype), (7, 33, 5))


def _backwards(generator: np.random.Generator, dtype: str) -> Array:
    return bits(generator, (7, 33, 5), dtype)[:, ::-1]


def _empty(generator: np.random.Generator, dtype: str) -> Array:
    return bits(generator, (7, 0, 5), dtype)


_LAYOUTS: dict[str, tuple[Layout, str]] = {
    "plain": (_plain, "odd extents"),
    "strided": (_strided, "every second row and column of a wider buffer"),
    "offset": (_offset, "a window that starts inside its buffer"),
    "transposed": (_transposed, "axes in another order"),
    "expanded": (_expanded, "one row seen many times"),
    "backwards": (_backwards, "read from its end"),
    "empty": (_empty, "no element at all"),
}

_ATTRIBUTES: dict[str, dict[str, object]] = {
    "copy": {},
    "transpose": {"axes": (2, 0, 1)},
    "slice": {"axis": 1, "start": 1, "stop": 32, "step": 3},
    "reshape": {"shape": (35, -1)},
    "concat": {"axis": 1},
    "repeat": {"axis": 0, "count": 3},
    "pad": {"axis": 1, "extent": 48},
    "where": {},
    "flip": {"axis": 1},
    "roll": {"axis": 1, "shift": 5},
    "staged_copy": {},
}


def _make(generator: np.random.Generator, *, op: str, dtype: str, layout: str) -> Call:
    make, attributes = _LAYOUTS[layout][0], dict(_ATTRIBUTES[op])
    x = make(generator, dtype)
    inputs = {"x": x}
    if op in ("concat", "where"):
        inputs["other"] = make(generator, dtype)
    if op == "where":
        inputs["mask"] = generator.random(x.shape) < 0.5
    if op == "reshape" and x.size == 0:
        attributes["shape"] = (0, 35)
    return Call(op=op, inputs=inputs, attributes=attributes)


def _shape(
    generator: np.random.Generator, *, op: str, dtype: str, shape: tuple[int, ...], **attributes: object
) -> Call:
    return Call(op=op, inputs={"x": bits(generator, shape, dtype)}, attributes=attributes)


def _case(op: str, what: str, dtype: str, **rest: object) -> Case:
    return Case(id=f"view/{op}-{what}-{dtype}", family="view", op=op, dtype=dtype, exact=True, **rest)  # type: ignore[arg-type]


def _layouts() -> Iterator[Case]:
    for op in _ATTRIBUTES:
        for layout, (_, edge) in _LAYOUTS.items():
            for dtype in (
                _DTYPES if op == "copy" else _USUAL if layout in ("plain", "strided") else ("bfloat16",)
            ):
                yield _case(
                    op,
                    layout,
                    dtype,
                    make=partial(_make, op=op, dtype=dtype, layout=layout),
                    edge=edge,
                    profile="smoke"
                    if (op == "copy" and dtype == "bfloat16") or (layout == "strided" and dtype == "float32")
                    else "standard",
                )


def _models() -> Iterator[Case]:
    heads = core("qwen3-32b")
    for dtype in ("float16", "bfloat16"):
        yield _case(
            "repeat",
            "key-value-heads",
            dtype,
            make=partial(
                _shape,
                op="repeat",
                dtype=dtype,
                shape=(2, heads.num_kv_heads, 129, heads.qk_dim),
                axis=1,
                count=heads.num_heads // heads.num_kv_heads,
            ),
            geometry="qwen3-32b key-value heads",
            edge="each head beside its copies, not the whole set again",
            profile="smoke" if dtype == "bfloat16" else "standard",
        )
        yield _case(
            "transpose",
            "heads",
            dtype,
            make=partial(
                _shape,
                op="transpose",
                dtype=dtype,
                shape=(1, 257, heads.num_heads, heads.qk_dim),
                axes=(0, 2, 1, 3),
            ),
            geometry="qwen3-32b attention",
            edge="tokens by heads to heads by tokens",
        )
        for n in _SIZES:
            yield _case(
                "copy",
                f"{n}-elements",
                dtype,
                make=partial(_shape, op="copy", dtype=dtype, shape=(n,)),
                edge="sizes around a line of memory, and one beyond it",
            )
        yield _case(
            "staged_copy",
            "many",
            dtype,
            make=partial(_shape, op="staged_copy", dtype=dtype, shape=(64, 4099)),
            edge="a buffer that is overwritten while the last copy may still read it",
        )


def cases() -> Iterator[Case]:
    """Cases of the family."""
    yield from _layouts()
    yield from _models()
