"""One measured operator, and how it is timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

SECONDS_PER_ROW = 0.12
LEAST_REPEATS, MOST_REPEATS = 5, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One operator on one library.

    Attributes
    ----------
    library, op, dtype
        Who ran it; ``read``, ``copy``, ``triad``, ``gemm``, ``decode_attention``, ``prefill_attention`` or
        ``elementwise``; in what format its weights are stored.
    m, n, k
        Extents of a GEMM [1].
    context, heads, kv_heads, head_dim
        Of an attention [1].
    bytes, flop
        Moved, and computed [byte], [FLOP].
    threads
        Of the library [1].
    seconds, median_s
        Least and median time of one operator [s].
    clock
        ``processor``: time of the computing thread alone, what others take of the machine is left out; ``wall``.
    """

    library: str
    op: str
    dtype: str
    threads: int
    seconds: float
    median_s: float
    clock: str
    bytes: float = 0.0
    flop: float = 0.0
    m: int = 0
    n: int = 0
    k: int = 0
    context: int = 0
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0

    @property
    def typical_s(self) -> float:
        """What a step pays for this operator [s]: the median, or by the wall, which other work stretches, the least."""
        return self.median_s if self.clock == "processor" else self.seconds


def time_of(
    run: Callable[[], object], *, count: int = 1, threads: int = 1, seconds: float = SECONDS_PER_ROW
) -> tuple[float, float, str]:
    """Least and median time of one of the ``count`` operators of ``run`` [s], and by which clock.

    A single thread is timed in its own processor time, which a busy machine does not stretch. Several are timed by
    the wall: their least time stands for the machine, the median beside it says how busy it was.
    """
    clock = time.thread_time if threads == 1 else time.perf_counter
    run()
    times: list[float] = []
    until = time.perf_counter() + seconds
    while len(times) < LEAST_REPEATS or (time.perf_counter() < until and len(times) < MOST_REPEATS):
        start = clock()
        run()
        times.append((clock() - start) / count)
    times.sort()
    return times[0], times[len(times) // 2], "processor" if threads == 1 else "wall"
