"""Replicas while the gateway runs: who is well, who is full, who is asked next, and who must wait or go.

Notes
-----
A request goes to the replica with the least ``(ttft + tpot · n) · (1 + in_flight / parallel)``, n the output tokens
expected of it. TTFT and TPOT start from the plan, follow what is observed, and fall back to the plan when nothing
was seen for a while. One that nobody has measured or planned counts as good as the best, so that it is tried.

A request that finds all replicas full waits, first come first served, unless the replicas' own pace says that its
turn comes too late: ``wait = (waiting + 1) / Σ places / hold``, by Little's law over full replicas.

References
----------
J. D. C. Little, "A Proof for the Queuing Formula L = λW", Operations Research 9(3), 1961.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence

from dougong.gateway.settings import Replica, Settings
from dougong.gateway.upstream import Client
from dougong.gateway.wire import Refusal

_GAIN = 0.2  # weight of one observation
_FORGET_S = 60.0  # after so long without one, half is forgotten
_USUAL_TOKENS = 256.0  # output of a request that says nothing, before any was seen
_FAILURES = 3  # in a row, until a replica is left out
_EJECT_S, _LONGEST_EJECT_S = 5.0, 60.0


class Member:
    """One replica and what is known of it now."""

    def __init__(self, replica: Replica, client: Client) -> None:
        self.replica, self.client = replica, client
        self.models = frozenset(replica.models) | frozenset(replica.aliases)
        self.healthy = False
        self.in_flight = 0
        self.failures = 0
        self.ejections = self.ejected = 0
        self.ejected_until_s = -math.inf
        self.ttft_s, self.tpot_s = replica.ttft_s, replica.tpot_s
        self.hold_s: float | None = None
        self.seen_s = -math.inf

    @property
    def name(self) -> str:
        """The replica's name."""
        return self.replica.name

    @property
    def free(self) -> bool:
        """Whether it takes one more request."""
        return self.in_flight < self.replica.places

    def observe(self, now_s: float, *, ttft_s: float | None, tpot_s: float | None, hold_s: float) -> None:
        """Learn from an answered request."""
        self.failures = 0
        self.ejections = max(0, self.ejections - 1)
        self.seen_s = now_s
        if ttft_s is not None:
            self.ttft_s = _follow(self.ttft_s, ttft_s)
        if tpot_s is not None:
            self.tpot_s = _follow(self.tpot_s, tpot_s)
        self.hold_s = _follow(self.hold_s, hold_s)

    def fail(self, now_s: float) -> bool:
        """Count a failure; tell whether it is left out for a while now."""
        self.failures += 1
        if self.failures < _FAILURES:
            return False
        self.failures = 0
        self.ejected_until_s = now_s + min(_EJECT_S * 2**self.ejections, _LONGEST_EJECT_S)
        self.ejections += 1
        self.ejected += 1
        return True

    def expected_s(self, now_s: float, tokens: float) -> float | None:
        """Seconds for a request of so many output tokens on the replica as it is; None where nothing is known."""
        ttft_s = self._faded(now_s, self.ttft_s, self.replica.ttft_s)
        tpot_s = self._faded(now_s, self.tpot_s, self.replica.tpot_s)
        if ttft_s is None and tpot_s is None:
            return None
        return (ttft_s or 0.0) + (tpot_s or 0.0) * tokens

    def _faded(self, now_s: float, seen: float | None, planned: float | None) -> float | None:
        if seen is None or planned is None:
            return seen
        kept = 0.5 ** ((now_s - self.seen_s) / _FORGET_S) if math.isfinite(self.seen_s) else 0.0
        return kept * seen + (1.0 - kept) * planned


class _Waiter:
    def __init__(self, tokens: float, excluded: Collection[Member]) -> None:
        self.tokens, self.excluded = tokens, excluded
        self.turn: asyncio.Future[Member] = asyncio.get_running_loop().create_future()


