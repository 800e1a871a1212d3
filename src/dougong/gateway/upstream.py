"""HTTP/1.1 to an engine with the least work per piece: one protocol object per connection, parsed by httptools.

Notes
-----
Why no client library: the same bare relay on uvicorn, 32 clients on two busy cores, carried 9,500 requests/s with
this, 4,500 with aiohttp and 280 with httpx (``benchmarks/gateway_clients.py``).
"""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections import deque
from typing import Any, Self, cast
from urllib.parse import urlsplit

import httptools

from dougong import __version__

_BUFFER_BYTES = 1 << 18  # above this the engine is made to wait
_IDLE_S = 4.0  # below the shortest keep-alive of common servers (5 s)
_MAX_HEADERS = 256
_VERSIONED = re.compile(r"(.*?)(/v\d[\w.]*(?:/openai)?)")


class UpstreamError(Exception):
    """The engine could not be reached, broke off or took too long.

    Parameters
    ----------
    message
        What happened.
    reused
        It happened on a kept connection before any answer: the engine may just have closed it for age.
    timeout
        It took too long.
    unreached
        There was no connection at all.
    """

    def __init__(
        self, message: str, *, reused: bool = False, timeout: bool = False, unreached: bool = False
    ) -> None:
        super().__init__(message)
        self.reused, self.timeout, self.unreached = reused, timeout, unreached


class Connection(asyncio.Protocol):
    """One connection to an engine; it carries one exchange at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self.parser: Any = None
        self.loop = asyncio.get_running_loop()
        self.waiter: asyncio.Future[None] | None = None
        self.pieces: deque[bytes] = deque()
        self.buffered = 0
        self.paused = False
        self.lost = False
        self.fault: UpstreamError | None = None
        self.used = 0
        self.idle_since_s = 0.0
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.head = self.complete = self.keeps = False

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        if self.parser is None:
            self.abort("the engine spoke before it was asked")
            return
        try:
            self.parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as fault:
            self.abort(f"the engine's answer is no HTTP ({type(fault).__name__})")
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the reader; an answer without a length ends here by right."""
        self.lost = True
        if (
            self.head
            and not self.complete
            and self.fault is None
            and exc is None
            and self._ends_with_connection()
        ):
            self.complete = True
        if not self.complete and self.fault is None:
            words = "broke the connection off" if self.head else "closed the connection without an answer"
            self.fault = UpstreamError(f"the engine {words}", reused=self.used > 1 and not self.head)
        self._wake()

    def _ends_with_connection(self) -> bool:
        return b"content-length" not in self.headers and b"transfer-encoding" not in self.headers

    # What the parser calls.

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header."""
        if len(self.headers) < _MAX_HEADERS:
            self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Note the status; an interim answer (1xx) is none."""
        self.status = self.parser.get_status_code()
        self.head = self.status >= 200

    def on_body(self, body: bytes) -> None:
        """Keep a piece; stop reading where too much waits."""
        self.pieces.append(body)
        self.buffered += len(body)
        if self.buffered > _BUFFER_BYTES and not self.paused and not self.lost:
            self.paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        """Note the end."""
        if self.head:
            self.complete, self.keeps = True, bool(self.parser.should_keep_alive())
        else:
            self._reset()

    # What a request does.

    def ask(self, request: bytes) -> None:
        """Send a request."""
        self._reset()
        self.parser = httptools.HttpResponseParser(self)
        self.used += 1
        self.transport.write(request)

    async def wait_head(self) -> None:
        """Wait for status and headers."""
        while not self.head:
            await self._wait()

    async def read(self) -> bytes:
        """Return what came since the last read, waiting for something; empty at the end."""
        while not self.pieces:
            if self.complete:
                return b""
            await self._wait()
        data = self.pieces.popleft() if len(self.pieces) == 1 else b"".join(self.pieces)
        self.pieces.clear()
        self.buffered = 0
        if self.paused:
            self.paused = False
            if not self.lost:
                self.transport.resume_reading()
        return data

    def abort(self, reason: str = "the gateway closed it", *, timeout: bool = False) -> None:
        """Close at once; a reader gets an :class:`UpstreamError` with this reason."""
        if self.fault is None and not self.complete:
            self.fault = UpstreamError(reason, timeout=timeout)
        if not self.lost:
            self.transport.abort()
        self._wake()

    async def _wait(self) -> None:
        if self.fault is not None:
            raise self.fault
        self.waiter = self.loop.create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    @property
    def reusable(self) -> bool:
        """Whether the engine keeps the connection after this answer."""
        return self.complete and self.keeps and not self.lost and not self.pieces


