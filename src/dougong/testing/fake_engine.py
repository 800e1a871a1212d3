"""A fast, scriptable engine that speaks OpenAI's HTTP on loopback, as a child process: ``FakeEngine()``.

It computes nothing: it streams numbered words at the pace it is told and breaks in the way it is told. Standard
library only (uvloop where it is installed), one protocol object per connection, so that it stays faster than what
is tested or timed in front of it. By hand: ``python -m dougong.testing.fake_engine --port 8081``.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self, cast

_LONGEST_HEAD_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Script:
    """What the engine does; a request may override any field in its own ``"fake"`` object.

    Parameters
    ----------
    models
        Ids that ``/v1/models`` lists.
    ttft_s
        Time to the first token [s].
    itl_s
        Time between two events of a stream [s]; 0 writes without waiting.
    tokens
        Output tokens where the request does not say ``max_tokens``.
    tokens_per_event
        Tokens joined into one event of a stream.
    word
        Text of one token; ``{i}`` is its number.
    status
        Answer every request for tokens with this HTTP status, where it is not 200.
    retry_after_s
        ``Retry-After`` beside a status [s].
    die_after_events
        Kill the whole process after so many events.
    drop_after_events
        Close this connection after so many events, in the middle of one.
    hang_after_events
        Say nothing more after so many events, and keep the connection.
    malform_after_events
        After so many events write bytes that are no event.
    starting_s
        ``/health`` answers 503 for so long after the start [s].
    healthy
        What ``/health`` says after that.
    """

    models: tuple[str, ...] = ("fake",)
    ttft_s: float = 0.0
    itl_s: float = 0.0
    tokens: int = 16
    tokens_per_event: int = 1
    word: str = " w{i}"
    status: int = 200
    retry_after_s: float | None = None
    die_after_events: int | None = None
    drop_after_events: int | None = None
    hang_after_events: int | None = None
    malform_after_events: int | None = None
    starting_s: float = 0.0
    healthy: bool = True

    def changed(self, words: dict[str, Any]) -> Script:
        """Return the script with some fields replaced; an unknown field raises ``TypeError``."""
        return replace(self, **{k: tuple(v) if k == "models" else v for k, v in words.items()})


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
        head = f"HTTP/1.1 {status} Fake\r\ncontent-type: application/json\r\n{headers}content-length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)

    def done(self, stream: _Stream) -> None:
        if self.stream is stream:
            self.stream = None
            self.engine.counts.active -= 1
            self.engine.counts.finished += 1
            self.loop.call_soon(self.data_received, b"")


class _Stream:
    """One answer: its pieces are made before it starts, then written at its pace."""

    def __init__(self, connection: _Connection, script: Script, path: str, request: dict[str, Any]) -> None:
        self.connection, self.script, self.path, self.request = connection, script, path, request
        self.timer: asyncio.Handle | None = None
        self.events: Iterator[bytes] = iter(())
        self.written = 0
        self.over = False
        self.prompt_tokens = len(json.dumps(request.get("messages") or request.get("prompt") or "").split())

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
            self.events = self._make_events()
            self._next()
        else:
            self._whole(200, self._reply(), "")

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
            self.timer = loop.call_later(script.itl_s, self._next) if script.itl_s else loop.call_soon(self._next)
            return
        connection.transport.write(b"0\r\n\r\n")
        self.over = True
        connection.done(self)

    @property
    def _tokens(self) -> int:
        asked = self.request.get("max_completion_tokens") or self.request.get("max_tokens")
        return self.script.tokens if asked is None else int(asked)

    def _usage(self) -> dict[str, int]:
        prompt, output = self.prompt_tokens, self._tokens
        return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}

    def _make_events(self) -> Iterator[bytes]:
        chat, script = self.path == "/v1/chat/completions", self.script
        kind = "chat.completion.chunk" if chat else "text_completion"
        base = {"id": "fake-1", "object": kind, "created": 1, "model": self.request.get("model")}

        def event(choices: list[dict[str, Any]], **more: object) -> bytes:
            value = {**base, "choices": choices, **more}
            return b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"

        def choice(text: str) -> dict[str, Any]:
            part: dict[str, Any] = {"delta": {"content": text}} if chat else {"text": text}
            return {"index": 0, **part, "finish_reason": None}

        # One event is made whole; the others differ from it in their text alone.
        before, after = event([choice("\x00")]).split(json.dumps("\x00").encode())
        if chat:
            yield event([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])
        for start in range(0, self._tokens, script.tokens_per_event):
            numbers = range(start, min(start + script.tokens_per_event, self._tokens))
            text = "".join(script.word.replace("{i}", str(i)) for i in numbers)
            yield before + json.dumps(text, ensure_ascii=False).encode() + after
        yield event([{"index": 0, **({"delta": {}} if chat else {"text": ""}), "finish_reason": "stop"}])
        if (self.request.get("stream_options") or {}).get("include_usage"):
            yield event([], usage=self._usage())
        yield b"data: [DONE]\n\n"

    def _reply(self) -> dict[str, Any]:
        model, base = self.request.get("model"), {"id": "fake-1", "created": 1}
        if self.path == "/v1/embeddings":
            given = self.request.get("input")
            inputs = cast(list[object], given) if isinstance(given, list) else [given]
            data = [{"object": "embedding", "index": i, "embedding": [0.0, 1.0]} for i in range(len(inputs))]
            usage = {"prompt_tokens": self.prompt_tokens, "total_tokens": self.prompt_tokens}
            return {"object": "list", "data": data, "model": model, "usage": usage}
        text = "".join(self.script.word.replace("{i}", str(i)) for i in range(self._tokens))
        choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
        if self.path == "/v1/completions":
            choice["text"] = text
            return {**base, "object": "text_completion", "model": model, "choices": [choice], "usage": self._usage()}
        choice["message"] = {"role": "assistant", "content": text}
        if self.request.get("tools"):
            called = {"id": "call_fake+/=1", "type": "function"}
            called["function"] = {"name": self.request["tools"][0]["function"]["name"], "arguments": '{"a": 1.0}'}
            choice["message"] = {"role": "assistant", "content": None, "tool_calls": [called]}
            choice["finish_reason"] = "tool_calls"
        if self.request.get("logprobs"):
            choice["logprobs"] = {"content": [{"token": " w0", "logprob": -0.12345678901234567, "bytes": [32]}]}
        return {**base, "object": "chat.completion", "model": model, "choices": [choice], "usage": self._usage()}


async def _serve(script: Script, host: str, port: int, key: str | None) -> None:
    engine, loop = _Engine(script, key), asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(engine), host, port, backlog=4096)
    print(json.dumps({"url": f"http://{host}:{server.sockets[0].getsockname()[1]}", "pid": os.getpid()}), flush=True)
    gone = asyncio.Event()
    if not sys.stdin.isatty():  # the parent holds the other end: when it is gone, so are we
        loop.add_reader(sys.stdin.fileno(), lambda: None if os.read(0, 4096) else gone.set())
    loop.add_signal_handler(signal.SIGTERM, gone.set)
    await gone.wait()
    server.close()


class FakeEngine:
    """A fake engine in a child process, as a context manager.

    Parameters
    ----------
    key
        The key it wants as ``Authorization: Bearer``; none by default.
    port
        A free one by default.
    script
        Fields of :class:`Script`.

    Examples
    --------
    >>> with FakeEngine(tokens=3) as engine:
    ...     engine.stats()["requests"]
    0
    """

    def __init__(self, *, key: str | None = None, port: int = 0, **script: Any) -> None:
        command = [sys.executable, "-m", "dougong.testing.fake_engine", "--port", str(port)]
        command += ["--script", json.dumps(script)] + (["--key", key] if key else [])
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the fake engine left with {self.process.wait()}")
        self.url: str = json.loads(line)["url"]
        self.pid = self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process and wait for it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def stats(self) -> dict[str, Any]:
        """Counts so far, and the last request as it arrived."""
        return self._ask("/fake/stats", None)

    def script(self, **words: Any) -> dict[str, Any]:
        """Change fields of its script from now on."""
        return self._ask("/fake/script", json.dumps(words).encode())

    def _ask(self, path: str, body: bytes | None) -> dict[str, Any]:
        with urllib.request.urlopen(urllib.request.Request(self.url + path, data=body), timeout=10) as reply:
            return json.load(reply)


def main() -> None:
    """Run until the parent closes the standard input, or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m dougong.testing.fake_engine", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, which is printed")
    parser.add_argument("--key", help="the key it wants as a bearer token")
    names = ", ".join(field.name for field in fields(Script))
    parser.add_argument("--script", default="{}", type=json.loads, help=f"JSON object of: {names}")
    words = parser.parse_args()
    with contextlib.suppress(ImportError):
        import uvloop  # pyright: ignore[reportMissingImports]

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(Script().changed(words.script), words.host, words.port, words.key))
        return
    asyncio.run(_serve(Script().changed(words.script), words.host, words.port, words.key))


if __name__ == "__main__":
    main()
