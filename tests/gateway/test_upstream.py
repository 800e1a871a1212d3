"""Engines' HTTP in every legal shape, and in illegal ones."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from dougong.gateway import Replica
from dougong.gateway.upstream import Client, UpstreamError
from dougong.testing.fake_engine import FakeEngine
from gateway.gateway_harness import Served
from waiting import until

JSON = b'{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}'
SSE = b'data: {"choices": [{"text": "x", "finish_reason": "stop"}]}\n\n'


@contextlib.contextmanager
def speaking(*answers: bytes, step: int = 0, close: bool = True) -> Iterator[tuple[str, list[bytes]]]:
    """A server that says these bytes, one answer per request, whatever it is asked; it keeps what it heard."""
    heard: list[bytes] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        said = iter(answers)
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(65536):
                    heard.append(data)
                    answer = next(said, answers[-1])
                    size = step or len(answer) or 1
                    for i in range(0, len(answer), size):
                        connection.sendall(answer[i : i + size])
                    if close:
                        break

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", heard
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(60)


async def ended(client: Client) -> None:
    """Close what is kept, and let the loop see it closed before it ends."""
    client.close()
    await asyncio.sleep(0.01)


def body_of(url: str, path: bytes = b"/v1/chat/completions") -> tuple[int, bytes]:
    async def ask() -> tuple[int, bytes]:
        client = Client(url, connect_timeout_s=2.0)
        try:
            with await client.send(b"POST", path, b"{}") as exchange:
                async with asyncio.timeout(5):
                    await exchange.connection.wait_head()
                    return exchange.status, await exchange.read_all(1 << 20)
        finally:
            await ended(client)

    return asyncio.run(ask())


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(JSON), JSON)
LEGAL: dict[str, bytes] = {
    "length": LENGTH,
    "end of the connection": b"HTTP/1.1 200 OK\r\n\r\n" + JSON,
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n" + JSON,
    "chunks": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x;note=1\r\n%b\r\n0\r\nx-trailer: 1\r\n\r\n"
    % (len(JSON), JSON),
    "interim": b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + LENGTH,
}
ILLEGAL: dict[str, bytes] = {
    "noise": b"\x00\x01\x02 hello\r\n\r\n",
    "nothing": b"",
    "cut head": b"HTTP/1.1 200 OK\r\ncontent-le",
    "cut body": b"HTTP/1.1 200 OK\r\ncontent-length: 9000\r\n\r\n" + JSON,
    "cut chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nff\r\nabc",
    "no chunk": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\nabc\r\n",
}


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("shape", LEGAL)
def test_a_legal_answer_is_read_whole(shape: str, step: int) -> None:
    with speaking(LEGAL[shape], step=step) as (url, _):
        assert body_of(url) == (200, JSON)


@pytest.mark.parametrize("shape", ILLEGAL)
def test_an_illegal_answer_is_an_error_and_never_a_short_one(shape: str) -> None:
    with speaking(ILLEGAL[shape]) as (url, _), pytest.raises(UpstreamError):
        body_of(url)


def test_an_answer_beyond_the_limit_is_an_error() -> None:
    big = b"x" * (1 << 21)
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(big), big)
    with speaking(answer) as (url, _), pytest.raises(UpstreamError, match="longer than"):
        body_of(url)


@pytest.mark.parametrize(
    ("base", "asked"),
    [
        ("", b"POST /v1/chat/completions "),
        ("/v1", b"POST /v1/chat/completions "),
        ("/v1/", b"POST /v1/chat/completions "),
        ("/under/here", b"POST /under/here/v1/chat/completions "),
        ("/api/paas/v4", b"POST /api/paas/v4/chat/completions "),
        ("/v1beta/openai/", b"POST /v1beta/openai/chat/completions "),
    ],
)
def test_the_version_of_a_base_url_stands_for_ours(base: str, asked: bytes) -> None:
    with speaking(LENGTH) as (url, heard):
        body_of(url + base)
        assert heard[0].startswith(asked)


def test_connections_are_kept_and_those_that_may_not_be_are_closed() -> None:
    async def twice(client: Client) -> None:
        for _ in range(2):
            with await client.send(b"POST", b"/v1/x", b"{}") as exchange:
                await exchange.connection.wait_head()
                await exchange.read_all(1000)

    def uses(answer: bytes) -> int:
        with speaking(answer, close=False) as (url, _):
            made: list[object] = []

            async def run() -> None:
                client = Client(url)
                connect: Callable[..., object] = client.connect

                async def counted() -> object:
                    made.append(1)
                    return await connect()  # type: ignore[misc]

                client.connect = counted  # type: ignore[method-assign,assignment]
                await twice(client)
                await ended(client)

            asyncio.run(run())
            return len(made)

    assert uses(LENGTH) == 1
    assert uses(LENGTH.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n", 1)) == 2


def test_a_stream_without_done_gets_one_where_it_has_an_end() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    replica = {"models": ("fake",), "health_path": "/health"}
    with speaking(head + SSE) as (url, _), Served(Replica(url=url, **replica)) as served:
        reply = served.chat(stream=True)
        assert reply.events[-1] == "[DONE]"
    cut = SSE.replace(b'"stop"', b"null")
    with speaking(head + cut) as (url, _), Served(Replica(url=url, **replica)) as served:
        assert "the stream ends before the answer does" in served.chat(stream=True).events[-1]


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n", b"\n\n"])
def test_a_last_event_needs_no_empty_line(end: bytes) -> None:
    body = SSE + b"data: [DONE]" + end
    answer = STREAM + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    with speaking(answer) as (url, _), Served(Replica(url=url, models=("fake",))) as served:
        assert served.chat(stream=True).events[-1] == "[DONE]"


def test_an_engine_that_breaks_off_after_done_has_answered() -> None:
    body = SSE + b"data: [DONE]\n\n"
    broken = STREAM + b"%x\r\n%b\r\n" % (len(body), body)
    with contextlib.ExitStack() as stack:
        url, _ = stack.enter_context(speaking(LENGTH, broken))  # the first is for its health
        served = stack.enter_context(Served(Replica(url=url, models=("fake",)), health_every_s=60.0))
        reply = served.chat(stream=True)
        assert reply.events[-1] == "[DONE]"
        until(lambda: not served.gateway.calls)
        assert 'status="ok"' in served.ask("/metrics").body.decode()


def test_an_engine_that_sends_us_elsewhere_is_not_followed() -> None:
    away = b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n"
    replica = {"models": ("fake",), "health_path": "/v1/models"}
    with speaking(away) as (url, _), Served(Replica(url=url, **replica), wait=False) as served:
        served.gateway.pool.members[0].healthy = True
        assert served.chat().status in (502, 503)


def test_an_answer_that_is_no_json_is_the_engines_fault() -> None:
    page = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>"
    with speaking(page) as (url, _), Served(Replica(url=url, models=("fake",))) as served:
        until(lambda: served.gateway.pool.members[0].healthy)
        assert (served.chat().status, served.chat().error["code"]) == (502, "engine_reply")


def test_five_hundred_streams_at_once_lose_nothing() -> None:
    async def stream(port: int, gate: asyncio.Semaphore) -> bytes:
        async with gate:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        value = {"model": "fake", "messages": [1], "max_tokens": 20, "stream": True}
        body = json.dumps(value).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    async def all_at_once(port: int) -> list[bytes]:
        gate = asyncio.Semaphore(64)
        return await asyncio.gather(*(stream(port, gate) for _ in range(500)))

    with FakeEngine(itl_s=0.05, ttft_s=2.0) as engine, Served(engine.url, health_timeout_s=60.0) as served:
        answers = asyncio.run(all_at_once(served.port))
        assert [
            answer[-300:] for answer in answers if b"data: [DONE]" not in answer or b" w19" not in answer
        ] == []
        assert all(answer.count(b'"content": " w') == 20 for answer in answers)
        assert engine.stats()["most_active"] > 200
        until(
            lambda: not engine.stats()["active"]
        )  # a client has its answer a moment before the engine ends it
        assert engine.stats()["finished"] == 500
        assert engine.stats()["cancelled"] == 0
