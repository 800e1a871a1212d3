"""Reads a stream of server-sent events and counts its tokens, never its pieces in silence.

References
----------
WHATWG, HTML Living Standard, section 9.2.6 (interpreting an event stream).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

MAX_EVENT_BYTES = 8 << 20
"""A longer event is no answer of a model [byte]."""

CountedBy = Literal[
    "counts in the stream", "one token per piece, as the total says", "the total alone", "nobody"
]
"""How the tokens of an answer were counted; times of single tokens are known in the first two."""


class StreamFault(Exception):
    """The stream is not what a stream of completions is."""


class EventReader:
    """Cuts bytes into the data of events, however they are split over reads."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the data of each event that is complete with ``piece``."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > MAX_EVENT_BYTES:
            raise StreamFault(f"an event is longer than {MAX_EVENT_BYTES >> 20} MiB")
        for raw in lines:
            line = raw.removesuffix(b"\r")
            if not line:
                if self._data:
                    yield b"\n".join(self._data)
                    self._data.clear()
            elif line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                if sum(map(len, self._data)) > MAX_EVENT_BYTES:
                    raise StreamFault(f"an event is longer than {MAX_EVENT_BYTES >> 20} MiB")


@dataclass(slots=True)
class Answer:
    """What one stream has said so far.

    ``pieces`` holds, for each piece with output, its time [s] and how many tokens the stream says it holds.
    """

    pieces: list[tuple[float, int | None]] = field(default_factory=list[tuple[float, "int | None"]])
    seen_tokens: int = 0
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    finish: str = ""
    done: bool = False
    error: str = ""

    def take(self, data: bytes, time_s: float) -> None:
        """Take the data of one event that came at ``time_s`` [s].

        Raises
        ------
        StreamFault
            If it is no JSON object.
        """
        if data == b"[DONE]":
            self.done = True
            return
        try:
            event: object = json.loads(data)
        except (ValueError, RecursionError):
            raise StreamFault("an event is not JSON") from None
        if not isinstance(event, dict):
            raise StreamFault("an event is no JSON object")
        self.take_object(cast("Mapping[str, object]", event), time_s)

    def take_object(self, event: Mapping[str, object], time_s: float) -> None:
        """Take one event, or a whole answer that did not come as a stream."""
        if event.get("error"):
            self.error = error_words(event["error"])
            return
        usage = _mapping(event.get("usage"))
        total = self._take_usage(usage) if usage else None
        if total is None:  # llama.cpp tells its own count in each piece when asked to
            total = _count(_mapping(event.get("timings")).get("predicted_n"))
        choices = event.get("choices")
        first = cast("list[object]", choices)[0] if isinstance(choices, list) and choices else None
        choice = _mapping(first)
        self.finish = str(choice.get("finish_reason") or self.finish)
        if not choice:
            return
        said = _says(choice)
        tokens = _tokens_of(choice)
        if total is not None:
            new, self.seen_tokens = total - self.seen_tokens, max(total, self.seen_tokens)
            if new > 0:
                self.pieces.append((time_s, new))
        elif tokens is not None or said:
            self.pieces.append((time_s, tokens))

    def token_times(self) -> tuple[tuple[float, ...], CountedBy]:
        """When each token came [s], and how that is known; no times where it is not."""
        total = self.output_tokens
        if self.pieces and all(count is not None for _, count in self.pieces):
            times = tuple(time for time, count in self.pieces for _ in range(count or 0))
            if total is None or total == len(times):
                return times, "counts in the stream"
        if total is None:
            return (), "nobody"
        if total == len(self.pieces):
            return tuple(time for time, _ in self.pieces), "one token per piece, as the total says"
        return (), "the total alone"

    @property
    def tokens(self) -> int | None:
        """Output tokens as the engine counts them [token]."""
        if self.output_tokens is not None:
            return self.output_tokens
        counts = [count for _, count in self.pieces]
        return sum(count or 0 for count in counts) if counts and None not in counts else None

    def _take_usage(self, usage: Mapping[str, object]) -> int | None:
        found = _count(usage.get("completion_tokens"))
        if found is not None:
            self.output_tokens = found
        prompt = _count(usage.get("prompt_tokens"))
        self.prompt_tokens = self.prompt_tokens if prompt is None else prompt
        cached = _count(_mapping(usage.get("prompt_tokens_details")).get("cached_tokens"))
        self.cached_prompt_tokens = self.cached_prompt_tokens if cached is None else cached
        return found


def error_words(error: object) -> str:
    """Words of an error in OpenAI's shape, or in another; short, on one line."""
    fields = _mapping(error)
    words = fields.get("message") or fields.get("detail") or fields.get("error") or error
    return " ".join(str(words).split())[:200]


def _says(choice: Mapping[str, object]) -> bool:
    if choice.get("text"):
        return True
    delta = _mapping(choice.get("delta") or choice.get("message"))
    return any(
        delta.get(key) for key in ("content", "reasoning_content", "reasoning", "tool_calls", "refusal")
    )


def _tokens_of(choice: Mapping[str, object]) -> int | None:
    """Tokens of a piece where it brings their ids or log-probabilities [token]."""
    for found in (
        choice.get("token_ids"),
        _mapping(choice.get("logprobs")).get("content"),
        _mapping(choice.get("logprobs")).get("tokens"),
    ):
        if isinstance(found, list) and found:
            return len(cast("list[object]", found))
    return None


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