class Pool:
    """All replicas, and those who wait for one."""

    def __init__(self, settings: Settings, replicas: Sequence[Replica]) -> None:
        self.settings = settings
        self.members = [
            Member(r, Client(r.url, key=r.key, connect_timeout_s=settings.connect_timeout_s))
            for r in replicas
        ]
        self.queues: dict[str, deque[_Waiter]] = {}
        self.mean_tokens = _USUAL_TOKENS

    @property
    def waiting(self) -> int:
        """Requests that wait for a replica."""
        return sum(map(len, self.queues.values()))

    def models(self) -> list[str]:
        """Every id that some replica serves, sorted."""
        return sorted({model for member in self.members for model in member.models})

    def serving(self, model: str) -> list[Member]:
        """Replicas of a model, well or not."""
        return [member for member in self.members if model in member.models]

    async def acquire(self, model: str, max_tokens: int | None, excluded: Collection[Member] = ()) -> Member:
        """Return a replica with a place taken on it, waiting for one within limits.

        Raises
        ------
        Refusal
            429 where waiting would be in vain, 503 where no replica is well.
        """
        tokens = self.mean_tokens if max_tokens is None else min(float(max_tokens), self.mean_tokens)
        queue = self.queues.get(model)
        if not queue and (member := self._choose(model, tokens, excluded)) is not None:
            member.in_flight += 1
            return member
        wait_s = self.predicted_wait_s(model)
        limit_s = self.settings.queue_timeout_s
        if self.waiting >= self.settings.max_queue or (wait_s is not None and wait_s > limit_s):
            raise self._shed("too many requests are waiting", wait_s)
        waiter = _Waiter(tokens, excluded)
        self.queues.setdefault(model, deque()).append(waiter)
        taken = False
        try:
            async with asyncio.timeout(limit_s):
                member = await waiter.turn
                taken = True
                return member
        except TimeoutError:
            if any(member.healthy for member in self.serving(model)):
                raise self._shed(f"no replica was free in {limit_s:g} s", wait_s) from None
            raise Refusal(
                503,
                f"no replica of {model!r} is up",
                code="no_replica",
                retry_after_s=self.settings.health_every_s,
            ) from None
        finally:
            self._leave(model, waiter)
            # Its turn may come in the very step in which it gives up: the place goes to the next.
            if not taken and not waiter.turn.cancelled() and waiter.turn.exception() is None:
                self.release(waiter.turn.result())

    def _leave(self, model: str, waiter: _Waiter) -> None:
        queue = self.queues.get(model)
        if queue is not None and waiter in queue:
            queue.remove(waiter)
        if queue is not None and not queue:
            del self.queues[model]
        waiter.turn.cancel()

    def predicted_wait_s(self, model: str) -> float | None:
        """Seconds until a newcomer's turn; None where no pace is known [s]."""
        rate = 0.0
        for member in self.serving(model):
            hold_s = member.hold_s or member.expected_s(time.monotonic(), self.mean_tokens)
            if member.healthy and hold_s:
                rate += member.replica.places / hold_s
        return (len(self.queues.get(model, ())) + 1) / rate if rate else None

    def _shed(self, why: str, wait_s: float | None) -> Refusal:
        again_s = 1.0 if wait_s is None else max(1.0, wait_s - self.settings.queue_timeout_s)
        return Refusal(429, f"{why}; come again later", code="overloaded", retry_after_s=min(again_s, 600.0))

    def release(self, member: Member) -> None:
        """Give a place back."""
        member.in_flight -= 1
        self.pump()

    def pump(self) -> None:
        """Hand free places to those who wait, in order."""
        if not self.queues or not any(member.free for member in self.members):
            return
        for model, queue in self.queues.items():
            for waiter in list(queue):
                if waiter.turn.done():
                    continue
                member = self._choose(model, waiter.tokens, waiter.excluded)
                if member is None:
                    break
                member.in_flight += 1
                waiter.turn.set_result(member)

    def refuse_all(self, refusal: Callable[[], Refusal]) -> None:
        """Send away those who wait."""
        for queue in self.queues.values():
            for waiter in queue:
                if not waiter.turn.done():
                    waiter.turn.set_exception(refusal())

    def others(self, model: str, excluded: Collection[Member]) -> bool:
        """Whether some well replica is not among these."""
        return any(m.healthy and m not in excluded for m in self.serving(model))

    def _choose(self, model: str, tokens: float, excluded: Collection[Member]) -> Member | None:
        now_s = time.monotonic()
        well = [m for m in self.members if m.healthy and model in m.models and m not in excluded]
        # The last replica is never left out for its failures: a poor answer is better than none.
        listed = [m for m in well if m.ejected_until_s <= now_s] or well
        able = [m for m in listed if m.free]
        if len(able) < 2:
            return able[0] if able else None
        costs = [m.expected_s(now_s, tokens) for m in able]
        best = min((c for c in costs if c is not None), default=1.0)
        scored = [
            ((best if cost is None else cost) * (1 + m.in_flight / m.replica.parallel), m.in_flight, i)
            for i, (m, cost) in enumerate(zip(able, costs, strict=True))
        ]
        return able[min(scored)[2]]

    def close(self) -> None:
        """Close kept connections."""
        for member in self.members:
            member.client.close()


def _follow(old: float | None, new: float) -> float:
    return new if old is None else old + _GAIN * (new - old)
