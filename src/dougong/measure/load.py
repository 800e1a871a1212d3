"""What is sent and when: open loop by a rate or a trace's own times, closed loop by users."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from dougong.errors import InputError

Arrivals = Literal["poisson", "constant", "trace"]


@dataclass(frozen=True, slots=True)
class Shape:
    """Lengths of one request [token], and the prefix blocks it shares with others."""

    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """A request with its number in the run and the time it is due [s]."""

    index: int
    at_s: float
    shape: Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run asks of an endpoint.

    Attributes
    ----------
    shapes
        Lengths, taken in turn and from the start again.
    arrivals
        Of an open loop: Poisson, evenly spaced, or at the times of ``times_s``.
    rate_requests_per_s, users
        Offered load of an open loop [request/s], or requests in flight of a closed loop [request].
    times_s
        Times of a trace from its first request [s], one per shape.
    requests, duration_s
        The run ends with this many requests, or sends none after this time [s]; None is no limit.
    seed
        Of arrivals and prompts: the same seed sends the same bytes at the same times.
    """

    shapes: Sequence[Shape]
    arrivals: Arrivals = "poisson"
    rate_requests_per_s: float | None = None
    users: int | None = None
    times_s: Sequence[float] = ()
    requests: int | None = None
    duration_s: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        faults: list[str] = []
        if not self.shapes:
            faults.append("a load needs the lengths of at least one request")
        if (self.users is None) == (self.rate_requests_per_s is None and self.arrivals != "trace"):
            faults.append("a load has a rate or the times of a trace (open loop), or users (closed loop)")
        if self.arrivals == "trace" and len(self.times_s) != len(self.shapes):
            faults.append("a trace has one time per request")
        if self.arrivals != "trace" and self.requests is None and self.duration_s is None:
            faults.append("a load ends after so many requests or seconds")
        if faults:
            raise InputError("; ".join(faults))

    @property
    def closed(self) -> bool:
        """Whether each user waits for an answer before asking again."""
        return self.users is not None

    @property
    def words(self) -> str:
        """The load in words."""
        if self.users is not None:
            return f"{self.users:,} user{'' if self.users == 1 else 's'}, closed loop"
        if self.arrivals == "trace":
            return "open loop at the times of the trace"
        kind = "Poisson arrivals" if self.arrivals == "poisson" else "even arrivals"
        return f"{self.rate_requests_per_s:g} requests/s, open loop, {kind}"

    def due(self) -> Iterator[Due]:
        """Every request of an open loop, in order of time."""
        for index, (at, shape) in enumerate(zip(self._times(), itertools.cycle(self.shapes), strict=False)):
            if self.requests is not None and index >= self.requests:
                return
            if self.duration_s is not None and at > self.duration_s:
                return
            yield Due(index, at, shape)

    def _times(self) -> Iterator[float]:
        if self.arrivals == "trace":
            yield from self.times_s
            return
        assert self.rate_requests_per_s is not None
        random_, at = random.Random(f"arrivals {self.seed}"), 0.0
        for index in itertools.count():
            yield at
            if self.arrivals == "constant":
                at = (index + 1) / self.rate_requests_per_s
            else:
                at += random_.expovariate(self.rate_requests_per_s)
