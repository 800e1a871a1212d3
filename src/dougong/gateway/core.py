"""What one gateway holds while it runs, and what it writes down of every request."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Sequence

from dougong.gateway.bodies import count
from dougong.gateway.call import Call, stopped
from dougong.gateway.callers import Callers
from dougong.gateway.exposition import Exposition
from dougong.gateway.health import Health
from dougong.gateway.logs import Log
from dougong.gateway.pool import Member, Pool
from dougong.gateway.records import Entry, Records
from dougong.gateway.relay import Relay
from dougong.gateway.settings import Replica, Settings
from dougong.metrics import RequestRecord

_KEYS_EVERY_S = 2.0
_FAULT_EVERY_S = 60.0


class Gateway:
    """A gateway before some replicas.

    Raises
    ------
    EnvironmentLacking
        Records or logs cannot be written.
    InputError
        A key or the file of keys is wrong.
    """

    def __init__(self, settings: Settings, replicas: Sequence[Replica]) -> None:
        self.settings = settings
        self.callers = Callers(
            settings, on_fault=lambda fault: self.log.say("keys_not_read", error=fault.message)
        )
        self.log = Log(settings.log)
        self.pool = Pool(settings, replicas)
        self.health = Health(settings, self.pool, self.log.say, self.move_calls)
        self.exposition = Exposition(self.pool, self.lost)
        self.relay = Relay(settings, self.pool, self.health.doubt, self.exposition.retried, self.log.say)
        self.records: Records | None = None
        if settings.records is not None:
            self.records = Records(settings.records, settings.max_records_bytes, self._records_fault)
        self.calls: set[Call] = set()
        self.draining = False
        self.started_unix_s = time.time()
        self._zero_s = 0.0
        self._fault_told_s = float("-inf")

    def move_calls(self, member: Member) -> None:
        """Take what has no byte yet from a replica that went down to another one, if there is one."""
        for call in self.calls:
            if call.exchange is None or call.begun or call.replica != member.name:
                continue
            if self.pool.others(call.model, [member]):
                call.exchange.abort("the engine does not answer its health check", timeout=True)

    def stop_calls(self) -> None:
        """End what still runs, each with an error that says so."""
        self.relay.stopping = True
        self.pool.refuse_all(stopped)
        for call in self.calls:
            if call.exchange is not None:
                call.exchange.abort(stopped().message)

    def lost(self) -> dict[str, int]:
        """What could not be written so far."""
        return {"records": 0 if self.records is None else self.records.lost, "log_lines": self.log.lost}

    def _records_fault(self, words: str) -> None:
        """Log why records are lost, once a minute at most."""
        if (now_s := time.monotonic()) - self._fault_told_s > _FAULT_EVERY_S:
            self._fault_told_s = now_s
            self.log.say("records_lost", error=words, lost=self.lost()["records"])

    def finish(self, call: Call) -> None:
        """Write down a call that is over."""
        record = self._record(call)
        self.exposition.finished(record, model=call.model, key=call.key, http_status=call.http_status)
        # A request that named no model served here is counted and logged; it may not fill the disk.
        if self.records is not None and call.model:
            entry = Entry(
                record, call.key, call.model, call.path, call.stream, call.http_status, call.attempts
            )
            self.records.put(entry)
        self.log.say(
            "request",
            id=call.id,
            path=call.path,
            key=call.key or None,
            model=call.model or None,
            replica=call.replica or None,
            status=record.status,
            http_status=call.http_status,
            error=call.error or None,
            stream=call.stream,
            prompt_tokens=record.prompt_tokens,
            output_tokens=record.output_tokens,
            queue_s=None if call.sent_s is None else round(call.sent_s - call.arrival_s, 6),
            ttft_s=None if call.first_s is None else round(call.first_s - call.arrival_s, 6),
            e2e_s=round(record.end_s - record.arrival_s, 6),
            attempts=call.attempts,
        )

    def _record(self, call: Call) -> RequestRecord:
        def since(time_s: float | None) -> float | None:
            return None if time_s is None else time_s - self._zero_s

        details = (call.usage or {}).get("prompt_tokens_details")
        return RequestRecord(
            id=call.id,
            arrival_s=call.arrival_s - self._zero_s,
            sent_s=since(call.sent_s),
            first_token_s=since(call.first_s),
            last_token_s=since(call.last_s),
            end_s=since(call.end_s or time.monotonic()) or 0.0,
            prompt_tokens=count(call.usage, "prompt_tokens"),
            output_tokens=count(call.usage, "completion_tokens"),
            cached_prompt_tokens=count(details, "cached_tokens") if isinstance(details, dict) else None,
            status=call.status,
            error=call.error,
            replica=call.replica,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncGenerator[None, None]:
        """Run the watch over replicas, the clock over calls and the eye on the keys."""
        zero_unix_s = self.started_unix_s if self.records is None else self.records.started_unix_s
        self._zero_s = time.monotonic() - (time.time() - zero_unix_s)
        self.log.say("start", replicas=[member.name for member in self.pool.members])
        tasks = [
            asyncio.create_task(work) for work in (self.health.watch(), self._clock(), self._watch_keys())
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.pool.close()
            await asyncio.to_thread(self._close_files)

    def _close_files(self) -> None:
        if self.records is not None:
            self.records.close()
        self.log.say("stop", **{f"{name}_lost": number for name, number in self.lost().items()})
        self.log.close()

    async def _clock(self) -> None:
        """End calls whose time is over; one timer for all is the least work per piece."""
        settings = self.settings
        shortest_s = min(settings.first_byte_timeout_s, settings.stall_timeout_s, settings.request_timeout_s)
        while True:
            await asyncio.sleep(min(1.0, shortest_s / 4))
            now_s = time.monotonic()
            for call in [call for call in self.calls if call.until_s < now_s]:
                call.time_out()
            for call in [call for call in self.calls if call.deadline_s < now_s]:
                call.expire()

    async def _watch_keys(self) -> None:
        while True:
            await asyncio.sleep(_KEYS_EVERY_S)
            self.callers.refresh()
