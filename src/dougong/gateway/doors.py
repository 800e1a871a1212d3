"""One class per kind of path; what all have in common is in :class:`Door`."""

from __future__ import annotations

import asyncio
import difflib
import json
import time
from dataclasses import dataclass
from typing import Any, cast

from dougong.gateway.call import Call, too_long
from dougong.gateway.callers import Caller
from dougong.gateway.core import Gateway
from dougong.gateway.exposition import CONTENT_TYPE
from dougong.gateway.wire import Header, Receive, Refusal, Scope, Send, answer, read_body, request_id

PROMPTS = {"/v1/chat/completions": "messages", "/v1/completions": "prompt", "/v1/embeddings": "input"}
"""Paths that cost tokens, and the field that holds their prompt."""

_BUG = Refusal(500, "the gateway failed; this is a bug of ours", code="internal_error")
_SAID = 80  # letters of a client's word that are said again


@dataclass(slots=True)
class Visit:
    """One request as it stands at a door."""

    scope: Scope
    receive: Receive
    send: Send
    given: dict[bytes, bytes]
    id: str
    begun: bool = False

    @property
    def headers(self) -> list[Header]:
        """Headers of every answer."""
        return [(b"x-request-id", self.id.encode())]

    async def say(self, status: int, value: object) -> None:
        """Answer with JSON."""
        self.begun = True
        await answer(self.send, status, json.dumps(value, ensure_ascii=False).encode(), self.headers)


