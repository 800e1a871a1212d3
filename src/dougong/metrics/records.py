"""What is written down of one request and of one step.

Times are seconds on one clock of the writer; its zero is the run's header (``started_unix_s``). The same records
come from a load generator, a gateway and a simulator, so that what is predicted and what is seen can be compared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

from dougong.errors import InputError

Status = Literal["ok", "error", "shed", "cancelled", "timeout"]
"""How a request ended: answered, failed, refused for load (429 or 503), given up by the client, out of time."""

STATUSES: tuple[str, ...] = get_args(Status)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request, from when it was due to its end.

    Attributes
    ----------
    id
        Name of the request, one of its kind in a run.
    arrival_s
        When it was due [s]: the intended send time of a load generator, the arrival of a gateway.
    sent_s
        When it was sent on [s]; None if it never was.
    first_token_s, last_token_s
        When the first and the last output token came [s]; None where none came or nobody could tell (an answer
        in one piece has no first token).
    end_s
        When the answer was complete, or was given up [s].
    token_s
        When each output token came [s]; tokens that came together share a time. Empty where the writer cannot
        tell how many tokens a piece of the stream holds.
    prompt_tokens, output_tokens
        Tokens in and out as the engine counts them [token]; None where it does not say.
    cached_prompt_tokens
        Prompt tokens found in a prefix cache, part of ``prompt_tokens`` [token]; None where it does not say.
    status, error
        How it ended, and the words of the fault.
    replica
        Which replica answered; empty where there is one or nobody knows.
    """

    id: str
    arrival_s: float
    end_s: float
    sent_s: float | None = None
    first_token_s: float | None = None
    last_token_s: float | None = None
    token_s: tuple[float, ...] = ()
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    status: Status = "ok"
    error: str = ""
    replica: str = ""

    def __post_init__(self) -> None:
        faults = [*_order_faults(self), *_count_faults(self)]
        if self.status not in STATUSES:
            faults.append(f"status is {self.status!r}, none of {', '.join(STATUSES)}")
        if faults:
            raise InputError(f"request {self.id!r}: " + "; ".join(faults))


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of an engine: a forward pass over a batch.

    Attributes
    ----------
    start_s, end_s
        When the step began and ended [s].
    prefill_tokens
        Prompt tokens computed in the step [token].
    decode_requests
        Requests that got one more token [request].
    context_tokens
        Cached tokens read by the step, over all requests [token].
    replica
        Which replica made the step.
    """

    start_s: float
    end_s: float
    prefill_tokens: int
    decode_requests: int
    context_tokens: int | None = None
    replica: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and self.start_s <= self.end_s < math.inf):
            raise InputError(f"step: it ends at {self.end_s!r} s and begins at {self.start_s!r} s")
        for name in ("prefill_tokens", "decode_requests", "context_tokens"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise InputError(f"step: {name} is {value!r}, less than nothing")


def _order_faults(record: RequestRecord) -> list[str]:
    """Times of a request are finite and in order; a request may be sent early, never answered before it is sent."""
    first, last = record.first_token_s, record.last_token_s
    # A client's due time and its send time may differ in either direction by a timer's grain.
    named = [
        ("sent_s", record.sent_s),
        ("first_token_s", first),
        ("last_token_s", last),
        ("end_s", record.end_s),
    ]
    known = [("arrival_s", record.arrival_s), *((name, time) for name, time in named if time is not None)]
    faults = [f"{name} is {time!r}, no time" for name, time in known if not math.isfinite(time)]
    if faults:
        return faults
    ordered = known[1:]
    faults += [
        f"{late} ({end!r} s) is before {early} ({start!r} s)"
        for (early, start), (late, end) in pairwise(ordered)
        if end < start
    ]
    if record.end_s < record.arrival_s and record.sent_s is None:
        faults.append(f"end_s ({record.end_s!r} s) is before arrival_s ({record.arrival_s!r} s)")
    if (first is None) != (last is None):
        faults.append("first_token_s and last_token_s go together")
    times = record.token_s
    if times and (times[0] != first or times[-1] != last):
        faults.append("token_s must run from first_token_s to last_token_s")
    if any(not start <= end for start, end in pairwise(times)):
        faults.append("token_s must not run backwards")
    return faults


def _count_faults(record: RequestRecord) -> list[str]:
    faults = [
        f"{name} is {value!r}, less than nothing"
        for name in ("prompt_tokens", "output_tokens", "cached_prompt_tokens")
        if (value := getattr(record, name)) is not None and value < 0
    ]
    if record.token_s and record.output_tokens != len(record.token_s):
        faults.append(f"token_s has {len(record.token_s)} times for {record.output_tokens} output_tokens")
    return faults
