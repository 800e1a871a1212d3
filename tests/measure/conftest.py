"""An endpoint in a thread whose every answer is told beforehand, and real runs against it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

web = pytest.importorskip("aiohttp.web")


class Stub:
    """Counts words as ``template + words`` tokens, refuses what it does not know, streams as it is told."""

    def __init__(self) -> None:
        self.refuses: set[str] = set()
        self.models = ["tiny"]
        self.server = "stub"
        self.template = 3
        self.counts = "usage"  # usage | continuous | ids | timings | nothing
        self.per_piece = 1
        self.stops_after: int | None = None
        self.gap_s = 0.0
        self.first_s = 0.0
        self.break_after: int | None = None
        self.error_after: int | None = None
        self.status = 200
        self.streams = True
        self.key: str | None = None
        self.bodies: list[dict[str, Any]] = []
        self.url = ""

    async def list_models(self, request: Any) -> Any:
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": {"message": "no such key"}}, status=401)
        found = {"data": [{"id": name, "owned_by": self.server} for name in self.models]}
        return web.json_response(found)

    async def complete(self, request: Any) -> Any:
        body = await request.json()
        self.bodies.append(body)
        known = {"model", "messages", "prompt", "max_tokens", "temperature", "stream"}
        for name in [*body, *body.get("stream_options", {})]:
            if name in self.refuses:
                return web.json_response({"error": {"message": f"unknown: {name}"}}, status=400)
        if self.status != 200:
            return web.json_response({"error": {"message": "as told"}}, status=self.status)
        assert known <= {*body, "messages", "prompt"}
        text = body["messages"][0]["content"] if "messages" in body else body["prompt"]
        prompt, wanted = len(text.split()) + self.template, body["max_tokens"]
        made = wanted if self.stops_after is None else min(wanted, self.stops_after)
        usage = {"prompt_tokens": prompt, "completion_tokens": made}
        if not self.streams:
            return web.json_response({"choices": [{"message": {"content": "x"}}], "usage": usage})
        return await self._stream(request, body, made, usage)

    async def _stream(self, request: Any, body: dict[str, Any], made: int, usage: dict[str, int]) -> Any:
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)

        async def send(event: object) -> None:
            await reply.write(b"data: " + json.dumps(event).encode() + b"\n\n")

        options = body.get("stream_options", {})
        await asyncio.sleep(self.first_s)
        for piece, at in enumerate(range(0, made, self.per_piece)):
            if piece == self.break_after:
                assert request.transport is not None
                request.transport.close()
                return reply
            if piece == self.error_after:
                await send({"error": {"message": "out of memory"}})
                return reply
            here = min(self.per_piece, made - at)
            choice: dict[str, Any] = {"delta": {"content": "é" * here}, "finish_reason": None}
            event: dict[str, Any] = {"choices": [choice]}
            if self.counts == "continuous" and options.get("continuous_usage_stats"):
                event["usage"] = {**usage, "completion_tokens": at + here}
            if self.counts == "timings" and body.get("timings_per_token"):
                event["timings"] = {"predicted_n": at + here}
            if self.counts == "ids":
                choice["token_ids"] = list(range(here))
            await send(event)
            await asyncio.sleep(self.gap_s)
        await send({"choices": [{"delta": {}, "finish_reason": "length"}]})
        if options.get("include_usage") and self.counts != "nothing":
            await send({"choices": [], "usage": usage})
        await reply.write(b"data: [DONE]\n\n")
        return reply


@pytest.fixture
def stub() -> Iterator[Stub]:
    one, ready, loop = Stub(), threading.Event(), asyncio.new_event_loop()
    stop: Callable[[], None] | None = None

    async def serve() -> None:
        nonlocal stop
        app = web.Application()
        app.router.add_get("/v1/models", one.list_models)
        for path in ("/v1/chat/completions", "/v1/completions"):
            app.router.add_post(path, one.complete)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        one.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ended = asyncio.Event()
        stop = lambda: loop.call_soon_threadsafe(ended.set)  # noqa: E731
        ready.set()
        await ended.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert ready.wait(60)
    yield one
    assert stop is not None
    stop()
    thread.join(60)
    loop.close()
