"""One request's way: to a replica, to another one where that fails before the first byte, and back piece by piece."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

from dougong.gateway.bodies import MalformedReply, checked_usage, engine_refusal, outgoing, output_tokens
from dougong.gateway.call import Call, stopped, too_long
from dougong.gateway.pool import Member, Pool
from dougong.gateway.settings import Settings
from dougong.gateway.sse import DONE, Splitter, StreamState
from dougong.gateway.upstream import Exchange, UpstreamError
from dougong.gateway.wire import Header, Refusal, Send, answer

_LONGEST_ERROR_BYTES = 1 << 20
_REST_S = 1.0  # for the end of an engine's answer after its last event
_EVENT_STREAM = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]


class AttemptFailed(Exception):
    """A replica failed before its first byte; another may be asked.

    Parameters
    ----------
    answered
        It answered with a status of 5xx or 429: the fault may be the request's own.
    broken
        It had the request and broke off: the request may have killed it.
    """

    def __init__(
        self, refusal: Refusal, *, timeout: bool = False, answered: bool = False, broken: bool = False
    ) -> None:
        super().__init__(refusal.message)
        self.refusal, self.timeout, self.answered, self.broken = refusal, timeout, answered, broken


class Relay:
    """Carries requests to replicas and answers back."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        on_doubt: Callable[[], None],
        on_retry: Callable[[Member], None],
        tell: Callable[..., None],
    ) -> None:
        self.settings, self.pool = settings, pool
        self.on_doubt, self.on_retry, self.tell = on_doubt, on_retry, tell
        self.stopping = False

    async def carry(self, call: Call, send: Send, headers: list[Header]) -> None:
        """Answer a call.

        Raises
        ------
        Refusal
            Nothing was sent yet, and this is the answer.
        """
        tried: list[Member] = []
        suspects: list[Member] = []
        deaths = 0
        failed: AttemptFailed | None = None
        asked = call.request.get("max_completion_tokens") or call.request.get("max_tokens")
        max_tokens = asked if isinstance(asked, int) and asked > 0 else None
        for _ in range(self.settings.max_attempts):
            if self.stopping:
                raise stopped()
            if call.timed_out:
                call.status = "timeout"
                raise too_long()
            # What broke two engines off is kept from the third.
            if failed is not None and (deaths > 1 or not self.pool.others(call.model, tried)):
                break
            member = await self.pool.acquire(call.model, max_tokens, tried)
            if failed is not None:
                self.on_retry(member)
            call.attempts += 1
            call.replica = member.name
            try:
                await self._attempt(call, member, send, headers)
                if call.status == "ok":  # so it was not the request
                    for suspect in suspects:
                        self._blame(suspect)
                return
            except AttemptFailed as fault:
                if call.timed_out:
                    call.status = "timeout"
                    raise too_long() from None
                failed = fault
                tried.append(member)
                deaths += fault.broken
                if not fault.answered:
                    self._blame(member)
                elif fault.refusal.status >= 500:
                    suspects.append(member)
            finally:
                call.exchange = None
                call.deadline_s = float("inf")
                self.pool.release(member)
        assert failed is not None
        if self.stopping:
            raise stopped()
        call.status = "timeout" if failed.timeout else "shed" if failed.refusal.status == 429 else "error"
        raise failed.refusal

    async def _attempt(self, call: Call, member: Member, send: Send, headers: list[Header]) -> None:
        body, hide_usage = outgoing(
            call.body, call.request, call.model, stream=call.stream, replica=member.replica
        )
        path = call.path.encode()
        lines = b"content-type: application/json\r\nx-request-id: %b\r\n" % call.id.encode()
        call.sent_s = time.monotonic()
        call.deadline_s = call.sent_s + self.settings.first_byte_timeout_s
        for fresh in (False, True):
            try:
                exchange = await member.client.send(b"POST", path, body, lines, fresh=fresh)
                with exchange:
                    call.exchange = exchange
                    await exchange.connection.wait_head()
                    await self._answer(call, member, exchange, send, headers, hide_usage)
                return
            except UpstreamError as fault:
                if fault.reused and not fresh:
                    continue  # a kept connection that the engine closed for its age is no failure
                if fresh and fault.unreached:
                    fault.unreached = False  # it closed no old connection: it died of what we sent
                    member.healthy = False
                member.healthy = member.healthy and not fault.unreached
                if not call.timed_out:
                    self.on_doubt()
                raise _failed(fault) from None

    async def _answer(
        self,
        call: Call,
        member: Member,
        exchange: Exchange,
        send: Send,
        headers: list[Header],
        hide_usage: bool,
    ) -> None:
        if exchange.status >= 300:
            await self._refused(call, member, exchange, send, headers)
        elif call.stream and exchange.header(b"content-type").startswith(b"text/event-stream"):
            await self._stream(call, member, exchange, send, headers, hide_usage)
        else:
            await self._whole(call, member, exchange, send, headers)

    async def _refused(
        self, call: Call, member: Member, exchange: Exchange, send: Send, headers: list[Header]
    ) -> None:
        """Hand on the engine's own error; ask another replica where it may do better."""
        status, body = exchange.status, await exchange.read_all(_LONGEST_ERROR_BYTES)
        again = exchange.header(b"retry-after")
        refusal = engine_refusal(status, body, float(again) if again.isdigit() else None)
        if status in (401, 403):
            # The engine's key is the operator's matter, not the client's.
            raise AttemptFailed(Refusal(502, "the engine refuses the gateway's key", code="engine_auth"))
        if status < 400:
            raise AttemptFailed(Refusal(502, f"the engine answered {status}", code="engine_reply"))
        if status >= 500 or status == 429:
            raise AttemptFailed(refusal, answered=True)
        call.status, call.http_status, call.error = "error", status, f"the engine answered {status}"
        call.begun = True
        await answer(send, status, refusal.body(), [*headers, *refusal.all_headers()])

    async def _whole(
        self, call: Call, member: Member, exchange: Exchange, send: Send, headers: list[Header]
    ) -> None:
        body = await exchange.read_all(self.settings.max_reply_bytes)
        try:
            call.usage = checked_usage(body)
        except MalformedReply as fault:
            raise AttemptFailed(Refusal(502, str(fault), code="engine_reply")) from None
        call.begun = call.writing = True
        call.deadline_s = time.monotonic() + self.settings.stall_timeout_s
        kind = (b"content-type", exchange.header(b"content-type") or b"application/json")
        await answer(send, exchange.status, body, headers, kind=kind)
        call.writing = False
        self._learn(call, member)

    async def _stream(
        self,
        call: Call,
        member: Member,
        exchange: Exchange,
        send: Send,
        headers: list[Header],
        hide_usage: bool,
    ) -> None:
        splitter, state, stall_s = (
            Splitter(),
            StreamState(hide_usage=hide_usage),
            self.settings.stall_timeout_s,
        )
        try:
            while not state.done and (piece := await exchange.read()):
                now_s = time.monotonic()
                call.deadline_s = now_s + stall_s
                events = splitter.feed(piece)
                if not events:
                    continue
                events = state.look(events)
                if call.first_s is None:
                    if state.has_token:
                        call.first_s = call.last_s = now_s
                elif not state.done:
                    call.last_s = now_s
                if events:
                    await self._pass_on(call, events, send, headers)
            if not state.done and (events := _last_events(splitter, state)):
                await self._pass_on(call, events, send, headers)
        except (UpstreamError, MalformedReply) as fault:
            if not call.begun:
                raise _failed(fault) from None
            await self._break_off(call, member, fault, send)
            return
        finally:
            call.usage = state.usage
        call.deadline_s = time.monotonic() + stall_s
        call.writing = True
        await send({"type": "http.response.body", "body": b"" if state.done else DONE})
        call.writing = False
        if state.error:
            call.status, call.error = "error", "the engine reported an error within its answer"
        else:
            self._learn(call, member)
        await self._rest(call, exchange)

    async def _pass_on(self, call: Call, events: bytes, send: Send, headers: list[Header]) -> None:
        call.writing = True
        if not call.begun:
            call.begun = True
            call.body, call.request = b"", {}  # a long answer need not hold a long question
            headers = [*_EVENT_STREAM, *headers]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": events, "more_body": True})
        call.writing = False

    @staticmethod
    async def _rest(call: Call, exchange: Exchange) -> None:
        """Read what follows ``[DONE]``, so that the connection can be kept; the client has its answer."""
        call.end_s, call.task, call.until_s = time.monotonic(), None, float("inf")
        call.deadline_s = time.monotonic() + _REST_S
        with contextlib.suppress(UpstreamError):
            while await exchange.read():
                pass

    async def _break_off(self, call: Call, member: Member, fault: Exception, send: Send) -> None:
        """Say in the stream that it ends here; no other replica can go on with it."""
        timeout = isinstance(fault, UpstreamError) and fault.timeout
        call.status, call.error = "timeout" if timeout else "error", str(fault)
        refusal = Refusal(504 if timeout else 502, str(fault), code="engine_broke_off")
        if call.timed_out:
            refusal = too_long()  # a long answer is no fault of the replica's
        else:
            self._blame(member)
            self.on_doubt()
        call.deadline_s = time.monotonic() + self.settings.stall_timeout_s
        call.writing = True
        good = fault.before if isinstance(fault, MalformedReply) else b""
        await send({"type": "http.response.body", "body": good + refusal.event()})
        call.writing = False

    def _blame(self, member: Member) -> None:
        if member.fail(time.monotonic()):
            self.tell(
                "replica_ejected",
                replica=member.name,
                for_s=round(member.ejected_until_s - time.monotonic(), 3),
            )

    def _learn(self, call: Call, member: Member) -> None:
        """Let the replica's pace follow this call."""
        assert call.sent_s is not None
        now_s = time.monotonic()
        hold_s, tokens = now_s - call.sent_s, output_tokens(call.usage)
        ttft_s = None if call.first_s is None else call.first_s - call.sent_s
        tpot_s: float | None = None
        if tokens is not None:
            self.pool.mean_tokens += 0.02 * (tokens - self.pool.mean_tokens)
        if tokens is not None and tokens > 1 and call.first_s is not None and call.last_s is not None:
            tpot_s = (call.last_s - call.first_s) / (tokens - 1)
        elif tokens and call.first_s is None:
            tpot_s = max(0.0, hold_s - (member.ttft_s or 0.0)) / tokens
        member.observe(now_s, ttft_s=ttft_s, tpot_s=tpot_s, hold_s=hold_s)


def _last_events(splitter: Splitter, state: StreamState) -> bytes:
    """Look at what came before the end of the connection without an empty line after it; the end must be one."""
    events = state.look(splitter.tail.rstrip() + b"\n\n") if splitter.tail.strip() else b""
    # Some engines end without [DONE]; a finish reason is an end as well.
    if not (state.done or state.finished or state.error):
        raise MalformedReply("the stream ends before the answer does", events)
    return events


def _failed(fault: Exception) -> AttemptFailed:
    if not isinstance(fault, UpstreamError):
        return AttemptFailed(Refusal(502, str(fault), code="engine_reply"))
    code = "engine_timeout" if fault.timeout else "engine_unreachable"
    refusal = Refusal(504 if fault.timeout else 502, str(fault), code=code)
    return AttemptFailed(refusal, timeout=fault.timeout, broken=not (fault.timeout or fault.unreached))
