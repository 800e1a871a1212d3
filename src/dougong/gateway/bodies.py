"""Bodies on their way: what is changed in a request, and what is read from an answer in one piece."""

from __future__ import annotations

import json
from typing import Any, cast

from dougong.gateway.settings import Replica
from dougong.gateway.wire import Refusal

_CHECKED_BYTES = 1 << 20  # longer answers are held to their braces; reading all of them would stop the loop


class MalformedReply(Exception):
    """Bytes that are no answer of an engine; the message quotes none of them.

    Parameters
    ----------
    before
        Good events that came with them, before them.
    """

    def __init__(self, message: str, before: bytes = b"") -> None:
        super().__init__(message)
        self.before = before


def outgoing(
    body: bytes, request: dict[str, Any], model: str, *, stream: bool, replica: Replica
) -> tuple[bytes, bool]:
    """Return the body for this replica, and whether the usage it will send is for us alone.

    The client's bytes go out as they came, but for two things: the model's id where the replica knows another,
    and a wish for usage in a stream that has none.
    """
    hide = False
    changes: dict[str, Any] = {}
    if (known := replica.aliases.get(model, model)) != request.get("model"):
        changes["model"] = known
    if stream and replica.stream_usage:
        options = request.get("stream_options")
        given = cast(dict[str, Any], options) if isinstance(options, dict) else {}
        if not given.get("include_usage"):
            hide = True
            changes["stream_options"] = {**given, "include_usage": True}
    if not changes:
        return body, hide
    if not any(key in request for key in changes):
        words = json.dumps(changes, ensure_ascii=False, allow_nan=False)
        rest = body[body.index(b"{") + 1 :]
        return words[:-1].encode() + (b", " if request else b"") + rest, hide
    return json.dumps({**request, **changes}, ensure_ascii=False).encode(), hide


def engine_refusal(status: int, body: bytes, retry_after_s: float | None) -> Refusal:
    """Return an engine's error as OpenAI's, whatever shape it has."""
    message, code, param = f"the engine answered {status}", None, None
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        words = cast(dict[str, Any], value)
        inner = words.get("error")
        error = cast(dict[str, Any], inner) if isinstance(inner, dict) else words
        said = error.get("message") or (inner if isinstance(inner, str) else error.get("detail"))
        if said:
            message = said if isinstance(said, str) else json.dumps(said)
        given_code, given_param = error.get("code"), error.get("param")
        code = str(given_code) if given_code not in (None, status) else None
        param = given_param if isinstance(given_param, str) else None
    log = f"the engine answered {status}"
    return Refusal(status, message, code=code, param=param, retry_after_s=retry_after_s, log=log)


def checked_usage(body: bytes) -> dict[str, Any] | None:
    """Return the usage object of an answer in one piece.

    Raises
    ------
    MalformedReply
        The answer is no JSON object.
    """
    bad = MalformedReply("the engine's answer is no JSON object")
    if len(body) <= _CHECKED_BYTES:
        try:
            value: Any = json.loads(body)
        except (ValueError, RecursionError):
            raise bad from None
        if not isinstance(value, dict):
            raise bad
        usage = cast(dict[str, Any], value).get("usage")
    else:
        if not (body.lstrip().startswith(b"{") and body.rstrip().endswith(b"}")):
            raise bad
        usage = _usage_by_place(body)
    return cast(dict[str, Any], usage) if isinstance(usage, dict) else None


def _usage_by_place(body: bytes) -> object:
    start = body.rfind(b'"usage"')
    brace = body.find(b"{", start)
    if start < 0 or brace < 0:
        return None
    try:
        return json.JSONDecoder().raw_decode(body[brace : brace + 4096].decode(errors="replace"))[0]
    except ValueError:
        return None


def output_tokens(usage: dict[str, Any] | None) -> int | None:
    """Output tokens as the engine counts them."""
    return count(usage, "completion_tokens")


def count(usage: Any, name: str) -> int | None:
    """A count of a usage object; None where it is not there or is no count."""
    value: object = cast(dict[str, Any], usage).get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
