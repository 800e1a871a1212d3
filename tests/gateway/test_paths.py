"""What clients of OpenAI's API count on, path by path."""

from __future__ import annotations

import json
import urllib.request

import pytest

from dougong.gateway import Replica
from dougong.testing.fake_engine import FakeEngine
from gateway.gateway_harness import CHAT, Served, chat


def test_models_are_those_of_the_engine(served: Served) -> None:
    reply = served.ask("/v1/models")
    assert reply.status == 200
    assert [entry["id"] for entry in reply.json["data"]] == ["fake"]
    assert served.ask("/v1/models/fake").json["object"] == "model"
    assert served.ask("/v1/models/none").status == 404


def test_chat_in_one_piece_is_the_engines_answer(served: Served) -> None:
    reply = served.chat(max_tokens=3)
    assert reply.status == 200
    assert reply.json["choices"][0]["message"]["content"] == " w0 w1 w2"
    assert reply.json["usage"]["completion_tokens"] == 3


def test_stream_ends_with_done_and_hides_the_usage_nobody_asked_for(
    served: Served, engine: FakeEngine
) -> None:
    reply = served.chat(max_tokens=3, stream=True)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.events[-1] == "[DONE]"
    assert not any("usage" in event for event in reply.events)
    text = [json.loads(event)["choices"][0]["delta"].get("content", "") for event in reply.events[:-1]]
    assert "".join(text) == " w0 w1 w2"
    assert engine.stats()["last"]["request"]["stream_options"] == {"include_usage": True}


def test_stream_shows_the_usage_that_is_asked_for(served: Served) -> None:
    reply = served.chat(max_tokens=3, stream=True, stream_options={"include_usage": True})
    assert json.loads(reply.events[-2])["usage"]["completion_tokens"] == 3


def test_completions_and_embeddings(served: Served) -> None:
    completion = served.ask("/v1/completions", {"model": "fake", "prompt": "a b", "max_tokens": 2})
    assert completion.json["choices"][0]["text"] == " w0 w1"
    embedding = served.ask("/v1/embeddings", {"model": "fake", "input": ["a", "b"]})
    assert len(embedding.json["data"]) == 2
    stream = served.ask("/v1/completions", {"model": "fake", "prompt": "a", "max_tokens": 2, "stream": True})
    assert json.loads(stream.events[1])["choices"][0]["text"] == " w1"


def test_tools_and_logprobs_pass_untouched(served: Served, engine: FakeEngine) -> None:
    asked = chat(
        tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        tool_choice="required",
        response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": {"minimum": 1.50}}},
        logprobs=True,
    )
    reply = served.ask(CHAT, asked)
    assert engine.stats()["last"]["request"] == asked
    choice = reply.json["choices"][0]
    assert choice["message"]["tool_calls"][0]["id"] == "call_fake+/=1"
    assert choice["logprobs"]["content"][0]["logprob"] == -0.1234567890123
    direct = urllib.request.Request(engine.url + CHAT, json.dumps(asked).encode())
    with urllib.request.urlopen(direct) as answer:
        assert reply.body == answer.read()


def test_an_alias_is_renamed_for_the_engine_alone(engine: FakeEngine) -> None:
    with Served(Replica(url=engine.url + "/v1", models=("house",), aliases={"house": "fake"})) as served:
        assert [entry["id"] for entry in served.ask("/v1/models").json["data"]] == ["house"]
        assert served.chat(model="house", max_tokens=1).status == 200
        assert engine.stats()["last"]["request"]["model"] == "fake"


def test_a_model_served_alone_need_not_be_named(served: Served, engine: FakeEngine) -> None:
    assert served.ask(CHAT, {"messages": [{"role": "user", "content": "x"}], "max_tokens": 1}).status == 200
    assert engine.stats()["last"]["request"]["model"] == "fake"


def test_a_request_id_goes_all_the_way_or_is_made(served: Served, engine: FakeEngine) -> None:
    assert served.ask(CHAT, chat(), x_request_id="mine-1").headers["x-request-id"] == "mine-1"
    assert engine.stats()["last"]["headers"]["x-request-id"] == "mine-1"
    assert served.ask(CHAT, chat(), x_request_id="a b").headers["x-request-id"].startswith("req-")


def test_health_tells_live_from_ready() -> None:
    with Served("http://127.0.0.1:9", wait=False) as served:
        assert served.ask("/health/live").status == 200
        assert served.ask("/health/ready").status == 503
        assert served.ask("/health").json["status"] == "no replica is up"


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b"[]", 400, None),
        (b"\xff\xfe", 400, None),
        (b"[" * 100_000, 400, None),
        (b'{"model": "fake"}', 400, "messages"),
        (b'{"model": "fake", "messages": []}', 400, "messages"),
        (b'{"model": "fake", "messages": "x"}', 400, "messages"),
        (b'{"model": 1, "messages": [1]}', 400, "model"),
        (b'{"model": "other", "messages": [1]}', 404, "model"),
        (b'{"model": "fake", "messages": [1], "stream": 1}', 400, "stream"),
    ],
)
def test_bad_requests_are_told_in_openais_shape(
    served: Served, body: bytes, status: int, param: str | None
) -> None:
    reply = served.ask(CHAT, body)
    assert reply.status == status
    assert set(reply.error) == {"message", "type", "param", "code"}
    assert reply.error["param"] == param
    assert reply.headers["x-request-id"].startswith("req-")


def test_near_names_of_a_model(served: Served) -> None:
    assert "near names: fake" in served.chat(model="fakes").error["message"]


def test_wrong_method_and_wrong_path(served: Served) -> None:
    wrong = served.ask(CHAT, method="GET")
    assert (wrong.status, wrong.headers["allow"]) == (405, "POST")
    assert served.ask("/v2/x").status == 404
    assert served.ask("/v1/models/").status == 404
