"""Runs the application on uvicorn, with what it lacks: limits on heads, errors in OpenAI's shape, deafness to offers.

Java's own client offers HTTP/2 with each request, and uvicorn loses the body of such a one
(github.com/Kludex/uvicorn/issues/2722): the parser stops at the offer. An offer that is not taken up is to be passed
over (RFC 9110, section 7.8), so the request is read anew without it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import sys
from collections.abc import Callable, Generator
from typing import Any, cast

import httptools
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from dougong.errors import EnvironmentLacking, InputError
from dougong.gateway.core import Gateway
from dougong.gateway.logs import Log
from dougong.gateway.settings import Settings
from dougong.gateway.wire import Refusal, request_id

_LONGEST_HEAD_BYTES = 65_536
_KEEP_ALIVE_S = 75
_BACKLOG = 4096
_FILES = 65_536
_LAST_WORDS_S = 5  # for the errors of answers that are cut off by a stop
_OFFERS = (b"upgrade", b"http2-settings")  # names of headers, and tokens of the header connection
_PHRASES = {
    400: b"Bad Request",
    408: b"Request Timeout",
    431: b"Request Header Fields Too Large",
    503: b"Service Unavailable",
}


def guarded_protocol(settings: Settings) -> type[HttpToolsProtocol]:
    """Return uvicorn's protocol with a clock on every request's arrival, a limit on its head, and deaf to offers."""

    class Guarded(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None
        _in_head = True
        _head_bytes = 0
        _heads = 0
        _offered = False  # another protocol, with the head that was just read

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > settings.max_connections:
                self._refuse(503, "too many connections")
            else:
                self._arm(settings.header_timeout_s)

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            if self._in_head and self._timer is None:  # the first bytes of a further request
                self._arm(settings.header_timeout_s)
            in_head, heads = self._in_head, self._heads
            self._unset_keepalive_if_required()
            self._read(data)
            if in_head and self._heads == heads:  # it began and ended in one head; the end of a body is none
                self._head_bytes += len(data)
                if self._head_bytes > _LONGEST_HEAD_BYTES:
                    self._refuse(431, f"the headers are longer than {_LONGEST_HEAD_BYTES} bytes")

        def _read(self, data: bytes) -> None:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserError:
                self._refuse(400, "the request is no HTTP/1.1")
            except httptools.HttpParserUpgrade as offer:
                if self.parser.get_method() == b"CONNECT":
                    self._refuse(400, "there are no tunnels here")
                    return
                head, self._offered = self._head_without_offer(), False
                self.parser = httptools.HttpRequestParser(self)
                with contextlib.suppress(
                    AttributeError
                ):  # as uvicorn does; httptools before 0.6.3 has it not
                    self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self._read(head + data[offer.args[0] :])

        def _head_without_offer(self) -> bytes:
            version = self.parser.get_http_version().encode()
            lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, version)]
            for name, value in self.headers:
                if name == b"connection":
                    tokens = [token.strip() for token in value.split(b",")]
                    value = b", ".join(token for token in tokens if token.lower() not in _OFFERS)
                if name not in _OFFERS:
                    lines.append(b"%b: %b" % (name, value))
            return b"\r\n".join([*lines, b"", b""])

        def on_headers_complete(self) -> None:
            if self.parser.should_upgrade():
                self._offered = True
                return
            self._in_head, self._head_bytes = False, 0
            self._heads += 1
            self._arm(settings.body_timeout_s)
            super().on_headers_complete()

        def on_message_complete(self) -> None:
            if self._offered:
                return
            self._in_head = True
            self._disarm()
            super().on_message_complete()

        def _arm(self, seconds: float) -> None:
            self._disarm()
            self._timer = self.loop.call_later(seconds, self._late)

        def _disarm(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _late(self) -> None:
            what = "headers" if self._in_head else "body"
            self._refuse(408, f"the {what} did not come in time")

        def _refuse(self, status: int, message: str) -> None:
            """Answer where no answer has begun, and close."""
            self._disarm()
            if self.transport.is_closing():
                return
            cycle = cast("RequestResponseCycle | None", self.cycle)
            begun = cycle is not None and cycle.response_started and not cycle.response_complete
            if not begun:
                body = Refusal(status, message).body()
                head = b"HTTP/1.1 %d %b\r\ncontent-type: application/json\r\nx-request-id: %b\r\n" % (
                    status,
                    _PHRASES[status],
                    request_id(None).encode(),
                )
                self.transport.write(
                    head + b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body)
                )
            self.transport.close()

    return Guarded


class _Server(uvicorn.Server):
    """uvicorn's server that takes its stop from an event and says when it listens."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: Starlette,
        stop: asyncio.Event | None,
        on_ready: Callable[[], None] | None,
    ) -> None:
        super().__init__(config)
        self.app, self.stop, self.on_ready = app, stop, on_ready

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the caller where it brings its own stop."""
        if self.stop is not None:
            yield
        else:
            with super().capture_signals():
                yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        if self.on_ready is not None and self.started:
            self.on_ready()

    async def on_tick(self, counter: int) -> bool:
        """Look at the stop ten times a second."""
        if self.stop is not None and self.stop.is_set():
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Say that no more is taken, then let running answers end."""
        gateway: Gateway = self.app.state.gateway
        gateway.draining = True
        end = asyncio.get_running_loop().call_later(gateway.settings.drain_s, gateway.stop_calls)
        await super().shutdown(sockets)
        end.cancel()


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket's address, taken now so that a taken port is told before anything starts.

    Raises
    ------
    EnvironmentLacking
        The port is taken or may not be used.
    InputError
        The host is none of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError, OverflowError) as fault:
        raise InputError(f"no address is called {host!r}: {fault}") from None
    listener = socket.socket(family, kind, protocol)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(_BACKLOG)  # else a second one could bind the port too
    except OSError as fault:
        listener.close()
        if fault.errno == errno.EADDRINUSE:
            raise EnvironmentLacking(
                f"port {port} of {host} is taken", hint="name another one with --port, or 0 for any free one"
            ) from None
        if fault.errno == errno.EADDRNOTAVAIL:
            raise InputError(f"{host} is no address of this machine") from None
        raise EnvironmentLacking(f"port {port} of {host} cannot be used: {fault.strerror}") from None
    return listener


