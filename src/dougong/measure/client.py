"""One request over HTTP, from when it is due to its record."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dougong.errors import EnvironmentLacking
from dougong.measure.sse import Answer, EventReader, StreamFault, error_words
from dougong.metrics import RequestRecord
from dougong.metrics.records import Status

try:
    import aiohttp
except ImportError as error:
    raise EnvironmentLacking(
        "load is sent with aiohttp, which is not installed", hint="pip install 'dougong[measure]'"
    ) from error

MAX_BODY_BYTES = 32 << 20
_SHED = (429, 503)


@dataclass(slots=True)
class Client:
    """An HTTP client with the clock of a run.

    Attributes
    ----------
    http
        The session; as many connections as there are requests in flight.
    timeout_s
        A request that has not ended by then is given up [s].
    zero_s
        Zero of the run on the machine's monotonic clock [s].
    counted_by
        How the tokens of answers were counted, and how often.
    pieces
        Pieces of streams read so far.
    """

    http: aiohttp.ClientSession
    timeout_s: float
    zero_s: float = field(default_factory=time.perf_counter)
    counted_by: Counter[str] = field(default_factory=Counter[str])
    pieces: int = 0
    tokens: int = 0

    def now(self) -> float:
        """Time of the run [s]."""
        return time.perf_counter() - self.zero_s

    async def send(self, url: str, body: Mapping[str, object], *, id: str, arrival_s: float) -> RequestRecord:
        """Send one request and follow it to its end; faults become the record's status."""
        answer, sent_s, status, words = Answer(), self.now(), "ok", ""
        try:
            async with asyncio.timeout(self.timeout_s):
                payload = json.dumps(body).encode()
                sent_s = self.now()
                async with self.http.post(url, data=payload, headers=_JSON) as reply:
                    if reply.status != 200:
                        status = "shed" if reply.status in _SHED else "error"
                        words = f"HTTP {reply.status}: {await refusal_words(reply)}"
                    elif reply.content_type == "text/event-stream":
                        await self._follow(reply, answer)
                    else:
                        await self._take_whole(reply, answer)
            if status == "ok":
                status, words = _verdict(answer)
        except TimeoutError:
            status, words = "timeout", f"no end within {self.timeout_s:g} s"
        except asyncio.CancelledError:
            status, words = "cancelled", "given up when the run was stopped"
        except aiohttp.ClientError as error:
            status, words = "error", f"connection: {error_words(str(error) or type(error).__name__)}"
        except (StreamFault, ValueError) as error:
            status, words = "error", f"reply: {error_words(str(error))}"
        return self._record(answer, id, arrival_s, sent_s, status, words)

    async def _follow(self, reply: aiohttp.ClientResponse, answer: Answer) -> None:
        reader = EventReader()
        async for piece in reply.content.iter_any():
            now, before = self.now(), len(answer.pieces)
            for data in reader.feed(piece):
                answer.take(data, now)
            new = len(answer.pieces) - before
            self.pieces += new
            self.tokens += sum(count or 1 for _, count in answer.pieces[before:])

    async def _take_whole(self, reply: aiohttp.ClientResponse, answer: Answer) -> None:
        # The server does not stream: there is an end, and no first token.
        event: object = json.loads(await body_of(reply))
        if not isinstance(event, dict):
            raise StreamFault("the answer is no JSON object")
        answer.take_object(event, self.now())  # pyright: ignore[reportUnknownArgumentType]
        answer.pieces.clear()
        answer.done = True

    def _record(
        self, answer: Answer, id: str, arrival_s: float, sent_s: float, status: str, words: str
    ) -> RequestRecord:
        times, counted_by = answer.token_times()
        if status == "ok":
            self.counted_by[counted_by] += 1
        first, last = (answer.pieces[0][0], answer.pieces[-1][0]) if answer.pieces else (None, None)
        known: dict[str, Any] = {"token_s": times} if times else {}
        return RequestRecord(
            id=id,
            arrival_s=arrival_s,
            sent_s=sent_s,
            first_token_s=first,
            last_token_s=last,
            end_s=self.now(),
            prompt_tokens=answer.prompt_tokens,
            output_tokens=len(times) if times else answer.tokens,
            cached_prompt_tokens=answer.cached_prompt_tokens,
            status=_status(status),
            error=words,
            **known,
        )


_JSON = {"Content-Type": "application/json", "Accept": "text/event-stream"}


def _verdict(answer: Answer) -> tuple[str, str]:
    if answer.error:
        return "error", f"stream: {answer.error}"
    if not (answer.done or answer.finish):
        return "error", "stream: it broke off before its end"
    if not answer.pieces and not answer.output_tokens:
        return "error", "reply: an answer without a token"
    return "ok", ""


def _status(word: str) -> Status:
    assert word in ("ok", "error", "shed", "cancelled", "timeout")
    return word


async def body_of(reply: aiohttp.ClientResponse) -> bytes:
    """The whole body of a reply, of a bounded size."""
    parts: list[bytes] = []
    async for part in reply.content.iter_any():
        parts.append(part)
        if sum(map(len, parts)) > MAX_BODY_BYTES:
            raise StreamFault(f"the reply is longer than {MAX_BODY_BYTES >> 20} MiB")
    return b"".join(parts)


async def refusal_words(reply: aiohttp.ClientResponse) -> str:
    """What a refusing server says, short, on one line."""
    content = await body_of(reply)
    try:
        body: object = json.loads(content)
    except ValueError:
        return error_words(content.decode("utf-8", "replace")) or (reply.reason or "")
    return error_words(body.get("error", body) if isinstance(body, dict) else body)  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]


def open_http(*, api_key: str | None, connections: int = 0) -> aiohttp.ClientSession:
    """A session without limits of its own on time and connections (0 is no limit)."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, ttl_dns_cache=300),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=30),
        headers={"User-Agent": "dougong-measure", **headers},
        read_bufsize=1 << 18,
        auto_decompress=True,
    )
