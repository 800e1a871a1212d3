"""One request while it is here: what is known of it, and how its time ends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from dougong.gateway.upstream import Exchange
from dougong.gateway.wire import Refusal
from dougong.metrics.records import Status


def stopped() -> Refusal:
    """What is answered while the gateway ends."""
    return Refusal(503, "the gateway is being stopped", code="draining", retry_after_s=5.0, close=True)


def too_long() -> Refusal:
    """What is answered to a request that took longer than a request may."""
    return Refusal(504, "the request took longer than a request may take", code="request_timeout")


@dataclass(slots=True, eq=False)
class Call:
    """One request while it is here; all times on the monotonic clock [s].

    ``deadline_s`` is that of what is waited for now, ``until_s`` that of the whole request.
    """

    id: str
    path: str
    arrival_s: float
    body: bytes = b""
    request: dict[str, Any] = field(default_factory=dict[str, Any])
    model: str = ""
    key: str = ""
    stream: bool = False
    task: asyncio.Task[Any] | None = None
    exchange: Exchange | None = None
    deadline_s: float = float("inf")
    until_s: float = float("inf")
    timed_out: bool = False
    writing: bool = False
    begun: bool = False
    client_gone: bool = False
    sent_s: float | None = None
    first_s: float | None = None
    last_s: float | None = None
    end_s: float | None = None
    usage: dict[str, Any] | None = None
    status: Status = "ok"
    http_status: int = 200
    error: str = ""
    replica: str = ""
    attempts: int = 0

    def expire(self) -> None:
        """Its time is over: close the side that is late."""
        self.deadline_s = float("inf")
        if self.writing and self.task is not None:
            self.client_gone = True
            self.error = "the client did not read its answer"
            self.task.cancel()
        elif self.exchange is not None:
            self.exchange.abort("the engine said nothing for too long", timeout=True)

    def time_out(self) -> None:
        """It has taken longer than a request may."""
        self.until_s = float("inf")
        self.timed_out = True
        if self.exchange is not None and not self.writing:
            self.exchange.abort(too_long().message, timeout=True)
        elif self.task is not None:
            self.client_gone = self.writing  # a client that reads nothing cannot be told
            self.error = too_long().message
            self.task.cancel()

    def leave(self) -> None:
        """The client is gone: stop at once."""
        self.client_gone = True
        if self.task is not None:
            self.task.cancel()
