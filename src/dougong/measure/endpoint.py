"""Gets to know an endpoint before it is loaded: its model, what it understands, how it counts a prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from dougong.errors import EngineError, InputError, UnknownId
from dougong.measure.client import Client, body_of, refusal_words
from dougong.measure.prompts import Counting, random_words
from dougong.measure.sse import StreamFault
from dougong.metrics import RequestRecord

APIS = ("chat", "completions")

_LENGTH = {"ignore_eos": True, "min_tokens": 0}
_USAGE = {"include_usage": True}
_CONTINUOUS = {"include_usage": True, "continuous_usage_stats": True}
_DIALECTS: tuple[tuple[str, Mapping[str, object]], ...] = (
    ("length and counts", {**_LENGTH, "stream_options": _CONTINUOUS}),
    ("length", {**_LENGTH, "stream_options": _USAGE}),
    ("length without a floor", {"ignore_eos": True, "stream_options": _USAGE}),
    ("counts", {"stream_options": _USAGE}),
    ("plain", {}),
)
"""What a body holds beside the standard, from most to least; the first that the endpoint takes is used."""

_PREFLIGHT_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """An endpoint as a load generator needs to know it.

    Attributes
    ----------
    url
        Base, without path and credentials.
    model, api
        What is asked for, and by which of the two interfaces.
    server
        What it says it is; empty where it does not.
    dialect, extras
        What a body holds beside the standard.
    counting
        How it counts a prompt.
    full_length
        Whether it goes on to the wanted number of tokens.
    """

    url: str
    model: str
    api: str = "chat"
    server: str = ""
    dialect: str = "plain"
    extras: Mapping[str, object] | None = None
    counting: Counting = Counting()
    full_length: bool = True

    @property
    def path(self) -> str:
        """Where requests go."""
        return f"{self.url}/v1/{'chat/completions' if self.api == 'chat' else 'completions'}"

    def body(self, prompt: str, output_tokens: int) -> dict[str, object]:
        """The body of one request."""
        asked: dict[str, object] = (
            {"messages": [{"role": "user", "content": prompt}]} if self.api == "chat" else {"prompt": prompt}
        )
        more: dict[str, object] = dict(self.extras or {})
        if "min_tokens" in more:
            more["min_tokens"] = output_tokens
        return {
            "model": self.model,
            **asked,
            "max_tokens": output_tokens,
            "temperature": 0.0,
            "stream": True,
            **more,
        }


def base_url(words: str) -> str:
    """The base of an endpoint from what a user writes: with or without scheme, ``/v1`` or a full path.

    Raises
    ------
    InputError
        If it is no HTTP address, or carries a password.
    """
    text = words.strip()
    parts = urlsplit(text if "://" in text else f"http://{text}")
    try:
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"{text!r} is no address: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"{text!r} is no http or https address", hint="for instance http://127.0.0.1:8000")
    if parts.username or parts.password:
        raise InputError("an address with a password in it ends up in records", hint="give --api-key-file")
    path = parts.path.rstrip("/")
    for tail in ("/chat/completions", "/completions", "/models"):
        path = path.removesuffix(tail)
    return urlunsplit((parts.scheme, parts.netloc, path.removesuffix("/v1"), "", ""))


async def meet(
    client: Client, url: str, *, model: str | None, api: str, prompt_tokens: int
) -> tuple[Endpoint, list[str]]:
    """Get to know the endpoint at ``url``, and what a user should be told about it.

    Raises
    ------
    EngineError
        If it does not answer, or refuses the plainest request.
    UnknownId
        If it does not serve ``model``.
    """
    notes: list[str] = []
    served, server = await _models(client, url)
    endpoint = Endpoint(url=url, model=_choose(model, served), api=api, server=server)
    endpoint, record = await _dialect(client, endpoint, notes)
    if record.output_tokens is None:
        notes.append("the endpoint does not say how many tokens it made: no token rate can be told")
    elif record.output_tokens < _PREFLIGHT_TOKENS:
        endpoint = replace(endpoint, full_length=False)
        notes.append(
            f"asked for {_PREFLIGHT_TOKENS} tokens the endpoint stopped after {record.output_tokens}: "
            "it does not take ignore_eos, so answers may be shorter than asked"
        )
    counting = await _counting(client, endpoint, record, prompt_tokens)
    if not counting.known:
        notes.append("the endpoint does not count prompts: one token per word is assumed")
    elif prompt_tokens < counting.least_tokens:
        notes.append(
            f"a prompt has {counting.least_tokens} tokens at least here (template included), not {prompt_tokens}"
        )
    return replace(endpoint, counting=counting), notes


async def _models(client: Client, url: str) -> tuple[list[str], str]:
    try:
        async with client.http.get(f"{url}/v1/models", timeout=aiohttp.ClientTimeout(total=30)) as reply:
            if reply.status in (401, 403):
                raise EngineError(
                    f"{url} wants a key: HTTP {reply.status}: {await refusal_words(reply)}",
                    hint="put it in the environment as OPENAI_API_KEY, or in a file and give --api-key-file",
                )
            server = reply.headers.get("Server", "")
            if reply.status != 200:
                return [], server  # some gateways list nothing
            body = json.loads(await body_of(reply))
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise EngineError(
            f"{url} does not answer: {error or type(error).__name__}", hint="is it up?"
        ) from None
    except (ValueError, StreamFault):
        raise EngineError(f"{url}/v1/models answers with something that is no list of models") from None
    data: object = body.get("data") if isinstance(body, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    entries = cast("list[object]", data) if isinstance(data, list) else []
    named = [str(cast("Mapping[str, object]", one).get("id", "")) for one in entries if isinstance(one, dict)]
    owners = {
        str(cast("Mapping[str, object]", one).get("owned_by", "")) for one in entries if isinstance(one, dict)
    }
    return [name for name in named if name], ", ".join(filter(None, [server, *sorted(owners)]))


def _choose(wanted: str | None, served: list[str]) -> str:
    if wanted is not None:
        if served and wanted not in served:
            raise UnknownId(
                "model of the endpoint", wanted, served, hint=f"it serves {', '.join(served[:8])}"
            )
        return wanted
    if not served:
        raise InputError("the endpoint lists no model: say which", hint="--model NAME")
    if len(served) > 1:
        raise InputError(
            f"the endpoint serves {len(served)} models: say which",
            hint=f"--model, one of {', '.join(served[:8])}",
        )
    return served[0]


async def _dialect(client: Client, endpoint: Endpoint, notes: list[str]) -> tuple[Endpoint, RequestRecord]:
    record: RequestRecord | None = None
    prompt = " ".join(random_words("preflight", 32))
    for name, extras in _DIALECTS:
        if "llama.cpp" in endpoint.server.lower() or "llamacpp" in endpoint.server.lower():
            extras = {**extras, "timings_per_token": True}
        endpoint = replace(endpoint, dialect=name, extras=extras)
        record = await _ask(client, endpoint, prompt, _PREFLIGHT_TOKENS)
        if record.status == "ok":
            if "ignore_eos" not in extras:
                notes.append("the endpoint refuses ignore_eos: answers may be shorter than asked")
            return endpoint, record
        if not record.error.startswith(("HTTP 400", "HTTP 422")):
            break
    assert record is not None
    raise EngineError(
        f"{endpoint.path} does not answer the plainest request: {record.error}",
        hint="--api completions (or chat), and --model, choose what is asked for",
    )


async def _counting(client: Client, endpoint: Endpoint, record: RequestRecord, wanted: int) -> Counting:
    """Overhead and slope from two lengths; then the wanted length itself is tried and corrected."""
    if record.prompt_tokens is None:
        return Counting()
    few, many = 32, 96
    counts: list[int] = []
    for words in (few, many):
        asked = await _ask(client, endpoint, " ".join(random_words(f"count {words}", words)), 1)
        if asked.prompt_tokens is None:
            return Counting()
        counts.append(asked.prompt_tokens)
    slope = (counts[1] - counts[0]) / (many - few)
    if not 0.2 <= slope <= 10:
        return Counting()
    counting = Counting(overhead_tokens=counts[0] - slope * few, tokens_per_word=slope, known=True)
    if abs(slope - 1.0) < 1e-9 or wanted > 8192:
        return counting
    # Words that are not one token each: fit the overhead to the length that is wanted.
    words = counting.words(wanted)
    tried = await _ask(client, endpoint, " ".join(random_words("count wanted", words)), 1)
    if tried.prompt_tokens is None:
        return counting
    return replace(counting, tokens_per_word=(tried.prompt_tokens - counting.overhead_tokens) / words)


async def _ask(client: Client, endpoint: Endpoint, prompt: str, output_tokens: int) -> RequestRecord:
    body = endpoint.body(prompt, output_tokens)
    return await client.send(endpoint.path, body, id="preflight", arrival_s=client.now())
