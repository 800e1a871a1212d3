"""The part of a run that is counted: after it has filled, before it drains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dougong.metrics.records import RequestRecord


@dataclass(frozen=True, slots=True)
class Window:
    """The counted part of a run.

    Attributes
    ----------
    start_s, end_s
        Its ends, on the run's clock [s].
    rule
        Why these ends.
    steady
        Whether the run had filled before the window and did not drain in it.
    """

    start_s: float
    end_s: float
    rule: str
    steady: bool = True

    @property
    def seconds(self) -> float:
        """Its length [s]."""
        return self.end_s - self.start_s

    def holds(self, time_s: float) -> bool:
        """Whether a time [s] lies in it, ends included."""
        return self.start_s <= time_s <= self.end_s


def steady_window(records: Sequence[RequestRecord], *, warmup_s: float | None = None) -> Window:
    """Find the counted part of a run.

    Parameters
    ----------
    records
        At least one request.
    warmup_s
        Seconds from the first arrival that are not counted; None takes the rule.

    Notes
    -----
    The first wave is every request that arrived before any had ended. The window opens when the last of the wave
    has ended, and closes at the last arrival; a request counts when it arrived inside, and is always followed to
    its end, so slow ones are not cut off. In a closed loop the wave is each user's first request. A run whose wave
    is the whole run never was steady: all of it is counted and the window says so.
    """
    first, last = min(r.arrival_s for r in records), max(r.arrival_s for r in records)
    ended = max(r.end_s for r in records)
    if warmup_s is not None:
        start = first + warmup_s
        if start < last:
            return Window(start, last, f"from {warmup_s:g} s after the first arrival to the last arrival")
        return Window(first, ended, "the whole run: it is no longer than its warm-up", steady=False)
    first_end = min(r.end_s for r in records)
    start = max(r.end_s for r in records if r.arrival_s < first_end or r.arrival_s == first)
    if start < last:
        return Window(start, last, "from the end of the first wave of requests to the last arrival")
    return Window(
        first, ended, "the whole run: the last request arrived before the first wave had ended", steady=False
    )
