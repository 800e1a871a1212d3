"""Drives a load at an endpoint and writes down what comes back.

An open loop sends when a request is due, whether or not earlier ones have been answered, and latencies count from then:
a slow server does not slow down its own examiner (no coordinated omission). The client measures itself too: how late it
sent, how late its own event loop ran, how much of a processor it took.

References
----------
Schroeder, Wierman, Harchol-Balter, "Open versus closed: a cautionary tale", NSDI 2006.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from dougong.measure.client import Client, open_http
from dougong.measure.endpoint import Endpoint, meet
from dougong.measure.load import Due, Load
from dougong.measure.prompts import prompt_text
from dougong.metrics import RequestRecord, header_line

_BEAT_S = 0.02
_LATE_S = 0.005
_LATE_FRAC = 0.05
"""A client is late when it sends this much, or this share of a TTFT, after a request was due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overhead:
    """What the client itself cost a run.

    Attributes
    ----------
    cpu_frac
        Processor time over wall time, of one core [1].
    beat_p50_s, beat_p99_s
        How late the event loop ran a timer [s]: no time stamp is better than this.
    send_lag_p50_s, send_lag_p99_s
        How late requests were sent [s].
    peak_in_flight
        Most requests in flight at once [request].
    pieces
        Pieces of streams read.
    """

    cpu_frac: float
    beat_p50_s: float
    beat_p99_s: float
    send_lag_p50_s: float
    send_lag_p99_s: float
    peak_in_flight: int
    pieces: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    elapsed_s: float
    sent: int
    in_flight: int
    ended: int
    failed: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A finished run.

    Attributes
    ----------
    endpoint, load
        What was asked, of whom.
    started_unix_s
        Zero of the run [s since 1970].
    records
        Its requests, by number.
    overhead
        Of the client.
    counted_by
        How tokens were counted, and in how many answers.
    notes
        What a reader should know.
    stopped
        Whether it was stopped before its end.
    """

    endpoint: Endpoint
    load: Load
    started_unix_s: float
    records: Sequence[RequestRecord]
    overhead: Overhead
    counted_by: Mapping[str, int]
    notes: Sequence[str] = ()
    stopped: bool = False

    def header(self, **facts: object) -> str:
        """The header line of the run's file."""
        end, load = self.endpoint, self.load
        shapes = load.shapes
        return header_line(
            started_unix_s=self.started_unix_s,
            by="dougong measure",
            url=end.url,
            model=end.model,
            api=end.api,
            server=end.server,
            load={
                "words": load.words,
                "users": load.users,
                "rate_requests_per_s": load.rate_requests_per_s,
                "arrivals": None if load.closed else load.arrivals,
                "prompt_tokens": sum(shape.prompt_tokens for shape in shapes) / len(shapes),
                "output_tokens": sum(shape.output_tokens for shape in shapes) / len(shapes),
                "seed": load.seed,
            },
            client={**asdict(self.overhead), "counted_by": dict(self.counted_by)},
            notes=list(self.notes),
            **facts,
        )


@dataclass(slots=True)
class _State:
    records: list[RequestRecord] = field(default_factory=list[RequestRecord])
    sent: int = 0
    in_flight: int = 0
    peak: int = 0
    failed: int = 0
    beats: list[float] = field(default_factory=list[float])


