"""What a client may ask of the ``transformers`` child, read with every fault told, and the shapes of its answers."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

MOST_CHOICES = 16
MOST_LOGPROBS = 20
ROLES = ("system", "developer", "user", "assistant", "tool")


class Refused(Exception):
    """A request that is answered with an error: status, and all faults in one message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request, read.

    Attributes
    ----------
    logprobs
        How many alternatives beside the chosen token; None: no log-probabilities.
    schema
        JSON schema that the text has to fit.
    call
        Schema by function name where a call is demanded.
    echo
        Whether the prompt is told back, with its log-probabilities where they are asked for.
    """

    chat: bool
    messages: Sequence[Mapping[str, Any]] = ()
    prompt: str | Sequence[int] = ""
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    choices: int = 1
    logprobs: int | None = None
    echo: bool = False
    stream: bool = False
    usage: bool = False
    ignore_eos: bool = False
    tools: Sequence[Mapping[str, Any]] = ()
    schema: Mapping[str, Any] | None = None
    call: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    template: Mapping[str, Any] = field(default_factory=dict[str, Any])


def read_ask(body: object, model: str, *, chat: bool) -> Ask:
    """Read the body of a chat or completion request.

    Raises
    ------
    Refused
        404 for another model, 400 for anything else that cannot be done as it was asked.
    """
    if not isinstance(body, dict):
        raise Refused(400, "the body is no JSON object")
    told = cast(dict[str, Any], body)
    if told.get("model") not in (model, None):
        raise Refused(404, f"the model {str(told.get('model'))[:80]!r} is not served here; {model!r} is")
    faults: list[str] = []
    ask = _Reader(told, faults)
    logprobs = ask.logprobs(chat)
    stream_options = told.get("stream_options")
    options = cast(dict[str, Any], stream_options) if isinstance(stream_options, dict) else {}
    tools, call = ask.tools()
    read = Ask(
        chat=chat,
        messages=ask.messages() if chat else (),
        prompt="" if chat else ask.prompt(),
        max_tokens=ask.whole("max_completion_tokens", 1, None) or ask.whole("max_tokens", 1, None),
        temperature=ask.number("temperature", 0.0, 2.0, 1.0),
        top_p=ask.number("top_p", 0.0, 1.0, 1.0),
        top_k=ask.whole("top_k", 0, None) or 0,
        seed=ask.whole("seed", None, None),
        stop=ask.stops(),
        choices=ask.whole("n", 1, MOST_CHOICES) or 1,
        logprobs=logprobs,
        echo=bool(told.get("echo")) and not chat,
        stream=bool(told.get("stream")),
        usage=bool(options.get("include_usage")),
        ignore_eos=bool(told.get("ignore_eos")),
        tools=tools if told.get("tool_choice") != "none" else (),
        schema=ask.schema(),
        call=call,
        template=told.get("chat_template_kwargs") or {},
    )
    for name in ("presence_penalty", "frequency_penalty", "logit_bias", "suffix"):
        if told.get(name):
            faults.append(f"{name} is not done by this engine")
    if read.stream and read.choices > 1:
        faults.append("n above 1 is not streamed by this engine")
    if faults:
        raise Refused(400, "; ".join(faults))
    return read


class _Reader:
    def __init__(self, told: Mapping[str, Any], faults: list[str]) -> None:
        self.told, self.faults = told, faults

    def number(self, name: str, low: float, high: float, default: float) -> float:
        value = self.told.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            self.faults.append(f"{name} is {str(value)[:40]}; it must be a number from {low:g} to {high:g}")
            return default
        return float(value)

    def whole(self, name: str, low: int | None, high: int | None) -> int | None:
        value = self.told.get(name)
        if value is None:
            return None
        beyond = isinstance(value, int) and (
            (low is not None and value < low) or (high is not None and value > high)
        )
        if isinstance(value, bool) or not isinstance(value, int) or beyond:
            span = f" from {low}" if low is not None else ""
            self.faults.append(
                f"{name} is {str(value)[:40]}; it must be a whole number{span}{f' to {high}' if high else ''}"
            )
            return None
        return value

    def logprobs(self, chat: bool) -> int | None:
        if not chat:
            return self.whole("logprobs", 0, MOST_LOGPROBS)
        return (self.whole("top_logprobs", 0, MOST_LOGPROBS) or 0) if self.told.get("logprobs") else None

    def messages(self) -> list[Mapping[str, Any]]:
        listed = self.told.get("messages")
        if not isinstance(listed, list) or not listed:
            self.faults.append("messages must be a list of at least one message")
            return []
        found: list[Mapping[str, Any]] = []
        for place, message in enumerate(cast(list[object], listed)):
            words = cast(dict[str, Any], message) if isinstance(message, dict) else {}
            if words.get("role") not in ROLES:
                self.faults.append(
                    f"messages[{place}].role is {str(words.get('role'))[:40]!r}; it must be one of {', '.join(ROLES)}"
                )
                continue
            content = words.get("content")
            if isinstance(content, list):
                parts = [
                    cast(dict[str, Any], part)
                    for part in cast(list[object], content)
                    if isinstance(part, dict)
                ]
                if any(part.get("type") != "text" for part in parts):
                    self.faults.append(f"messages[{place}].content has a part that is no text")
                content = "".join(str(part.get("text", "")) for part in parts)
            role = "system" if words["role"] == "developer" else words["role"]
            found.append({**words, "role": role, "content": content or ""})
        return found

    def prompt(self) -> str | list[int]:
        value = self.told.get("prompt")
        if isinstance(value, str):
            return value
        listed = cast(list[object], value) if isinstance(value, list) else []
        if len(listed) == 1 and isinstance(listed[0], str):
            return listed[0]
        if listed and all(isinstance(token, int) and not isinstance(token, bool) for token in listed):
            return cast(list[int], listed)
        self.faults.append("prompt must be one text, or one list of token ids")
        return ""

    def stops(self) -> tuple[str, ...]:
        value = self.told.get("stop")
        listed = (
            [value]
            if isinstance(value, str)
            else cast(list[object], value)
            if isinstance(value, list)
            else []
        )
        if (value is not None and not isinstance(value, str | list)) or not all(
            isinstance(one, str) and one for one in listed
        ):
            self.faults.append("stop must be a text, or a list of texts")
            return ()
        return tuple(cast(list[str], listed))

    def schema(self) -> Mapping[str, Any] | None:
        form = self.told.get("response_format")
        if not isinstance(form, dict):
            return None
        kind, told = cast(dict[str, Any], form).get("type"), cast(dict[str, Any], form)
        if kind in (None, "text"):
            return None
        if kind == "json_object":
            return {"type": "object"}
        inner = told.get("json_schema")
        schema = cast(dict[str, Any], inner).get("schema") if isinstance(inner, dict) else None
        if kind != "json_schema" or not isinstance(schema, dict):
            self.faults.append("response_format must be text, json_object, or json_schema with its schema")
            return None
        return cast(dict[str, Any], schema)

    def tools(self) -> tuple[list[Mapping[str, Any]], dict[str, Mapping[str, Any]]]:
        listed, choice = self.told.get("tools"), self.told.get("tool_choice")
        tools = (
            [cast(dict[str, Any], tool) for tool in cast(list[object], listed) if isinstance(tool, dict)]
            if isinstance(listed, list)
            else []
        )
        functions = [
            cast(dict[str, Any], tool["function"]) for tool in tools if isinstance(tool.get("function"), dict)
        ]
        named = {
            str(one.get("name")): cast(Mapping[str, Any], one.get("parameters") or {"type": "object"})
            for one in functions
        }
        if choice in (None, "auto", "none"):
            return list(tools), {}
        if not named:
            self.faults.append("tool_choice is given without tools")
        if choice == "required":
            return list(tools), named
        asked = cast(dict[str, Any], choice) if isinstance(choice, dict) else {}
        inner = asked.get("function")
        name = cast(dict[str, Any], inner).get("name") if isinstance(inner, dict) else None
        if name not in named:
            self.faults.append(
                f"tool_choice {str(asked or 'given')[:80]} is none of auto, none, required, or a function of tools"
            )
            return list(tools), {}
        return list(tools), {str(name): named[str(name)]}


_CALL = re.compile(r"<tool_call>\s*(\{.*?\})\s*(?:</tool_call>|$)", re.DOTALL)


def split_calls(text: str) -> tuple[str, list[dict[str, Any]]]:
    """Return the text without the tool calls that it holds, and the calls in OpenAI's shape."""
    calls: list[dict[str, Any]] = []
    for match in _CALL.finditer(text):
        try:
            told = cast(dict[str, Any], json.loads(match[1]))
            name, arguments = told["name"], told.get("arguments", {})
        except (ValueError, KeyError, TypeError):
            return text, []  # what cannot be read is text, not a call
        words = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        calls.append(
            {
                "id": f"call_{uuid.uuid4().hex[:24]}",
                "type": "function",
                "function": {"name": str(name), "arguments": words},
            }
        )
    return (_CALL.sub("", text).strip() if calls else text), calls


def call_schema(call: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the JSON schema of one call to one of the functions."""
    forms = [
        {
            "type": "object",
            "properties": {"name": {"const": name}, "arguments": dict(parameters)},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for name, parameters in call.items()
    ]
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def usage_of(prompt: int, completion: int) -> dict[str, int]:
    """Return the count of tokens in OpenAI's shape."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def envelope(model: str, chat: bool, *, stream: bool = False) -> dict[str, Any]:
    """Return what every answer begins with."""
    kind = ("chat.completion" if chat else "text_completion") + (".chunk" if stream and chat else "")
    prefix = "chatcmpl" if chat else "cmpl"
    return {"id": f"{prefix}-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}