class Door:
    """An id, the method, and errors in OpenAI's shape."""

    methods: tuple[str, ...] = ("GET",)

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, whatever happens."""
        given = dict(cast(list[Header], scope["headers"]))
        visit = Visit(scope, receive, send, given, request_id(given.get(b"x-request-id")))
        try:
            if scope["method"] not in self.methods:
                allowed = ", ".join(self.methods)
                allow = (b"allow", allowed.encode())
                raise Refusal(405, f"use {allowed} here", code="method_not_allowed", headers=[allow])
            await self.serve(visit)
        except Refusal as refusal:
            headers = [*visit.headers, *refusal.all_headers()]
            await answer(send, refusal.status, refusal.body(), headers)
        except ConnectionResetError:
            return  # nobody is there to be answered
        except Exception as bug:
            place = bug.__traceback__
            while place is not None and place.tb_next is not None:
                place = place.tb_next
            at = "" if place is None else f"{place.tb_frame.f_code.co_qualname}:{place.tb_lineno}"
            self.gateway.log.say("bug", id=visit.id, error=type(bug).__name__, at=at)
            if visit.begun:
                raise
            await answer(send, 500, _BUG.body(), visit.headers)

    async def serve(self, visit: Visit) -> None:
        """Answer a request of a right method."""
        raise NotImplementedError

    def caller(self, visit: Visit) -> Caller | None:
        """Who calls; None where no key is asked for."""
        return self.gateway.callers.check(visit.given.get(b"authorization"))


class Nowhere(Door):
    """Every path that there is not."""

    methods = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")

    async def serve(self, visit: Visit) -> None:
        """Say so."""
        raise Refusal(404, "there is nothing at this path; the API is below /v1", code="not_found")


class TokensDoor(Door):
    """Completions and embeddings."""

    methods = ("POST",)

    async def serve(self, visit: Visit) -> None:
        """Admit, read, relay and write down."""
        gateway, now_s = self.gateway, time.monotonic()
        call = Call(visit.id, visit.scope["path"], now_s)
        call.until_s = now_s + gateway.settings.request_timeout_s
        caller: Caller | None = None
        gateway.calls.add(call)
        try:
            if gateway.draining:
                raise Refusal(
                    503, "the gateway is being stopped", code="draining", retry_after_s=5.0, close=True
                )
            known = self.caller(visit)
            if known is not None:
                call.key = known.entry.name
                known.enter(now_s)
                caller = known
            call.body = await read_body(visit.given, visit.receive, gateway.settings.max_body_bytes)
            call.request = read_request(call.body, call.path)
            call.stream = bool(call.request.get("stream")) and call.path != "/v1/embeddings"
            call.model = self._model(call.request, caller)
            await self._carry(call, visit)
        except Refusal as refusal:
            if call.status == "ok":
                call.status = "shed" if refusal.status in (429, 503) else "error"
            call.http_status, call.error = refusal.status, refusal.log
            raise
        except ConnectionResetError:
            call.status, call.http_status = "timeout" if call.timed_out else "cancelled", 499
            call.error = call.error or "the client left"
            raise
        except Exception:
            call.status, call.http_status, call.error = "error", 500, "a bug of the gateway"
            visit.begun = call.begun
            raise
        finally:
            gateway.calls.discard(call)
            if caller is not None:
                caller.leave()
            gateway.finish(call)

    async def _carry(self, call: Call, visit: Visit) -> None:
        """Relay a call; leave it at once where the client leaves."""
        call.task = asyncio.current_task()
        watch = asyncio.create_task(_watch(call, visit))
        try:
            await self.gateway.relay.carry(call, visit.send, visit.headers)
        except asyncio.CancelledError:
            if call.timed_out and not call.client_gone and not call.begun:
                call.status = "timeout"
                cast(asyncio.Task[Any], call.task).uncancel()
                raise too_long() from None
            call.status = "cancelled"
            if not call.client_gone:
                raise
            cast(asyncio.Task[Any], call.task).uncancel()
            raise ConnectionResetError from None
        finally:
            watch.cancel()

    def _model(self, request: dict[str, Any], caller: Caller | None) -> str:
        """Return the model that is asked for; one that is served alone need not be named."""
        known = [m for m in self.gateway.pool.models() if caller is None or caller.may_use(m)]
        model = request.get("model")
        if model is None and len(known) == 1:
            return known[0]
        if not isinstance(model, str) or not model:
            raise Refusal(400, "model must be the id of a model, see /v1/models", param="model")
        if model not in known:
            near = difflib.get_close_matches(model[:_SAID], known, n=3, cutoff=0.4)
            hint = f"near names: {', '.join(near)}" if near else "/v1/models lists what is served"
            said = model if len(model) <= _SAID else f"{model[:_SAID]}…"
            words = f"no model is called {said!r}; {hint}"
            raise Refusal(404, words, code="model_not_found", param="model", log="no such model")
        return model


async def _watch(call: Call, visit: Visit) -> None:
    while (await visit.receive())["type"] != "http.disconnect":
        pass
    call.leave()


def read_request(body: bytes, path: str) -> dict[str, Any]:
    """Read a request's JSON.

    Raises
    ------
    Refusal
        400 with the place of the fault; no part of the body is quoted.
    """
    # An engine may take the first of two models where we take the last: such a body is refused.
    twice = body.count(b'"model"') > 1 or b"\\u006" in body
    try:
        value: Any = json.loads(body.decode(), object_pairs_hook=_once if twice else None)
    except json.JSONDecodeError as fault:
        words = f"the body is no JSON: {fault.msg} at line {fault.lineno}, column {fault.colno}"
        raise Refusal(400, words, code="invalid_json") from None
    except UnicodeDecodeError as fault:
        raise Refusal(400, f"the body is no UTF-8 at byte {fault.start}", code="invalid_json") from None
    except (ValueError, RecursionError):
        words = "the body has a number too long or is nested too deep"
        raise Refusal(400, words, code="invalid_json") from None
    if not isinstance(value, dict):
        raise Refusal(400, "the body must be a JSON object", code="invalid_json")
    request = cast(dict[str, Any], value)
    needed = PROMPTS[path]
    if needed not in request or request[needed] in (None, []):
        raise Refusal(400, f"{needed} is missing or empty", param=needed)
    if needed == "messages" and not isinstance(request[needed], list):
        raise Refusal(400, "messages must be a list", param=needed)
    if not isinstance(request.get("stream"), bool | None):
        raise Refusal(400, "stream must be true or false", param="stream")
    return request


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Refusal(400, "a key stands twice in one object of the body", code="invalid_json")
    return value


class ModelsDoor(Door):
    """What is served."""

    async def serve(self, visit: Visit) -> None:
        """List the models that the key may use, or show one."""
        caller = self.caller(visit)
        known = [m for m in self.gateway.pool.models() if caller is None or caller.may_use(m)]
        wanted = visit.scope.get("path_params", {}).get("model")
        if wanted is None:
            await visit.say(200, {"object": "list", "data": [self._entry(name) for name in known]})
        elif wanted in known:
            await visit.say(200, self._entry(wanted))
        else:
            words = "no such model is served; /v1/models lists them"
            raise Refusal(404, words, code="model_not_found", param="model")

    def _entry(self, name: str) -> dict[str, Any]:
        created = int(self.gateway.started_unix_s)
        return {"id": name, "object": "model", "created": created, "owned_by": "dougong"}


class HealthDoor(Door):
    """Live: the process answers. Ready: some replica is well and nothing drains."""

    methods = ("GET", "HEAD")

    async def serve(self, visit: Visit) -> None:
        """Say it in a word; the replicas are for those with a key."""
        gateway, live = self.gateway, visit.scope["path"] == "/health/live"
        ready = not gateway.draining and any(member.healthy for member in gateway.pool.members)
        value: dict[str, Any] = {
            "status": "ok" if ready else "draining" if gateway.draining else "no replica is up"
        }
        if not gateway.callers.guarded or b"authorization" in visit.given:
            self.caller(visit)
            value["waiting"] = gateway.pool.waiting
            value["replicas"] = [
                {"name": m.name, "healthy": m.healthy, "in_flight": m.in_flight, "models": sorted(m.models)}
                for m in gateway.pool.members
            ]
        await visit.say(200 if ready or live else 503, value)


class MetricsDoor(Door):
    """What Prometheus reads; it names keys, so it asks for one where keys are asked for."""

    async def serve(self, visit: Visit) -> None:
        """Write the text."""
        self.caller(visit)
        kind = (b"content-type", CONTENT_TYPE)
        await answer(visit.send, 200, self.gateway.exposition.text(), visit.headers, kind=kind)
