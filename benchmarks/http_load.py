"""A load client for loopback that costs less than what it times: one protocol object per connection, no library.

Closed loop: each connection sends its next request when the last answer is complete. A stream is complete when its
``[DONE]`` and its last chunk came; its tokens are counted as events with text.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import resource
import signal
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

END = b"0\r\n\r\n"


@dataclass
class Result:
    """What one run of one endpoint gave."""

    wall_s: float = 0.0
    tokens: int = 0
    lost: int = 0
    e2e_s: list[float] = field(default_factory=list)
    ttft_s: list[float] = field(default_factory=list)
    gap_s: list[float] = field(default_factory=list)

    @property
    def requests_per_s(self) -> float:
        return len(self.e2e_s) / self.wall_s

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.wall_s


class _Client(asyncio.Protocol):
    def __init__(self, run: _Run) -> None:
        self.run = run

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.next()

    def next(self) -> None:
        self.run.started += 1
        self.sent_s = time.perf_counter()
        self.first_s = self.last_s = 0.0
        self.tail = b""
        self.tokens = 0
        self.done = self.busy = True
        self.transport.write(self.run.request)

    def data_received(self, data: bytes) -> None:
        run, now_s = self.run, time.perf_counter()
        if run.stream:
            tokens = data.count(b'"content": " w') + data.count(b'"content":" w')
            if tokens:
                if not self.first_s:
                    self.first_s = now_s
                elif run.gaps:
                    run.result.gap_s.append(now_s - self.last_s)
                self.last_s = now_s
                self.tokens += tokens
        self.tail = (self.tail + data)[-600:] if run.stream else self.tail + data
        if run.stream and self.tail.endswith(END):
            self.finish(now_s, b"[DONE]" in self.tail and self.tokens == run.tokens)
        elif not run.stream and b"\r\n\r\n" in self.tail and _whole(self.tail):
            self.finish(now_s, self.tail.startswith(b"HTTP/1.1 200"))

    def finish(self, now_s: float, good: bool) -> None:
        run = self.run
        self.busy = False
        if good:
            run.result.e2e_s.append(now_s - self.sent_s)
            run.result.tokens += self.tokens
            if self.first_s:
                run.result.ttft_s.append(self.first_s - self.sent_s)
        else:
            run.result.lost += 1
            run.why = run.why or self.tail[:300].decode(errors="replace")
        if run.started < run.requests:
            self.next()
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.busy:
            self.run.result.lost += 1
            self.run.why = self.run.why or f"the connection broke off: {exc}"
        self.run.open -= 1
        if self.run.open == 0:
            self.run.over.set()


def _whole(data: bytes) -> bool:
    head, _, body = data.partition(b"\r\n\r\n")
    lower = head.lower()
    if b"content-length: " in lower:
        return len(body) >= int(lower.split(b"content-length: ")[1].split(b"\r\n")[0])
    return data.endswith(END)


class _Run:
    def __init__(self, requests: int, request: bytes, *, stream: bool, tokens: int, gaps: bool) -> None:
        self.requests, self.request, self.stream, self.tokens, self.gaps = (
            requests,
            request,
            stream,
            tokens,
            gaps,
        )
        self.started = self.open = 0
        self.result, self.over, self.why = Result(), asyncio.Event(), ""


async def load(
    url: str,
    *,
    connections: int,
    requests: int,
    tokens: int,
    stream: bool,
    key: str = "",
    gaps: bool = False,
    within_s: float = 300.0,
) -> Result:
    """Send ``requests`` over ``connections``; whatever is not answered whole in time counts as lost."""
    at, loop = urlsplit(url), asyncio.get_running_loop()
    messages = [{"role": "user", "content": "hello"}]
    body = json.dumps(
        {"model": "fake", "messages": messages, "max_tokens": tokens, "stream": stream}
    ).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {at.netloc}\r\ncontent-type: application/json\r\n"
    head += f"authorization: Bearer {key}\r\n" if key else ""
    run = _Run(
        requests,
        head.encode() + b"content-length: %d\r\n\r\n%b" % (len(body), body),
        stream=stream,
        tokens=tokens,
        gaps=gaps,
    )
    began = time.perf_counter()
    run.open = connections
    for _ in range(connections):
        await loop.create_connection(lambda: _Client(run), at.hostname, at.port)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(run.over.wait(), within_s)
    run.result.wall_s = time.perf_counter() - began
    run.result.lost += max(0, requests - len(run.result.e2e_s) - run.result.lost)
    if run.why:
        print(f"lost: {run.why}", file=sys.stderr)
    return run.result


def quantile(values: list[float], q: float) -> float:
    """Sample quantile, the value at rank ``ceil(q n)``."""
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)] if values else float("nan")


def median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")


def allow_files() -> None:
    """A thousand streams need more files than a shell allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 65_536, hard))


@contextlib.contextmanager
def child(command: list[str], ready_url: str, *, env: dict[str, str] | None = None, within_s: float = 120.0):
    """A process that is up when ``ready_url`` answers 200, and ended with its block."""
    quiet, session = subprocess.DEVNULL, {"start_new_session": True, "env": {**os.environ, **(env or {})}}
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, **session)
    try:
        end = time.monotonic() + within_s
        while True:
            with (
                contextlib.suppress(urllib.error.URLError, OSError),
                urllib.request.urlopen(ready_url, timeout=2),
            ):
                break
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{command[0]} did not come up: {process.poll()}")
            time.sleep(0.1)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
