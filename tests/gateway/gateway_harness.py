"""A gateway in a thread of the test, and the few HTTP words that tests say to it."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from dougong.gateway import Replica, Settings, bind, build_app, loop_factory, serve_app
from waiting import LONG_S, until

# Quick to look and slow to give up: a busy machine is no fault of an engine.
QUICK = {"health_every_s": 0.2, "health_timeout_s": 5.0, "connect_timeout_s": 10.0, "drain_s": 1.0}
CHAT = "/v1/chat/completions"


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json["error"]

    @property
    def events(self) -> list[str]:
        return [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]


class Served:
    """A gateway that runs until the block ends; it must end cleanly."""

    def __init__(self, *replicas: Replica | str, wait: bool = True, **settings: Any) -> None:
        self.replicas = [Replica(url=r) if isinstance(r, str) else r for r in replicas]
        self.settings = Settings(**{**QUICK, **settings})
        self.wait = wait
        self.fault: BaseException | None = None

    def __enter__(self) -> Served:
        self.app = build_app(self.settings, self.replicas)
        self.gateway = self.app.state.gateway
        self.listener = bind("127.0.0.1", 0)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        ready = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(ready,))
        self.thread.start()
        assert ready.wait(LONG_S), self.fault
        if self.wait and self.replicas:
            until(lambda: all(member.healthy for member in self.gateway.pool.members))
        return self

    def _run(self, ready: threading.Event) -> None:
        async def main() -> None:
            self.loop, self.stop = asyncio.get_running_loop(), asyncio.Event()
            await serve_app(self.app, listener=self.listener, stop=self.stop, on_ready=lambda _: ready.set())

        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(main())
        except BaseException as fault:
            self.fault = fault

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(LONG_S)
        assert not self.thread.is_alive()
        assert self.fault is None, self.fault

    def ask(
        self,
        path: str,
        value: Any = None,
        *,
        method: str | None = None,
        key: str | None = None,
        **headers: str,
    ) -> Reply:
        """One request on a connection of its own."""
        given = {name.replace("_", "-"): text for name, text in headers.items()}
        if key is not None:
            given["authorization"] = f"Bearer {key}"
        body = value if isinstance(value, bytes | None) else json.dumps(value).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG_S)
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, body, given)
            reply = connection.getresponse()
            return Reply(reply.status, {k.lower(): v for k, v in reply.getheaders()}, reply.read())
        finally:
            connection.close()

    def chat(self, *, key: str | None = None, **more: Any) -> Reply:
        """A chat of one message."""
        return self.ask(CHAT, chat(**more), key=key)

    def raw(self, data: bytes) -> socket.socket:
        """A connection on which these bytes were written."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=LONG_S)
        connection.sendall(data)
        return connection


def chat(**more: Any) -> dict[str, Any]:
    """The body of a chat of one message."""
    return {"model": "fake", "messages": [{"role": "user", "content": "hello there"}], **more}


def http_post(path: str, value: Any, *headers: str) -> bytes:
    """A request as bytes."""
    body = json.dumps(value).encode()
    lines = [f"POST {path} HTTP/1.1", "host: x", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def port_of(url: str) -> int:
    """Port of a URL."""
    port = urlsplit(url).port
    assert port is not None
    return port
