"""What the fake engine is told to do, and the words it answers with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast


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


class Answer:
    """What a request is answered with."""

    def __init__(self, script: Script, path: str, request: dict[str, Any]) -> None:
        self.script, self.path, self.request = script, path, request
        self.prompt_tokens = len(json.dumps(request.get("messages") or request.get("prompt") or "").split())

    @property
    def _tokens(self) -> int:
        asked = self.request.get("max_completion_tokens") or self.request.get("max_tokens")
        return self.script.tokens if asked is None else int(asked)

    def _usage(self) -> dict[str, int]:
        prompt, output = self.prompt_tokens, self._tokens
        return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output}

    def events(self) -> Iterator[bytes]:
        """The events of a stream."""
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
        options: dict[str, Any] = self.request.get("stream_options") or {}
        if options.get("include_usage"):
            yield event([], usage=self._usage())
        yield b"data: [DONE]\n\n"

    def whole(self) -> dict[str, Any]:
        """The answer in one piece."""
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
            return {
                **base,
                "object": "text_completion",
                "model": model,
                "choices": [choice],
                "usage": self._usage(),
            }
        choice["message"] = {"role": "assistant", "content": text}
        if self.request.get("tools"):
            called: dict[str, Any] = {"id": "call_fake+/=1", "type": "function"}
            called["function"] = {
                "name": self.request["tools"][0]["function"]["name"],
                "arguments": '{"a": 1.0}',
            }
            choice["message"] = {"role": "assistant", "content": None, "tool_calls": [called]}
            choice["finish_reason"] = "tool_calls"
        if self.request.get("logprobs"):
            choice["logprobs"] = {"content": [{"token": " w0", "logprob": -0.1234567890123, "bytes": [32]}]}
        return {
            **base,
            "object": "chat.completion",
            "model": model,
            "choices": [choice],
            "usage": self._usage(),
        }
