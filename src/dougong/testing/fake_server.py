"""The fake engine's side of the wire: standard library only, one protocol object per connection, to be fast."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, cast

from dougong.testing.fake_answers import Answer, Script

_LONGEST_HEAD_BYTES = 65_536


@dataclass(slots=True)
class Counts:
    """What happened so far."""

    requests: int = 0
    finished: int = 0
    cancelled: int = 0
    active: int = 0
    most_active: int = 0
    health_checks: int = 0


class _Engine:
    def __init__(self, script: Script, key: str | None) -> None:
        self.script = script
        self.key = key
        self.counts = Counts()
        self.started_s = time.monotonic()
        self.last: dict[str, Any] = {}

    def health(self) -> int:
        self.counts.health_checks += 1
        starting = time.monotonic() - self.started_s < self.script.starting_s
        return 503 if starting or not self.script.healthy else 200


class _Connection(asyncio.Protocol):
    """One connection: reads requests with a Content-Length, answers one after the other."""

    def __init__(self, engine: _Engine) -> None:
        self.engine = engine
        self.loop = asyncio.get_running_loop()
        self.buffer = b""
        self.stream: _Stream | None = None
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.stream is not None:
            self.stream.cancel()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        if self.stream is not None:
            self.stream.wake()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while self.stream is None and self._one_request():
            pass

    def _one_request(self) -> bool:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self.buffer) > _LONGEST_HEAD_BYTES:
                self.transport.close()
            return False
        lines = self.buffer[:end].decode("latin-1").split("\r\n")
        headers = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        if "chunked" in headers.get("transfer-encoding", ""):
            self.answer(501, {"error": {"message": "the fake engine reads no chunked body"}})
            self.transport.close()
            return False
        total = end + 4 + int(headers.get("content-length") or 0)
        if len(self.buffer) < total:
            return False
        body, self.buffer = self.buffer[end + 4 : total], self.buffer[total:]
        method, path, *_ = lines[0].split(" ")
        self._route(method, path, headers, body)
        return True

    def _route(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        engine = self.engine
        if path == "/health":
            status = engine.health()
            self.answer(status, {"status": "ok" if status == 200 else "loading"})
        elif path == "/fake/stats":
            self.answer(200, {**asdict(engine.counts), "last": engine.last})
        elif path == "/fake/script":
            engine.script = engine.script.changed(json.loads(body))
            self.answer(200, asdict(engine.script))
        elif engine.key is not None and headers.get("authorization") != f"Bearer {engine.key}":
            self.answer(401, {"error": {"message": "wrong engine key", "type": "invalid_request_error"}})
        elif path == "/v1/models":
            data = [{"id": name, "object": "model", "owned_by": "fake"} for name in engine.script.models]
            self.answer(200, {"object": "list", "data": data})
        elif method == "POST" and path in ("/v1/chat/completions", "/v1/completions", "/v1/embeddings"):
            self._tokens(path, headers, body)
        else:
            self.answer(404, {"error": {"message": f"no such path: {path}"}})

    def _tokens(self, path: str, headers: dict[str, str], body: bytes) -> None:
        engine = self.engine
        request = json.loads(body)
        script = engine.script.changed(request["fake"]) if "fake" in request else engine.script
        engine.last = {"path": path, "headers": headers, "request": request}
        counts = engine.counts
        counts.requests += 1
        counts.active += 1
        counts.most_active = max(counts.most_active, counts.active)
        self.stream = _Stream(self, script, path, request)
        self.stream.start()

    def answer(self, status: int, value: object, *, headers: str = "") -> None:
        body = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} Fake\r\ncontent-type: application/json\r\n{headers}"
        self.transport.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)

    def done(self, stream: _Stream) -> None:
        if self.stream is stream:
            self.stream = None
            self.engine.counts.active -= 1
            self.engine.counts.finished += 1
            self.loop.call_soon(self.data_received, b"")


class _Stream:
    """One answer: its pieces are made before it starts, then written at its pace."""

    def __init__(self, connection: _Connection, script: Script, path: str, request: dict[str, Any]) -> None:
        self.connection, self.script, self.request = connection, script, request
        self.timer: asyncio.Handle | None = None
        self.events: Iterator[bytes] = iter(())
        self.written = 0
        self.over = False
        self.reply = Answer(script, path, request)

    def start(self) -> None:
        self.timer = self.connection.loop.call_later(self.script.ttft_s, self._first)

    def cancel(self) -> None:
        if not self.over:
            self.over = True
            counts = self.connection.engine.counts
            counts.active -= 1
            counts.cancelled += 1
            if self.timer is not None:
                self.timer.cancel()

    def wake(self) -> None:
        if not self.over and self.timer is None:
            self._next()

    def _first(self) -> None:
        script, connection = self.script, self.connection
        if script.hang_after_events == 0:
            return
        if script.die_after_events == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if script.drop_after_events == 0:
            connection.transport.abort()
            return
        if script.status != 200:
            again = f"retry-after: {script.retry_after_s:g}\r\n" if script.retry_after_s is not None else ""
            words = {"message": f"the fake engine was told to answer {script.status}", "type": "server_error"}
            self._whole(script.status, {"error": words}, again)
        elif self.request.get("stream"):
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            connection.transport.write(head)
            self.events = self.reply.events()
            self._next()
        else:
            self._whole(200, self.reply.whole(), "")

    def _whole(self, status: int, value: object, headers: str) -> None:
        self.over = True
        self.connection.answer(status, value, headers=headers)
        self.connection.done(self)

    def _next(self) -> None:
        """Write what is due; stop where the reader is slow, wait where there is a pace."""
        script, connection, loop = self.script, self.connection, self.connection.loop
        self.timer = None
        if self.over:
            return
        for event in self.events:
            if self.written == script.die_after_events:
                os.kill(os.getpid(), signal.SIGKILL)
            if self.written == script.hang_after_events:
                return
            if self.written == script.drop_after_events:
                connection.transport.write(b"%x\r\n%b\r\n" % (len(event) // 2, event[: len(event) // 2]))
                connection.transport.close()
                return
            if self.written == script.malform_after_events:
                event = b"data: {this is no JSON\n\n"
            connection.transport.write(b"%x\r\n%b\r\n" % (len(event), event))
            self.written += 1
            if not connection.writable:
                return
            self.timer = (
                loop.call_later(script.itl_s, self._next) if script.itl_s else loop.call_soon(self._next)
            )
            return
        connection.transport.write(b"0\r\n\r\n")
        self.over = True
        connection.done(self)


async def serve(script: Script, host: str, port: int, key: str | None) -> None:
    """Serve until the standard input ends or SIGTERM comes; say the URL in one line of JSON."""
    engine, loop = _Engine(script, key), asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(engine), host, port, backlog=4096)
    url = f"http://{host}:{server.sockets[0].getsockname()[1]}"
    sys.stdout.write(json.dumps({"url": url, "pid": os.getpid()}) + "\n")
    sys.stdout.flush()
    gone = asyncio.Event()
    if stat.S_ISFIFO(os.fstat(sys.stdin.fileno()).st_mode):  # the parent holds the other end: its end is ours
        loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(0, 4096) else gone.set())
    loop.add_signal_handler(signal.SIGTERM, gone.set)
    await gone.wait()
    server.close()
