"""Operators of llama.cpp itself: GEMM on quantised weights, attention over a cache, small operators.

The wheel ``xllamacpp`` holds ggml and shows its C functions; they are called through :mod:`ctypes`, on random weights.

References
----------
ggml, ``include/ggml.h`` and ``include/ggml-cpu.h``: names and signatures.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dougong.errors import EnvironmentLacking
from dougong.measure.probe.rows import Row, time_of

TYPES: Mapping[str, int] = {"fp32": 0, "fp16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 8}
"""Formats of the catalog to ``ggml_type``."""

_POINTER, _INT, _LONG, _SIZE, _FLOAT = (
    ctypes.c_void_p,
    ctypes.c_int,
    ctypes.c_int64,
    ctypes.c_size_t,
    ctypes.c_float,
)
_SIGNATURES: Mapping[str, tuple[Any, tuple[Any, ...]]] = {
    "ggml_new_tensor_2d": (_POINTER, (_POINTER, _INT, _LONG, _LONG)),
    "ggml_new_tensor_3d": (_POINTER, (_POINTER, _INT, _LONG, _LONG, _LONG)),
    "ggml_mul_mat": (_POINTER, (_POINTER, _POINTER, _POINTER)),
    "ggml_add": (_POINTER, (_POINTER, _POINTER, _POINTER)),
    "ggml_flash_attn_ext": (_POINTER, (*(_POINTER,) * 5, _FLOAT, _FLOAT, _FLOAT)),
    "ggml_new_graph_custom": (_POINTER, (_POINTER, _SIZE, ctypes.c_bool)),
    "ggml_build_forward_expand": (None, (_POINTER, _POINTER)),
    "ggml_graph_compute_with_ctx": (_INT, (_POINTER, _POINTER, _INT)),
    "ggml_get_data": (_POINTER, (_POINTER,)),
    "ggml_nbytes": (_SIZE, (_POINTER,)),
    "ggml_quantize_chunk": (_SIZE, (_INT, _POINTER, _POINTER, _LONG, _LONG, _LONG, _POINTER)),
    "ggml_free": (None, (_POINTER,)),
    "ggml_cpu_init": (None, ()),
}
_HEADROOM_BYTES = 64 << 20
_MOST_COPIES = 1000  # a graph has 4,096 places
_COLD_BYTES = 96 << 20
"""Weights of one pass are so large together: a model's do not stay in a cache from step to step either [byte]."""


class _Params(ctypes.Structure):
    _fields_ = (("mem_size", _SIZE), ("mem_buffer", _POINTER), ("no_alloc", ctypes.c_bool))


class Ggml:
    """The functions of ggml that are measured, bound to one scratch memory at a time."""

    def __init__(self, threads: int) -> None:
        spec = importlib.util.find_spec("xllamacpp")
        folder = Path(spec.origin).parent if spec and spec.origin else None
        found = sorted(folder.glob("xllamacpp*.so")) if folder else []
        if not found:
            raise EnvironmentLacking("xllamacpp is not installed", hint="pip install 'dougong[local]'")
        self.library: Any = ctypes.CDLL(str(found[0]))
        self.threads = threads
        try:
            self.library.ggml_init.restype = _POINTER
            self.library.ggml_init.argtypes = (_Params,)
            for name, (result, arguments) in _SIGNATURES.items():
                function = getattr(self.library, name)
                function.restype, function.argtypes = result, arguments
        except AttributeError as error:
            raise EnvironmentLacking(f"this xllamacpp does not show ggml's functions ({error})") from None
        self.library.ggml_cpu_init()

    def context(self, size: int) -> Any:
        """Scratch memory for tensors of ``size`` bytes in all."""
        return self.library.ggml_init(_Params(size + _HEADROOM_BYTES, None, False))

    def filled(self, context: Any, dtype: str, *extents: int) -> Any:
        """A tensor of random values, its first extent the contiguous one."""
        make = self.library.ggml_new_tensor_2d if len(extents) == 2 else self.library.ggml_new_tensor_3d
        tensor = make(context, TYPES[dtype], *extents)
        rows = int(np.prod(extents[1:]))
        values = np.random.default_rng(0).standard_normal((rows, extents[0]), dtype=np.float32)
        data = self.library.ggml_get_data(tensor)
        if dtype in ("fp32", "fp16"):
            stored = values if dtype == "fp32" else values.astype(np.float16)
            ctypes.memmove(data, stored.ctypes.data, stored.nbytes)
        else:
            self.library.ggml_quantize_chunk(
                TYPES[dtype], values.ctypes.data, data, 0, rows, extents[0], None
            )
        return tensor

    def causal(self, context: Any, tokens: int) -> Any:
        """A mask that shows each of ``tokens`` queries what lies up to its own place."""
        tensor = self.library.ggml_new_tensor_2d(context, TYPES["fp16"], tokens, tokens)
        values = np.triu(np.full((tokens, tokens), -np.inf, dtype=np.float16), 1)
        ctypes.memmove(self.library.ggml_get_data(tensor), values.ctypes.data, values.nbytes)
        return tensor

    def copies(self, context: Any, dtype: str, k: int, n: int, count: int) -> list[Any]:
        """``count`` equal matrices, each in memory of its own."""
        first = self.filled(context, dtype, k, n)
        data, size = self.library.ggml_get_data(first), self.library.ggml_nbytes(first)
        more = [self.library.ggml_new_tensor_2d(context, TYPES[dtype], k, n) for _ in range(count - 1)]
        for one in more:
            ctypes.memmove(self.library.ggml_get_data(one), data, size)
        return [first, *more]

    def timed(self, context: Any, outputs: list[Any]) -> tuple[float, float, str]:
        """Least and median time of one of the outputs, computed as one graph [s]."""
        graph = self.library.ggml_new_graph_custom(context, 4096, False)
        for output in outputs:
            self.library.ggml_build_forward_expand(graph, output)
        return time_of(
            lambda: self.library.ggml_graph_compute_with_ctx(context, graph, self.threads),
            count=len(outputs),
            threads=self.threads,
        )


