"""Answers in OpenAI's shapes: errors, models, headers, and the fewest ASGI words that send them."""

from __future__ import annotations

import json
import math
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]

JSON = (b"content-type", b"application/json")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "invalid_request_error",
    413: "invalid_request_error",
    415: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
    502: "engine_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class Refusal(Exception):
    """An answer that is an error, as the client gets it.

    Parameters
    ----------
    status
        HTTP status.
    message
        What was wrong, where, and what would help.
    code
        A word for programs, as OpenAI's ``error.code``.
    param
        The field that is wrong.
    retry_after_s
        When to come again [s].
    close
        Whether the connection cannot be used again.
    log
        What may stand in logs and records where the message quotes a client or an engine.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
        headers: Iterable[Header] = (),
        close: bool = False,
        log: str | None = None,
    ) -> None:
        super().__init__(message)
        self.log = message if log is None else log
        self.status, self.message, self.code, self.param = status, message, code, param
        self.retry_after_s, self.headers, self.close = retry_after_s, tuple(headers), close

    def body(self) -> bytes:
        """The JSON of OpenAI's error object."""
        return json.dumps({"error": self._error()}, ensure_ascii=False).encode()

    def event(self) -> bytes:
        """The same as an event, for an answer that has begun."""
        return b"data: " + self.body() + b"\n\n"

    def _error(self) -> dict[str, Any]:
        kind = _TYPES.get(self.status, "server_error")
        return {"message": self.message, "type": kind, "param": self.param, "code": self.code}

    def all_headers(self) -> list[Header]:
        """Headers that go with it."""
        headers: list[Header] = list(self.headers)
        if self.retry_after_s is not None:
            headers.append((b"retry-after", str(max(1, math.ceil(self.retry_after_s))).encode()))
        if self.close:
            headers.append((b"connection", b"close"))
        return headers


def request_id(given: bytes | None) -> str:
    """Return the client's id where it is a plain word, else a new one."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode()
    return f"req-{secrets.token_hex(12)}"


async def answer(
    send: Send, status: int, body: bytes, headers: Iterable[Header], *, kind: Header = JSON
) -> None:
    """Send an answer in one piece."""
    all_headers = [kind, (b"content-length", str(len(body)).encode()), *headers]
    await send({"type": "http.response.start", "status": status, "headers": all_headers})
    await send({"type": "http.response.body", "body": body})


async def read_body(headers: dict[bytes, bytes], receive: Receive, longest_bytes: int) -> bytes:
    """Read a request's body.

    Raises
    ------
    Refusal
        413 where it is, or says it is, too long.
    ConnectionResetError
        The client is gone.
    """
    too_long = Refusal(
        413, f"the body is longer than {longest_bytes} bytes", code="request_too_large", close=True
    )
    said = headers.get(b"content-length", b"0")
    if not said.isdigit() or int(said) > longest_bytes:
        raise too_long
    parts: list[bytes] = []
    total = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError("the client left before its request was read")
        part: bytes = message.get("body", b"")
        total += len(part)
        if total > longest_bytes:
            raise too_long
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
