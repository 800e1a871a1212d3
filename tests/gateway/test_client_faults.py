"""Clients that are slow, large, wrong or hostile."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dougong.testing.fake_engine import FakeEngine
from gateway.gateway_harness import CHAT, Served, chat, http_post
from waiting import until

BAD = [
    b"GARBAGE\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS greeting
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: nine\r\n\r\n",
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",
    b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    b"CONNECT example.org:443 HTTP/1.1\r\nhost: example.org:443\r\n\r\n",
    b"GET /v1/models HTTP/9.9\r\nhost: x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    b"GET /%ff%00 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    b"DELETE /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
    http_post(CHAT, {"model": "fake"}, "connection: close"),
    http_post(CHAT, [1, 2], "connection: close"),
    http_post(CHAT, chat(model="x" * 5000), "connection: close"),
    http_post("/v1/nothing", {}, "connection: close"),
]


def all_of(connection: socket.socket) -> bytes:
    """What comes until the connection is closed."""
    parts: list[bytes] = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            parts.append(piece)
    return b"".join(parts)


def answer_to(served: Served, data: bytes) -> bytes:
    with served.raw(data) as connection:
        return all_of(connection)


@pytest.mark.parametrize("data", BAD, ids=range(len(BAD)))
def test_every_bad_request_gets_an_error_with_an_id(served: Served, data: bytes) -> None:
    head, _, body = answer_to(served, data).partition(b"\r\n\r\n")
    assert head.split(b" ")[1].startswith(b"4")
    assert b"x-request-id: req-" in head
    assert set(json.loads(body)["error"]) == {"message", "type", "param", "code"}


def test_ten_thousand_bad_requests_leave_it_standing(served: Served, engine: FakeEngine) -> None:
    before = engine.stats()["requests"]
    pipelined = b"".join(one.replace(b"connection: close\r\n", b"") for one in BAD[-4:]) * 25  # 100 requests
    closing = BAD[:8]

    def batch(i: int) -> int:
        with served.raw(pipelined) as connection:
            answers = b""
            while answers.count(b"HTTP/1.1 4") < 100 and (piece := connection.recv(1 << 20)):
                answers += piece
        answer_to(served, closing[i % len(closing)])
        return answers.count(b"HTTP/1.1 4") + 1

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(batch, range(100))) == 10_100
    assert engine.stats()["requests"] == before
    assert served.chat(max_tokens=1).status == 200
    assert not served.gateway.calls


def test_oversized_bodies_are_refused_before_they_are_read(engine: FakeEngine) -> None:
    with Served(engine.url, max_body_bytes=1000) as served:
        said = b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 100000000\r\n\r\n" % CHAT.encode()
        assert b" 413 " in answer_to(served, said)
        chunk = b"%x\r\n%b\r\n" % (600, b" " * 600)
        head = b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n" % CHAT.encode()
        assert b'"code": "request_too_large"' in answer_to(served, head + chunk * 2)
        assert served.ask(CHAT, chat(user="x" * 2000)).status == 413
        assert served.chat(max_tokens=1).status == 200


def test_headers_and_bodies_that_trickle_are_ended(engine: FakeEngine) -> None:
    with Served(engine.url, header_timeout_s=0.4, body_timeout_s=0.4) as served:
        slow = [
            served.raw(b""),
            served.raw(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"),
            served.raw(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 50\r\n\r\n{"),
        ]
        # Bytes that keep coming do not buy time.
        end = time.monotonic() + 0.3
        while time.monotonic() < end:
            with contextlib.suppress(OSError):  # it may be over already
                slow[1].sendall(b"x-a: b\r\n")
                slow[2].sendall(b" ")
            time.sleep(0.05)
        for connection in slow:
            assert b" 408 " in all_of(connection)
            connection.close()
        until(lambda: not served.gateway.calls)
        kept = served.raw(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 200 " in kept.recv(65536)
        time.sleep(0.6)  # an idle connection between requests is no slow request
        kept.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert b" 200 " in kept.recv(65536)
        kept.close()


def test_a_slow_answer_is_no_slow_request(engine: FakeEngine) -> None:
    with Served(engine.url, header_timeout_s=0.3, body_timeout_s=0.3) as served:
        assert served.chat(max_tokens=1, fake={"ttft_s": 0.8}).status == 200


@pytest.mark.parametrize("chunked", [False, True])
def test_an_offer_of_another_protocol_is_passed_over(served: Served, chunked: bool) -> None:
    # What Java's own client sends with every request, unless it is told to speak HTTP/1.1.
    offer = ("connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAEAAEAAAAIAAAAB")
    request = http_post(CHAT, chat(max_tokens=2), *offer)
    if chunked:
        head, _, body = request.partition(b"\r\n\r\n")
        head = re.sub(rb"content-length: \d+", b"transfer-encoding: chunked", head)
        request = b"%b\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (head, len(body), body)
    with served.raw(request) as connection:
        for _ in range(2):  # and the connection is good for another
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
            connection.sendall(request)


def test_headers_without_end_are_refused(served: Served) -> None:
    with served.raw(b"GET /health HTTP/1.1\r\n") as connection:
        line = b"x-filler: " + b"y" * 1000 + b"\r\n"
        for _ in range(100):
            try:
                connection.sendall(line)
            except (BrokenPipeError, ConnectionResetError):
                break
        assert b" 431 " in connection.recv(65536)


def test_a_body_that_says_a_key_twice_is_refused(served: Served, engine: FakeEngine) -> None:
    before = engine.stats()["requests"]
    for twice in (
        b'{"model": "other", "messages": [1], "model": "fake"}',
        b'{"\\u006dodel": "o", "messages": [1], "model": "fake"}',
    ):
        reply = served.ask(CHAT, twice)
        assert (reply.status, reply.error["code"]) == (400, "invalid_json")
    assert engine.stats()["requests"] == before


def test_more_clients_than_it_takes_are_told(engine: FakeEngine) -> None:
    with Served(engine.url, max_connections=2) as served:
        kept = [served.raw(b"") for _ in range(2)]
        until(
            lambda: (
                b" 503 " in answer_to(served, b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            )
        )
        for connection in kept:
            connection.close()
        until(
            lambda: (
                b" 200 " in answer_to(served, b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            )
        )
