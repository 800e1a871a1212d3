"""What holds however an engine's bytes are cut, whatever a client sends, whoever is busy."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from typing import Any

import pytest
import uvicorn
from hypothesis import example, given
from hypothesis import strategies as st
from uvicorn.server import ServerState

from dougong.gateway import Replica, Settings
from dougong.gateway.bodies import MalformedReply, checked_usage, outgoing
from dougong.gateway.pool import Pool
from dougong.gateway.server import guarded_protocol
from dougong.gateway.sse import Splitter, StreamState
from dougong.gateway.wire import Refusal

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
ENDS = st.sampled_from(["\n\n", "\r\n\r\n"])


def event(text: str, *, ascii_only: bool, finish: str | None = None) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return "data: " + json.dumps({"choices": [choice]}, ensure_ascii=ascii_only)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[str], bytes, list[bytes]]:
    """Texts, their stream with comments and either line end, and the stream cut anywhere, even within a letter."""
    texts = draw(st.lists(TEXT, max_size=8))
    lines = [event(text, ascii_only=draw(st.booleans())) for text in texts]
    lines = [line for each in lines for line in ([": ping", each] if draw(st.booleans()) else [each])]
    if draw(st.booleans()):
        lines.append('data: {"choices": [], "usage": {"completion_tokens": 3}}')
    lines.append("data: [DONE]")
    whole = "".join(line + draw(ENDS) for line in lines).encode()
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=20)))
    edges = [0, *cuts, len(whole)]
    return texts, whole, [whole[a:b] for a, b in pairwise(edges)]


OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\n"
"""What Java's own client sends with each request."""


@st.composite
def requests(draw: st.DrawFn) -> tuple[list[int], list[bytes]]:
    """Lengths of bodies, and their requests on one connection, cut anywhere; some heads and bodies are long."""
    lengths = draw(st.lists(st.sampled_from([0, 1, 1000, 65_536, 65_537, 200_000]), min_size=1, max_size=4))
    whole = b""
    for length in lengths:
        filler = b"x-filler: %b\r\n" % (b"y" * draw(st.sampled_from([0, 10, 60_000])))
        filler += draw(st.sampled_from([b"", OFFER]))
        body = b"[" * length
        if draw(st.booleans()):
            whole += b"POST / HTTP/1.1\r\nhost: x\r\n%bcontent-length: %d\r\n\r\n%b" % (filler, length, body)
        else:
            whole += b"POST / HTTP/1.1\r\nhost: x\r\n%btransfer-encoding: chunked\r\n\r\n" % filler
            whole += (b"%x\r\n%b\r\n" % (length, body) if length else b"") + b"0\r\n\r\n"
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    return lengths, [whole[a:b] for a, b in pairwise([0, *cuts, len(whole)]) if a < b]


