"""GEMM, bandwidth and launch overhead of a device through PyTorch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from dougong.errors import EnvironmentLacking
from dougong.measure.probe.rows import Row, time_of


def about(device: str) -> dict[str, object]:
    """Return ``name`` and ``memory_bytes`` of a device, as far as PyTorch tells them."""
    import torch as imported

    torch: Any = imported
    kind, _, index = device.partition(":")
    try:
        told: Any = getattr(torch, kind).get_device_properties(int(index or 0))
    except (AttributeError, RuntimeError, AssertionError, ValueError):
        return {"name": None, "memory_bytes": None}
    return {"name": getattr(told, "name", None), "memory_bytes": getattr(told, "total_memory", None)}


def measure(threads: int, *, quick: bool, device: str = "cpu") -> Iterator[Row]:
    """Rows of copy bandwidth, of GEMM by dtype and shape, and of a launch, on ``device``."""
    try:
        import torch as imported
    except ImportError:
        raise EnvironmentLacking("PyTorch is not installed", hint="pip install torch") from None
    torch: Any = imported
    torch.set_num_threads(threads)
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise EnvironmentLacking(f"PyTorch has no device {device!r} here: {error}") from None
    kind = device.split(":")[0]
    module: Any = getattr(torch, kind, None)
    waits: Callable[[], object] = getattr(module, "synchronize", lambda: None) if kind != "cpu" else _nothing

    def timed(run: Callable[[], object], count: int = 1) -> tuple[float, float, str]:
        if kind == "cpu":
            return time_of(run, count=count, threads=threads)

        def once() -> None:
            run()
            waits()

        once()
        times: list[float] = []
        for _ in range(20):
            start = time.perf_counter()
            once()
            times.append((time.perf_counter() - start) / count)
        times.sort()
        return times[0], times[len(times) // 2], "wall"

    def row(op: str, dtype: str, found: tuple[float, float, str], **more: Any) -> Row:
        least, median, clock = found
        return Row(
            library="torch", op=op, dtype=dtype, threads=threads, seconds=least, median_s=median, clock=clock, **more
        )  # fmt: skip

    size = (64 << 20) if quick or kind == "cpu" else (1 << 30)
    a = torch.ones(size // 4, device=device)
    b = torch.empty_like(a)
    yield row("copy", "fp32", timed(lambda: b.copy_(a)), bytes=2.0 * size)
    one = torch.ones(1, device=device)
    yield row("launch", "fp32", timed(lambda: [one.add_(1.0) for _ in range(100)], 100))
    extents = (512, 1024) if quick else (512, 1024, 2048) if kind == "cpu" else (1024, 4096, 8192)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)):
        for n in extents:
            for m in (1, n):
                x = torch.randn(m, n, device=device).to(dtype)
                w = torch.randn(n, n, device=device).to(dtype)
                counts = {"flop": 2.0 * m * n * n, "bytes": x.element_size() * (n * n + 2.0 * m * n)}
                yield row(
                    "gemm",
                    name,
                    timed(lambda x=x, w=w: [x @ w for _ in range(4)], 4),
                    m=m,
                    n=n,
                    k=n,
                    **counts,
                )


def _nothing() -> None: ...