def url_of(listener: socket.socket) -> str:
    """Base URL of a listening socket."""
    host, port = cast(tuple[Any, ...], listener.getsockname())[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _LogHandler(logging.Handler):
    """Hands the server's own warnings on as events; of an exception only its type."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self.log = log

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else None
        self.log.say("server", level=record.levelname.lower(), error=record.getMessage(), exception=kind)


def _raise_file_limit() -> None:
    """Allow as many connections as the system lets us; 1,024 files are 500 streams."""
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def serve_app(
    app: Starlette,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    listener: socket.socket | None = None,
    stop: asyncio.Event | None = None,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until told to stop, then let running answers end within ``settings.drain_s``.

    Parameters
    ----------
    app
        What :func:`build_app` returned.
    host, port
        Where to listen; port 0 takes a free one.
    listener
        A socket bound before with :func:`bind`, instead of host and port.
    stop
        Set it to stop; without one, SIGINT and SIGTERM stop.
    on_ready
        Called with the base URL once it listens.
    """
    gateway: Gateway = app.state.gateway
    settings = gateway.settings
    _raise_file_limit()
    listener = bind(host, port) if listener is None else listener
    url = url_of(listener)
    config = uvicorn.Config(
        app,
        http=guarded_protocol(settings),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=round(settings.drain_s) + _LAST_WORDS_S,
        backlog=_BACKLOG,
    )
    ready = None if on_ready is None else lambda: on_ready(url)
    handler = _LogHandler(gateway.log)
    logger = logging.getLogger("uvicorn")
    logger.addHandler(handler)
    logger.propagate = False
    try:
        await _Server(config, app, stop, ready).serve(sockets=[listener])
    finally:
        logger.removeHandler(handler)


def run_app(app: Starlette, **words: Any) -> None:
    """Serve on the fastest event loop that is here; the words are those of :func:`serve_app`."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve_app(app, **words))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where it is installed (it is not for Windows)."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
