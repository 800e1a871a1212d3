"""Server-sent events as engines write them: whole events out of pieces, and what a gateway must know of them.

Notes
-----
Bytes go on as they came. An event is looked into only where it must be: the first ones, to see the first token,
and those with usage, an end or an error. The rest is held to its framing: lines with a legal field name, data
that is a JSON object by its braces.

References
----------
HTML Living Standard, 9.2.6 "Interpreting an event stream".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, cast

from dougong.gateway.bodies import MalformedReply

DONE = b"data: [DONE]\n\n"
_EVENT = re.compile(rb".*?\n\r?\n", re.DOTALL)
_FIELDS = (b"data:", b":", b"event:", b"id:", b"retry:")
_TOKEN_KEYS = ("content", "reasoning_content", "reasoning", "tool_calls", "function_call", "refusal", "audio")


class Splitter:
    """Gives back whole events; what is unfinished waits for its end.

    Parameters
    ----------
    longest_bytes
        Longest event [byte].
    """

    def __init__(self, longest_bytes: int = 8 << 20) -> None:
        self.tail = b""
        self.longest_bytes = longest_bytes

    def feed(self, data: bytes) -> bytes:
        """Take a piece; return every event that it completes, byte for byte, or nothing."""
        if self.tail:
            data = self.tail + data
        # Events end at an empty line; lines end in LF or CR LF.
        end = max(data.rfind(b"\n\n") + 2, data.rfind(b"\n\r\n") + 3)
        if end < 3:
            self.tail = data
            if len(data) > self.longest_bytes:
                raise MalformedReply(f"an event is longer than {self.longest_bytes} bytes")
            return b""
        if end == len(data):
            self.tail = b""
            return data
        self.tail = data[end:]
        return data[:end]


@dataclass(slots=True)
class StreamState:
    """What was seen of one answer so far.

    Attributes
    ----------
    usage
        The last usage object of the engine.
    has_token
        A token came.
    finished
        A finish reason came.
    done
        ``[DONE]`` came.
    error
        The engine's own error event came; its words are not kept, they may quote a prompt.
    """

    hide_usage: bool = False
    usage: dict[str, Any] | None = None
    has_token: bool = False
    finished: bool = False
    done: bool = False
    error: bool = False

    def look(self, events: bytes) -> bytes:
        """Note what whole events say; return those the client is to get.

        Raises
        ------
        MalformedReply
            A line that is no field, or data that is no JSON object and not ``[DONE]``.
        """
        if self.has_token and not self._is_special(events) and _are_plain(events):
            return events  # nearly always: nothing to be learned
        kept: list[bytes] = []
        for event in _events(events):
            try:
                if self._one(event):
                    kept.append(event)
            except MalformedReply as fault:
                fault.before = b"".join(kept)
                raise
        return b"".join(kept)

    @staticmethod
    def _is_special(events: bytes) -> bool:
        """Whether there may be more in them than a token; engines write ``"usage": null`` into every event."""
        usages = events.count(b'"usage"')
        if usages and usages != events.count(b'"usage":null') + events.count(b'"usage": null'):
            return True
        return b'"error"' in events or b'_reason":"' in events or b'_reason": "' in events

    def _one(self, event: bytes) -> bool:
        """Look at one event; tell whether it goes on."""
        payload = _payload(event)
        if payload is None:
            return True
        if payload == b"[DONE]":
            self.done = True
            return True
        if not (payload.startswith(b"{") and payload.endswith(b"}")):
            raise MalformedReply("an event's data is no JSON object")
        if self.has_token and not self._is_special(event):
            return True
        try:
            value: Any = json.loads(payload)
        except (ValueError, RecursionError):
            raise MalformedReply("an event's data is no JSON object") from None
        return self._value(value)

    def _value(self, value: dict[str, Any]) -> bool:
        self.error = self.error or bool(value.get("error"))
        listed = value.get("choices")
        choices = cast(list[Any], listed) if isinstance(listed, list) else []
        for choice in choices:
            if isinstance(choice, dict):
                self._choice(cast(dict[str, Any], choice))
        usage = value.get("usage")
        if isinstance(usage, dict):
            self.usage = cast(dict[str, Any], usage)
            return bool(choices) or not self.hide_usage
        return True

    def _choice(self, choice: dict[str, Any]) -> None:
        delta = choice.get("delta")
        parts = cast(dict[str, Any], delta) if isinstance(delta, dict) else {}
        if choice.get("text") or any(parts.get(key) for key in _TOKEN_KEYS):
            self.has_token = True
        if choice.get("finish_reason"):
            self.finished = True


def _are_plain(block: bytes) -> bool:
    """Whether whole events are all of one line, a JSON object by its braces."""
    if not block.endswith(b"}\n\n"):
        return False
    for event in block[:-2].split(b"\n\n"):
        if not (event.startswith(b"data: {") and event.endswith(b"}")) or b"\n" in event:
            return False
    return True


def _events(block: bytes) -> list[bytes]:
    """Cut whole events apart, each with the empty line that ends it."""
    if b"\r" not in block:
        return [event + b"\n\n" for event in block[:-2].split(b"\n\n")]
    return [match[0] for match in _EVENT.finditer(block)]


def _payload(event: bytes) -> bytes | None:
    """Join the data lines of an event; None where it has none (a comment keeps a connection open)."""
    lines = event.replace(b"\r\n", b"\n").split(b"\n")
    data: list[bytes] = []
    for line in lines:
        if line.startswith(b"data:"):
            data.append(line[5:].strip())
        elif line and not line.startswith(_FIELDS):
            raise MalformedReply("a line of the stream is no field of an event")
    return b"\n".join(data) if data else None