class Exchange:
    """One request and its answer; leaving the context keeps or closes the connection."""

    def __init__(self, client: Client, connection: Connection) -> None:
        self.client, self.connection = client, connection

    @property
    def status(self) -> int:
        """HTTP status of the answer."""
        return self.connection.status

    def header(self, name: bytes) -> bytes:
        """Value of a header, lower-case name; empty where it is not there."""
        return self.connection.headers.get(name, b"")

    async def read(self) -> bytes:
        """Return the next bytes of the body; empty at the end."""
        return await self.connection.read()

    async def read_all(self, longest_bytes: int) -> bytes:
        """Return the whole body.

        Raises
        ------
        UpstreamError
            It is longer than ``longest_bytes``, or broke off.
        """
        parts: list[bytes] = []
        total = 0
        while piece := await self.connection.read():
            total += len(piece)
            if total > longest_bytes:
                self.connection.abort()
                raise UpstreamError(f"the engine's answer is longer than {longest_bytes} bytes")
            parts.append(piece)
        return b"".join(parts)

    def abort(self, reason: str, *, timeout: bool = False) -> None:
        """Close the connection to the engine now."""
        self.connection.abort(reason, timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.release(self.connection)


class Client:
    """Connections to one engine, kept between requests.

    Parameters
    ----------
    url
        Base URL of the engine. A version at its end, as in ``/v1`` or ``/api/paas/v4``, stands for our ``/v1``.
    key
        Bearer token for it.
    connect_timeout_s
        Longest time for a connection [s].
    """

    def __init__(self, url: str, *, key: str | None = None, connect_timeout_s: float = 5.0) -> None:
        parts = urlsplit(url)
        secure = parts.scheme == "https"
        self.host, self.port = parts.hostname or "", parts.port or (443 if secure else 80)
        self.tls = ssl.create_default_context() if secure else None
        versioned = _VERSIONED.fullmatch(parts.path.rstrip("/"))
        self._root = (versioned[1] if versioned else parts.path.rstrip("/")).encode()
        self._api = (versioned[2] if versioned else "/v1").encode()
        self.connect_timeout_s = connect_timeout_s
        token = f"authorization: Bearer {key}\r\n" if key else ""
        self._fixed = (
            f"host: {parts.netloc}\r\nuser-agent: dougong/{__version__}\r\naccept-encoding: identity\r\n{token}"
        ).encode()
        self._idle: deque[Connection] = deque()

    def take_idle(self) -> Connection | None:
        """Return a kept connection that is young enough."""
        now = time.monotonic()
        while self._idle:
            connection = self._idle.pop()
            if not connection.lost and now - connection.idle_since_s < _IDLE_S:
                return connection
            connection.abort()
        return None

    async def connect(self) -> Connection:
        """Open a connection."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.connect_timeout_s):
                _, connection = await loop.create_connection(Connection, self.host, self.port, ssl=self.tls)
        except TimeoutError:
            words = f"no connection to the engine in {self.connect_timeout_s:g} s"
            raise UpstreamError(words, timeout=True, unreached=True) from None
        except OSError as fault:
            words = f"no connection to the engine: {fault.strerror or type(fault).__name__}"
            raise UpstreamError(words, unreached=True) from None
        return connection

    async def send(
        self, method: bytes, path: bytes, body: bytes = b"", headers: bytes = b"", *, fresh: bool = False
    ) -> Exchange:
        """Send a request and return at once; :meth:`Connection.wait_head` waits for the answer.

        Parameters
        ----------
        headers
            More header lines, each with its CR LF.
        fresh
            Use no kept connection.

        Raises
        ------
        UpstreamError
            No connection.
        """
        if path.startswith(b"/v1/"):
            path = self._api + path[3:]
        connection = None if fresh else self.take_idle()
        if connection is None:
            connection = await self.connect()
        connection.ask(
            b"%b %b%b HTTP/1.1\r\n%b%bcontent-length: %d\r\n\r\n%b"
            % (method, self._root, path, self._fixed, headers, len(body), body)
        )
        return Exchange(self, connection)

    def release(self, connection: Connection) -> None:
        """Keep a connection whose answer is complete, close any other."""
        if connection.reusable:
            connection.idle_since_s = time.monotonic()
            connection.parser = None
            self._idle.append(connection)
        else:
            connection.abort()

    def close(self) -> None:
        """Close what is kept."""
        while self._idle:
            self._idle.pop().abort()