class Wire(asyncio.Transport):
    """A connection that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "sockname": ("127.0.0.1", 2)})
        self.written, self.closed = b"", False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        """Wait for whoever reads the body."""

    def resume_reading(self) -> None:
        """Go on."""


def through(pieces: list[bytes], state: StreamState) -> list[bytes]:
    splitter = Splitter()
    given_on = [state.look(events) for piece in pieces if (events := splitter.feed(piece))]
    assert not splitter.tail
    return given_on


LONG = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100000\r\n\r\n"


@given(requests())
@example(([100_000], [LONG, b"[" * 100_000]))
@example(([100_000, 100_000], [LONG, b"[", b"[" * 99_999, LONG + b"[" * 30_000, b"[" * 70_000]))
def test_requests_are_read_however_they_are_cut(sent: tuple[list[int], list[bytes]]) -> None:
    lengths, pieces = sent
    read: list[int] = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        length, more = 0, True
        while more:
            message = await receive()
            length, more = length + len(message.get("body", b"")), message.get("more_body", False)
        read.append(length)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    async def main() -> Wire:
        config = uvicorn.Config(app, lifespan="off", log_config=None)
        config.load()
        wire, protocol = Wire(), guarded_protocol(Settings())(config, ServerState(), {})
        protocol.connection_made(wire)
        for piece in pieces:
            protocol.data_received(piece)
            await asyncio.sleep(0)
        for _ in range(10 * len(lengths)):
            await asyncio.sleep(0)
        closed = wire.closed
        protocol.connection_lost(None)
        assert not closed
        return wire

    wire = asyncio.run(main())
    assert read == lengths
    assert (wire.written.count(b"HTTP/1.1 "), wire.written.count(b"HTTP/1.1 200 OK")) == (len(lengths),) * 2


@given(streams())
def test_bytes_go_on_as_they_came_however_they_are_cut(stream: tuple[list[str], bytes, list[bytes]]) -> None:
    texts, whole, pieces = stream
    state = StreamState()
    given_on = through(pieces, state)
    assert b"".join(given_on) == whole
    assert state.done
    assert state.has_token == any(texts)
    for one in given_on:
        one.decode()  # no letter is cut in two
        assert one.endswith((b"\n\n", b"\n\r\n"))


@given(streams())
def test_usage_nobody_asked_for_is_hidden_and_nothing_else(
    stream: tuple[list[str], bytes, list[bytes]],
) -> None:
    _, whole, pieces = stream
    state = StreamState(hide_usage=True)
    given_on = b"".join(through(pieces, state))
    assert (state.usage is not None) == (b"usage" in whole and b'"completion_tokens"' in whole)
    kept = [line for line in whole.replace(b"\r", b"").split(b"\n\n") if b'"choices": []' not in line]
    assert given_on.replace(b"\r", b"") == b"\n\n".join(kept)


@given(TEXT, st.booleans(), st.integers(1, 40))
def test_a_stop_string_or_the_words_of_the_protocol_in_a_text_are_text(
    text: str, ascii_only: bool, step: int
) -> None:
    # What a model may say to fool who looks for words: they are escaped in JSON.
    said = text + '","finish_reason":"stop"}\n\ndata: [DONE]\n\ndata: {"error": "usage"'
    whole = (event("a", ascii_only=True) + "\n\n" + event(said, ascii_only=ascii_only) + "\n\n").encode()
    state = StreamState()
    pieces = [whole[i : i + step] for i in range(0, len(whole), step)]
    assert b"".join(through(pieces, state)) == whole
    assert (state.done, state.finished, state.error) == (False, False, False)


@given(st.binary(min_size=1, max_size=60), st.lists(st.integers(1, 30), max_size=6))
def test_bytes_that_are_no_stream_never_pass(noise: bytes, steps: list[int]) -> None:
    """Whatever passes is made of fields and of objects by their braces."""
    splitter, state = Splitter(), StreamState()
    state.has_token = True
    pieces: list[bytes] = []
    rest = noise + b"\n\n"
    for step in [*steps, len(rest)]:
        pieces.append(rest[:step])
        rest = rest[step:]
    passed = b""
    try:
        for piece in pieces:
            if events := splitter.feed(piece):
                passed += state.look(events)
    except MalformedReply:
        pass
    for line in passed.replace(b"\r\n", b"\n").split(b"\n"):
        assert line == b"" or line.startswith((b"data:", b":", b"event:", b"id:", b"retry:"))


@pytest.mark.parametrize(
    "block",
    [
        b"data: {oops\n\n",
        b"data: oops\n\n",
        b"<html>\n\n",
        b"data: [1]\n\n",
        b"{}\n\n",
        b"data: {}\nfoo\n\n",
        b"data: {x}\n\n",
    ],
)
def test_what_is_no_event_is_told(block: bytes) -> None:
    with pytest.raises(MalformedReply):
        StreamState().look(block)


def test_an_event_without_end_is_not_kept_for_ever() -> None:
    splitter = Splitter(longest_bytes=100)
    for _ in range(9):
        splitter.feed(b"data: xxxxx")
    with pytest.raises(MalformedReply):
        splitter.feed(b"data: xxxxx")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(
    st.dictionaries(TEXT, JSON_VALUES, max_size=4),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["", "  ", "\n"]),
)
def test_a_request_reaches_the_engine_as_it_was_but_for_two_things(
    more: dict[str, Any], stream: bool, aliased: bool, space: str
) -> None:
    request = {**more, "model": "m"}
    body = (space + json.dumps(request)).encode()
    replica = Replica(url="http://127.0.0.1:1", aliases={"m": "inner"} if aliased else {})
    sent, hidden = outgoing(body, request, "m", stream=stream, replica=replica)
    value = json.loads(sent)
    assert value.pop("model") == ("inner" if aliased else "m")
    options = value.pop("stream_options", None)
    assert hidden == stream
    assert (options == {"include_usage": True}) == stream or "stream_options" in more
    expected = {k: v for k, v in more.items() if k not in ("model", "stream_options")}
    assert value == expected


def test_other_wishes_for_a_stream_stay() -> None:
    request = {"model": "m", "stream_options": {"continuous_usage_stats": True}}
    sent, hidden = outgoing(
        json.dumps(request).encode(), request, "m", stream=True, replica=Replica(url="http://127.0.0.1:1")
    )
    assert json.loads(sent)["stream_options"] == {"continuous_usage_stats": True, "include_usage": True}
    assert hidden


def test_usage_of_an_answer_too_long_to_read() -> None:
    value = {
        "data": [0.5] * 300_000,
        "usage": {"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": 3}},
    }
    body = json.dumps(value).encode()
    assert len(body) > 1 << 20
    assert checked_usage(body) == value["usage"]
    with pytest.raises(MalformedReply):
        checked_usage(body[:-3])


REPLICAS = st.lists(
    st.tuples(
        st.integers(1, 4),
        st.one_of(st.none(), st.floats(0.01, 1)),
        st.one_of(st.none(), st.floats(0.001, 0.1)),
    ),
    min_size=1,
    max_size=4,
)
MOVES = st.lists(
    st.sampled_from(["come", "end", "fail", "down", "up", "leave", "end and leave"]), max_size=60
)


@given(REPLICAS, MOVES, st.randoms(use_true_random=False))
def test_places_are_conserved_and_nobody_waits_beside_a_free_one(
    made: list[tuple[int, float | None, float | None]], moves: list[str], dice: Any
) -> None:
    async def walk() -> None:
        replicas = [
            Replica(
                url=f"http://127.0.0.1:{i + 1}", models=("m",), max_concurrent=most, ttft_s=ttft, tpot_s=tpot
            )
            for i, (most, ttft, tpot) in enumerate(made)
        ]
        pool = Pool(Settings(max_queue=5, queue_timeout_s=1000.0), replicas)
        for member in pool.members:
            member.healthy = True
        running: list[Any] = []
        waiting: list[asyncio.Task[Any]] = []
        for move in moves:
            if move == "come":
                waiting.append(asyncio.ensure_future(pool.acquire("m", None)))
            elif move == "end and leave" and running and waiting:
                # In one step of the loop: the turn of the first comes as it goes.
                pool.release(running.pop(dice.randrange(len(running))))
                waiting.pop(0).cancel()
            elif move in ("end", "fail") and running:
                member = running.pop(dice.randrange(len(running)))
                if move == "fail":
                    member.fail(time.monotonic())
                else:
                    member.observe(0.0, ttft_s=0.1, tpot_s=0.01, hold_s=1.0)
                pool.release(member)
            elif move == "leave" and waiting:
                waiting.pop(dice.randrange(len(waiting))).cancel()
            elif move in ("down", "up"):
                dice.choice(pool.members).healthy = move == "up"
                pool.pump()
            for _ in range(4):
                await asyncio.sleep(0)
            for task in [task for task in waiting if task.done()]:
                waiting.remove(task)
                if task.exception() is None:
                    running.append(task.result())
                else:
                    assert isinstance(task.exception(), Refusal)
            for member in pool.members:
                assert member.in_flight == running.count(member) <= member.replica.max_concurrent
            assert pool.waiting == len(waiting) <= 5
            if waiting:
                assert not any(member.healthy and member.free for member in pool.members)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert pool.waiting == 0

    asyncio.run(walk())