def measure(
    url: str,
    load: Load,
    *,
    model: str | None = None,
    api: str = "chat",
    api_key: str | None = None,
    timeout_s: float = 600.0,
    on_met: Callable[[Endpoint, Sequence[str]], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Measured:
    """Measure the endpoint at ``url`` (a base, see :func:`~dougong.measure.endpoint.base_url`) under ``load``.

    Parameters
    ----------
    model, api
        What is asked for; None is the only model there is.
    api_key
        Bearer key; never written anywhere.
    timeout_s
        A request that has not ended by then is given up [s].
    on_met, on_progress
        Told the endpoint with what is to be known of it, and twice a second how far the run is. An interrupt
        (SIGINT) ends the run early: what is in flight is given up, what has ended counts.

    Raises
    ------
    EngineError
        If the endpoint does not answer the plainest request.
    EnvironmentLacking
        If more connections are wanted than this process may open.
    """
    with asyncio.Runner(loop_factory=_fast_loop()) as runner:
        return runner.run(_measure(url, load, model, api, api_key, timeout_s, on_met, on_progress))


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The loop of uvloop where it is installed: a thousand streams cost it half as much."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _measure(
    url: str,
    load: Load,
    model: str | None,
    api: str,
    api_key: str | None,
    timeout_s: float,
    on_met: Callable[[Endpoint, Sequence[str]], None] | None,
    on_progress: Callable[[Progress], None] | None,
) -> Measured:
    async with open_http(api_key=api_key) as http:
        client = Client(http, timeout_s)
        typical = round(sum(shape.prompt_tokens for shape in load.shapes) / len(load.shapes))
        endpoint, notes = await meet(client, url, model=model, api=api, prompt_tokens=typical)
        if on_met:
            on_met(endpoint, notes)
        client = Client(http, timeout_s)
        state, started, cpu, wall = _State(), time.time(), time.process_time(), time.perf_counter()
        client.zero_s = wall
        watchers = [asyncio.create_task(_beat(state))]
        if on_progress:
            watchers.append(asyncio.create_task(_tell(client, state, on_progress)))
        work = asyncio.create_task(
            _closed(client, endpoint, load, state) if load.closed else _open(client, endpoint, load, state)
        )
        stopped = await _finish(work)
        for watcher in watchers:
            watcher.cancel()
        await asyncio.gather(*watchers, return_exceptions=True)
        wall = time.perf_counter() - wall
        return Measured(
            endpoint=endpoint,
            load=load,
            started_unix_s=started,
            records=sorted(state.records, key=lambda record: int(record.id)),
            overhead=_overhead(state, (time.process_time() - cpu) / max(wall, 1e-9), client.pieces),
            counted_by=dict(client.counted_by),
            notes=tuple(notes),
            stopped=stopped,
        )


async def _finish(work: asyncio.Task[None]) -> bool:
    """Wait for the work; an interrupt cancels this task once, which stops the work and is then over."""
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        return True
    return False


async def _one(client: Client, endpoint: Endpoint, load: Load, due: Due, state: _State) -> None:
    body = endpoint.body(prompt_text(due, endpoint.counting, load.seed), due.shape.output_tokens)
    state.sent += 1
    state.in_flight += 1
    state.peak = max(state.peak, state.in_flight)
    record = await client.send(endpoint.path, body, id=str(due.index), arrival_s=due.at_s)
    state.in_flight -= 1
    state.failed += record.status != "ok"
    state.records.append(record)
    if record.status == "cancelled":  # it is written down; whoever asked must not ask again
        raise asyncio.CancelledError


async def _open(client: Client, endpoint: Endpoint, load: Load, state: _State) -> None:
    tasks: set[asyncio.Task[None]] = set()
    try:
        for due in load.due():
            if (wait := due.at_s - client.now()) > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(_one(client, endpoint, load, due, state))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        await _give_up(tasks)
        raise


async def _closed(client: Client, endpoint: Endpoint, load: Load, state: _State) -> None:
    numbers = itertools.count()

    async def user() -> None:
        while load.duration_s is None or client.now() < load.duration_s:
            index = next(numbers)
            if load.requests is not None and index >= load.requests:
                return
            shape = load.shapes[index % len(load.shapes)]
            await _one(client, endpoint, load, Due(index, client.now(), shape), state)

    assert load.users is not None
    tasks = {asyncio.create_task(user()) for _ in range(load.users)}
    try:
        await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        await _give_up(tasks)
        raise


async def _give_up(tasks: set[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _beat(state: _State) -> None:
    loop = asyncio.get_running_loop()
    while True:
        wanted = loop.time() + _BEAT_S
        await asyncio.sleep(_BEAT_S)
        state.beats.append(loop.time() - wanted)


async def _tell(client: Client, state: _State, on_progress: Callable[[Progress], None]) -> None:
    while True:
        ended = len(state.records)
        on_progress(Progress(client.now(), state.sent, state.in_flight, ended, state.failed, client.tokens))
        await asyncio.sleep(0.5)


def _overhead(state: _State, cpu_frac: float, pieces: int) -> Overhead:
    lags = sorted(record.sent_s - record.arrival_s for record in state.records if record.sent_s is not None)
    beats = sorted(state.beats)
    return Overhead(
        cpu_frac=cpu_frac,
        beat_p50_s=_at(beats, 0.5),
        beat_p99_s=_at(beats, 0.99),
        send_lag_p50_s=_at(lags, 0.5),
        send_lag_p99_s=_at(lags, 0.99),
        peak_in_flight=state.peak,
        pieces=pieces,
    )


def _at(ordered: Sequence[float], q: float) -> float:
    return ordered[min(math.ceil(q * len(ordered)), len(ordered)) - 1] if ordered else 0.0


def kept_up(overhead: Overhead, ttft_median_s: float | None) -> str:
    """Why the client did not keep up, in words; empty if it did."""
    allowed = max(_LATE_S, _LATE_FRAC * (ttft_median_s or 0.0))
    if overhead.send_lag_p99_s > allowed:
        return (
            f"the client sent 1 % of its requests {overhead.send_lag_p99_s * 1e3:.0f} ms late or more: "
            "latencies still count from when they were due"
        )
    if overhead.beat_p99_s > allowed:
        return (
            f"the client's clock ran {overhead.beat_p99_s * 1e3:.0f} ms late in 1 % of its beats: "
            "short gaps between tokens are no better known"
        )
    return ""