def measure(threads: int, *, quick: bool) -> Iterator[Row]:
    """Rows of GEMM by format, shape and batch, of attention, and of a small operator."""
    ggml = Ggml(threads)
    formats = ("q4_1", "q8_0", "fp16") if quick else ("q4_0", "q4_1", "q8_0", "fp16", "fp32")
    shapes = ((512, 1536), (2048, 2048)) if quick else ((512, 512), (512, 1536), (2048, 2048))
    for dtype in formats:
        for n, k in shapes:
            for m in (1, 4, 128) if quick else (1, 2, 4, 8, 16, 64, 256):
                yield _gemm(ggml, dtype, m, n, k)
    for context in (256, 1024) if quick else (128, 512, 2048):
        yield _attention(ggml, 1, context)
        yield _attention(ggml, context, context)
    yield _small(ggml)


def _gemm(ggml: Ggml, dtype: str, m: int, n: int, k: int) -> Row:
    bits = {"fp32": 32.0, "fp16": 16.0, "q8_0": 8.5, "q4_1": 5.0, "q4_0": 4.5}[dtype]
    weight = n * k * bits / 8
    copies = max(2, min(int(_COLD_BYTES / weight), _MOST_COPIES, max(int(2e9 / (2.0 * m * n * k)), 2)))
    context = ggml.context(int(copies * (weight + n * m * 4 + m * k * 8)))
    try:
        x = ggml.filled(context, "fp32", k, m)
        weights = ggml.copies(context, dtype, k, n, copies)
        outputs = [ggml.library.ggml_mul_mat(context, one, x) for one in weights]
        least, median, clock = ggml.timed(context, outputs)
    finally:
        ggml.library.ggml_free(context)
    return Row(
        library="ggml", op="gemm", dtype=dtype, threads=ggml.threads, m=m, n=n, k=k, flop=2.0 * m * n * k,
        bytes=weight + 4.0 * m * (n + k), seconds=least, median_s=median, clock=clock,
    )  # fmt: skip


def _attention(ggml: Ggml, queries: int, context_tokens: int, heads: int = 8, kv_heads: int = 4) -> Row:
    width = 64
    cache = 2 * context_tokens * kv_heads * width * 2
    copies = max(1, min(16, int(4e8 / (4.0 * queries * context_tokens * heads * width))))
    scratch = copies * (cache + 3 * queries * heads * width * 4) + 2 * queries * context_tokens
    context = ggml.context(scratch + (1 << 20))
    try:
        outputs: list[Any] = []
        mask = ggml.causal(context, context_tokens) if queries > 1 else None
        for _ in range(copies):
            q = ggml.filled(context, "fp32", width, queries, heads)
            k, v = (ggml.filled(context, "fp16", width, context_tokens, kv_heads) for _ in range(2))
            outputs.append(ggml.library.ggml_flash_attn_ext(context, q, k, v, mask, width**-0.5, 0.0, 0.0))
        least, median, clock = ggml.timed(context, outputs)
    finally:
        ggml.library.ggml_free(context)
    seen = context_tokens if queries == 1 else (context_tokens + 1) / 2
    return Row(
        library="ggml", op="decode_attention" if queries == 1 else "prefill_attention", dtype="fp16",
        threads=ggml.threads, m=queries, context=context_tokens, heads=heads, kv_heads=kv_heads, head_dim=width,
        flop=4.0 * queries * seen * heads * width, bytes=float(cache + 8 * queries * heads * width),
        seconds=least, median_s=median, clock=clock,
    )  # fmt: skip


def _small(ggml: Ggml) -> Row:
    n, count = 512, 200
    context = ggml.context(count * n * 8)
    try:
        x = ggml.filled(context, "fp32", n, 1)
        y = x
        outputs: list[Any] = []
        for _ in range(count):
            y = ggml.library.ggml_add(context, y, x)
            outputs.append(y)
        least, median, clock = ggml.timed(context, outputs)
    finally:
        ggml.library.ggml_free(context)
    return Row(
        library="ggml", op="elementwise", dtype="fp32", threads=ggml.threads, n=n, bytes=12.0 * n,
        flop=float(n), seconds=least, median_s=median, clock=clock,
    )  # fmt: skip
