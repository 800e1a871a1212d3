"""Memory bandwidth and GEMM of the processor, through numpy and the BLAS it brings."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dougong.measure.probe.rows import Row, time_of

Array = Any
_REPEATS = 5


def measure(threads: int, *, quick: bool) -> Iterator[Row]:
    """Rows of bandwidth at several sizes and of GEMM at several shapes."""
    sizes = (1 << 20, 64 << 20) if quick else (1 << 20, 8 << 20, 64 << 20, 256 << 20)
    for size in sizes:
        yield from _bandwidth(size, threads)
    extents = (512, 1024) if quick else (256, 512, 1024, 2048)
    for n in extents:
        for m in (1, n):
            yield _gemm(m, n, n, threads)


def _bandwidth(size: int, threads: int) -> Iterator[Row]:
    """STREAM-like passes over ``size`` bytes per thread; each thread has arrays of its own."""
    count = size // 8
    sets = [tuple(np.ones(count) for _ in range(3)) for _ in range(threads)]

    def read(a: Array, b: Array, c: Array) -> None:
        a.max()

    def copy(a: Array, b: Array, c: Array) -> None:
        np.copyto(b, a)

    def triad(a: Array, b: Array, c: Array) -> None:
        np.multiply(a, 3.0, out=c)
        np.add(c, b, out=c)

    # numpy makes two passes of a triad: a is read and c written; c and b are read and c written.
    for op, run, passes in (("read", read, 1), ("copy", copy, 2), ("triad", triad, 5)):
        times = [_together(run, sets) for _ in range(_REPEATS)]
        # Each thread is timed by its own processor time; what counts is bytes of all over the mean of them.
        rates = sorted(sum(size * passes / one for one in each) for each in times)
        moved = float(size * passes * threads)
        yield Row(
            library="numpy", op=op, dtype="fp64", threads=threads, bytes=moved, seconds=moved / rates[-1],
            median_s=moved / rates[len(rates) // 2], clock="processor",
        )  # fmt: skip


def _together(run: Callable[[Array, Array, Array], None], sets: list[tuple[Array, ...]]) -> list[float]:
    spent = [0.0] * len(sets)
    gate = threading.Barrier(len(sets))

    def work(at: int) -> None:
        a, b, c = sets[at]
        run(a, b, c)
        gate.wait()
        start = time.thread_time()
        run(a, b, c)
        spent[at] = max(time.thread_time() - start, 1e-9)

    workers = [threading.Thread(target=work, args=(at,)) for at in range(len(sets))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return spent


def _gemm(m: int, n: int, k: int, threads: int) -> Row:
    rng = np.random.default_rng(0)
    weights = [rng.standard_normal((k, n), dtype=np.float32) for _ in range(4 if m == 1 else 1)]
    x = rng.standard_normal((m, k), dtype=np.float32)

    def run() -> None:
        for one in weights:
            np.matmul(x, one)

    least, median, clock = time_of(run, count=len(weights), threads=threads)
    return Row(
        library="numpy", op="gemm", dtype="fp32", threads=threads, m=m, n=n, k=k, flop=2.0 * m * n * k,
        bytes=4.0 * (n * k + m * (n + k)), seconds=least, median_s=median, clock=clock,
    )  # fmt: skip
