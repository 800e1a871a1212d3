"""The application: OpenAI's paths, health and metrics, as plain ASGI behind Starlette's router."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

from starlette.applications import Starlette
from starlette.routing import Route

from dougong.gateway.health import Health
from dougong.gateway.pool import Member, Pool
from dougong.gateway.relay import Call, Relay
from dougong.gateway.settings import Replica, Settings
from dougong.gateway.wire import Header, Receive, Refusal, Scope, Send, answer, read_body, request_id

_PROMPTS = {"/v1/chat/completions": "messages", "/v1/completions": "prompt", "/v1/embeddings": "input"}
_BUG = Refusal(500, "the gateway failed; this is a bug of ours", code="internal_error")


class Gateway:
    """What one gateway holds while it runs."""

    def __init__(self, settings: Settings, replicas: Sequence[Replica]) -> None:
        self.settings = settings
        self.pool = Pool(settings, replicas)
        self.health = Health(settings, self.pool)
        self.relay = Relay(settings, self.pool, on_retry=self.retried, on_doubt=self.health.doubt)
        self.calls: set[Call] = set()
        self.draining = False
        self.started_unix_s = int(time.time())

    def retried(self, member: Member) -> None:
        """Count that a request goes to another replica."""

    def finish(self, call: Call) -> None:
        """Write down a call that is over."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Run the watch over replicas and the clock over calls."""
        tasks = [asyncio.create_task(self.health.watch()), asyncio.create_task(self._clock())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.pool.close()

    async def _clock(self) -> None:
        """End calls whose time is over; one timer for all is the least work per piece."""
        settings = self.settings
        period_s = min(1.0, settings.first_byte_timeout_s / 4, settings.stall_timeout_s / 4)
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(period_s)
            now_s = loop.time()
            for call in [call for call in self.calls if call.deadline_s < now_s]:
                call.expire()


class _Door:
    """What every path has in common: an id, the method, errors in OpenAI's shape."""

    methods: tuple[str, ...] = ("GET",)

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, whatever happens."""
        given = dict(cast(list[Header], scope["headers"]))
        identity = request_id(given.get(b"x-request-id"))
        headers: list[Header] = [(b"x-request-id", identity.encode())]
        began = False

        async def watched(message: Any) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            if scope["method"] not in self.methods:
                allowed = ", ".join(self.methods)
                allow = (b"allow", allowed.encode())
                raise Refusal(405, f"use {allowed} here", code="method_not_allowed", headers=[allow])
            await self.serve(scope, receive, watched, identity, given, headers)
        except Refusal as refusal:
            await answer(send, refusal.status, refusal.body(), [*headers, *refusal.all_headers()])
        except ConnectionResetError:
            return
        except Exception:
            if began:
                raise
            await answer(send, 500, _BUG.body(), headers)

    async def serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        identity: str,
        given: dict[bytes, bytes],
        headers: list[Header],
    ) -> None:
        """Answer a request of a right method."""
        raise Refusal(404, "there is nothing at this path; the API is below /v1", code="not_found")


class _Nowhere(_Door):
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")


class _Tokens(_Door):
    """Completions and embeddings."""

    methods = ("POST",)

    async def serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        identity: str,
        given: dict[bytes, bytes],
        headers: list[Header],
    ) -> None:
        gateway = self.gateway
        call = Call(identity, scope["path"], asyncio.get_running_loop().time())
        gateway.calls.add(call)
        try:
            call.body = await read_body(given, receive, gateway.settings.max_body_bytes)
            call.request = read_request(call.body, call.path)
            call.stream = bool(call.request.get("stream")) and call.path != "/v1/embeddings"
            call.model = self._model(call.request)
            await self._carry(call, receive, send, headers)
        except Refusal as refusal:
            if call.status == "ok":
                call.status = "shed" if refusal.status in (429, 503) else "error"
            call.http_status, call.error = refusal.status, refusal.message
            raise
        except ConnectionResetError:
            call.status = "cancelled"
            raise
        finally:
            gateway.calls.discard(call)
            gateway.finish(call)

    async def _carry(self, call: Call, receive: Receive, send: Send, headers: list[Header]) -> None:
        """Relay a call; leave it at once where the client leaves."""
        call.task = asyncio.current_task()
        watch = asyncio.create_task(_watch(call, receive))
        try:
            await self.gateway.relay.carry(call, send, headers)
        except asyncio.CancelledError:
            call.status = "cancelled"
            if not call.client_gone:
                raise
            cast(asyncio.Task[Any], call.task).uncancel()
            raise ConnectionResetError(call.error or "the client left") from None
        finally:
            watch.cancel()

    def _model(self, request: dict[str, Any]) -> str:
        """Return the model that is asked for; one that is served alone need not be named."""
        known = self.gateway.pool.models()
        model = request.get("model")
        if model is None and len(known) == 1:
            return known[0]
        if not isinstance(model, str) or not model:
            raise Refusal(400, "model must be the id of a model, see /v1/models", param="model")
        if model not in known:
            import difflib

            near = difflib.get_close_matches(model, known, n=3, cutoff=0.4)
            hint = f"; near names: {', '.join(near)}" if near else "; /v1/models lists what is served"
            said = model if len(model) <= 80 else f"{model[:80]}…"
            raise Refusal(404, f"no model is called {said!r}{hint}", code="model_not_found", param="model")
        return model


async def _watch(call: Call, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    call.leave()


def read_request(body: bytes, path: str) -> dict[str, Any]:
    """Read a request's JSON.

    Raises
    ------
    Refusal
        400 with the place of the fault; no part of the body is quoted.
    """
    try:
        value: Any = json.loads(body)
    except json.JSONDecodeError as fault:
        words = f"the body is no JSON: {fault.msg} at line {fault.lineno}, column {fault.colno}"
        raise Refusal(400, words, code="invalid_json") from None
    except UnicodeDecodeError as fault:
        raise Refusal(400, f"the body is no UTF-8 at byte {fault.start}", code="invalid_json") from None
    except (ValueError, RecursionError):
        raise Refusal(
            400, "the body is JSON with a number too long or nested too deep", code="invalid_json"
        ) from None
    if not isinstance(value, dict):
        raise Refusal(400, "the body must be a JSON object", code="invalid_json")
    request = cast(dict[str, Any], value)
    needed = _PROMPTS[path]
    if needed not in request or request[needed] in (None, []):
        raise Refusal(400, f"{needed} is missing or empty", param=needed)
    if needed == "messages" and not isinstance(request[needed], list):
        raise Refusal(400, "messages must be a list", param=needed)
    if not isinstance(request.get("stream"), bool | None):
        raise Refusal(400, "stream must be true or false", param="stream")
    return request


class _Models(_Door):
    """What is served."""

    async def serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        identity: str,
        given: dict[bytes, bytes],
        headers: list[Header],
    ) -> None:
        known = self.gateway.pool.models()
        wanted = scope.get("path_params", {}).get("model")
        if wanted is None:
            value: object = {"object": "list", "data": [self._entry(name) for name in known]}
        elif wanted in known:
            value = self._entry(wanted)
        else:
            raise Refusal(
                404, "no such model is served; /v1/models lists them", code="model_not_found", param="model"
            )
        await answer(send, 200, json.dumps(value, ensure_ascii=False).encode(), headers)

    def _entry(self, name: str) -> dict[str, Any]:
        created = self.gateway.started_unix_s
        return {"id": name, "object": "model", "created": created, "owned_by": "dougong"}


class _Health(_Door):
    """Live: the process answers. Ready: some replica is well and nothing drains."""

    methods = ("GET", "HEAD")

    async def serve(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        identity: str,
        given: dict[bytes, bytes],
        headers: list[Header],
    ) -> None:
        gateway, live = self.gateway, scope["path"] == "/health/live"
        ready = not gateway.draining and any(member.healthy for member in gateway.pool.members)
        word = "ok" if ready else "draining" if gateway.draining else "no replica is up"
        replicas = [
            {"name": m.name, "healthy": m.healthy, "in_flight": m.in_flight, "models": sorted(m.models)}
            for m in gateway.pool.members
        ]
        value = {"status": word, "waiting": gateway.pool.waiting, "replicas": replicas}
        await answer(send, 200 if ready or live else 503, json.dumps(value).encode(), headers)


def build_app(settings: Settings, replicas: Sequence[Replica]) -> Starlette:
    """Return the application of a gateway before some replicas; its state holds the ``gateway``."""
    gateway = Gateway(settings, replicas)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncGenerator[None, None]:
        async with gateway.running():
            yield

    tokens, health, models = _Tokens(gateway), _Health(gateway), _Models(gateway)
    routes = [
        *(Route(path, tokens) for path in _PROMPTS),
        Route("/v1/models", models),
        Route("/v1/models/{model:path}", models),
        *(Route(path, health) for path in ("/health", "/health/live", "/health/ready")),
    ]
    app = Starlette(routes=routes, lifespan=lifespan)
    app.router.redirect_slashes = False
    app.router.default = _Nowhere(gateway)
    app.state.gateway = gateway
    return app
