"""Latencies of one request. All count from when the request was due, never from when a late client sent it."""

from __future__ import annotations

from itertools import pairwise

from dougong.metrics.records import RequestRecord


def ttft_s(record: RequestRecord) -> float | None:
    """Time to first token [s]: first token minus arrival; None without a first token."""
    return None if record.first_token_s is None else record.first_token_s - record.arrival_s


def tpot_s(record: RequestRecord) -> float | None:
    """Time per output token after the first, a mean over the request [s]; None under two known tokens.

    Notes
    -----
    ``(last_token - first_token) / (output_tokens - 1)``.
    """
    first, last, tokens = record.first_token_s, record.last_token_s, record.output_tokens
    if first is None or last is None or tokens is None or tokens < 2:
        return None
    return (last - first) / (tokens - 1)


def itl_s(record: RequestRecord) -> tuple[float, ...]:
    """Inter-token latency, one per gap [s]; tokens that came together have a gap of zero.

    Empty where the times of single tokens are not known.
    """
    times = record.token_s
    return tuple(end - start for start, end in pairwise(times))


def e2e_s(record: RequestRecord) -> float:
    """End minus arrival [s]."""
    return record.end_s - record.arrival_s


def send_lag_s(record: RequestRecord) -> float | None:
    """How late the request was sent on [s]: a client that cannot keep up, or a queue before the engine."""
    return None if record.sent_s is None else record.sent_s - record.arrival_s


def meets(
    record: RequestRecord, *, ttft_limit_s: float | None = None, tpot_limit_s: float | None = None
) -> bool:
    """Whether a request ended well and within the limits [s].

    A request without a first token fails a TTFT limit; one of a single token has no TPOT and meets any.
    """
    if record.status != "ok":
        return False
    first, per_token = ttft_s(record), tpot_s(record)
    if ttft_limit_s is not None and (first is None or first > ttft_limit_s):
        return False
    if tpot_limit_s is None:
        return True
    if per_token is None:
        return record.output_tokens is not None and record.output_tokens < 2
    return per_token <= tpot_limit_s
