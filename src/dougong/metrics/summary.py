"""What a run came to: rates over its counted part, latencies with quantiles, requests within limits."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dougong.errors import InputError
from dougong.metrics.latency import e2e_s, itl_s, meets, send_lag_s, tpot_s, ttft_s
from dougong.metrics.quantiles import LEVEL, Estimate, mean, proportion, quantile
from dougong.metrics.records import RequestRecord
from dougong.metrics.window import Window, steady_window

QUANTILES = (0.5, 0.9, 0.95, 0.99)
SLICES = 20
"""Rates get their interval from the means of this many equal slices of the window (batch means)."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Mean and quantiles of one latency [s].

    Attributes
    ----------
    mean
        Mean with its interval [s].
    quantiles
        Quantile, as a share, to its value with interval [s].
    least, greatest
        Ends of the sample [s].
    """

    mean: Estimate
    quantiles: Mapping[float, Estimate]
    least: float
    greatest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Figures of the counted part of a run.

    Attributes
    ----------
    window
        The counted part.
    counted, by_status, errors
        Requests that arrived in the window [request]; how all of the run ended; words of faults to their number.
    ttft_s, tpot_s, itl_s, e2e_s, send_lag_s
        Latencies of the counted requests that ended well [s]; None where no request has one.
    requests_per_s, output_tokens_per_s, prompt_tokens_per_s
        Rates inside the window: requests ended well, tokens out, prompt tokens of requests whose first token came.
        None where the engine does not count its tokens.
    goodput_requests_per_s, met_frac
        Requests within the limits per second of the window, and as a share of the counted; None without limits.
    in_flight
        Mean number of requests between arrival and end inside the window [request].
    prompt_tokens, output_tokens
        Means over the counted requests that ended well [token].
    """

    window: Window
    counted: int
    by_status: Mapping[str, int]
    errors: Mapping[str, int]
    ttft_s: Spread | None
    tpot_s: Spread | None
    itl_s: Spread | None
    e2e_s: Spread | None
    send_lag_s: Spread | None
    requests_per_s: Estimate | None
    output_tokens_per_s: Estimate | None
    prompt_tokens_per_s: Estimate | None
    goodput_requests_per_s: float | None
    met_frac: Estimate | None
    in_flight: float | None
    prompt_tokens: float | None
    output_tokens: float | None


def summarise(
    records: Sequence[RequestRecord],
    *,
    ttft_limit_s: float | None = None,
    tpot_limit_s: float | None = None,
    warmup_s: float | None = None,
    level: float = LEVEL,
) -> Summary:
    """Summarise a run.

    Parameters
    ----------
    records
        Its requests, in any order.
    ttft_limit_s, tpot_limit_s
        Limits for goodput [s].
    warmup_s
        See :func:`~dougong.metrics.window.steady_window`.
    level
        Coverage of the intervals [1].

    Raises
    ------
    InputError
        If there are no records.
    """
    if not records:
        raise InputError("a run without a request has no figures")
    window = steady_window(records, warmup_s=warmup_s)
    counted = [r for r in records if window.holds(r.arrival_s)]
    well = [r for r in counted if r.status == "ok"]
    done = [r for r in records if r.status == "ok"]

    def latency(function: Callable[[RequestRecord], float | None]) -> Spread | None:
        return _spread([value for r in well if (value := function(r)) is not None], level)

    limited = ttft_limit_s is not None or tpot_limit_s is not None
    met = sum(meets(r, ttft_limit_s=ttft_limit_s, tpot_limit_s=tpot_limit_s) for r in counted)
    seconds = window.seconds
    counts_out = all(r.output_tokens is not None for r in done)
    counts_in = all(r.prompt_tokens is not None for r in done)
    return Summary(
        window=window,
        counted=len(counted),
        by_status=dict(Counter(r.status for r in records).most_common()),
        errors=dict(Counter(r.error for r in records if r.error).most_common()),
        ttft_s=latency(ttft_s),
        tpot_s=latency(tpot_s),
        itl_s=_spread([gap for r in well for gap in itl_s(r)], level),
        e2e_s=latency(e2e_s),
        send_lag_s=latency(send_lag_s),
        requests_per_s=_rate([(r.end_s, 1.0) for r in done], window, level),
        output_tokens_per_s=_rate([pair for r in records for pair in _tokens_out(r)], window, level)
        if counts_out
        else None,
        prompt_tokens_per_s=_rate([pair for r in records for pair in _tokens_in(r)], window, level)
        if counts_in
        else None,
        goodput_requests_per_s=met / seconds if limited and seconds > 0 else None,
        met_frac=proportion(met, len(counted), level=level) if limited else None,
        in_flight=_in_flight(records, window),
        prompt_tokens=_mean([float(r.prompt_tokens) for r in well if r.prompt_tokens is not None]),
        output_tokens=_mean([float(r.output_tokens) for r in well if r.output_tokens is not None]),
    )


def _tokens_out(record: RequestRecord) -> list[tuple[float, float]]:
    """Times of output tokens [s] with how many came; spread evenly where single times are not known."""
    if record.token_s:
        return [(time, 1.0) for time in record.token_s]
    tokens, first, last = record.output_tokens, record.first_token_s, record.last_token_s
    if not tokens:
        return []
    if first is None or last is None:
        return [(record.end_s, float(tokens))]
    step = (last - first) / max(tokens - 1, 1)
    return [(first + step * at, 1.0) for at in range(tokens)]


def _tokens_in(record: RequestRecord) -> list[tuple[float, float]]:
    if not record.prompt_tokens:
        return []
    time = record.first_token_s
    if time is None:
        return [(record.end_s, float(record.prompt_tokens))] if record.status == "ok" else []
    return [(time, float(record.prompt_tokens))]


def _rate(events: Sequence[tuple[float, float]], window: Window, level: float) -> Estimate | None:
    """Events per second inside the window, with the interval of its slices' means."""
    if window.seconds <= 0:
        return None
    ordered = sorted(events)
    times = [time for time, _ in ordered]
    # Half open: an event on the closing edge began the next slice, or the drain.
    inside = ordered[bisect_left(times, window.start_s) : bisect_left(times, window.end_s)]
    if not window.steady:
        inside = ordered[bisect_left(times, window.start_s) : bisect_right(times, window.end_s)]
    width = window.seconds / SLICES
    slices = [0.0] * SLICES
    for time, amount in inside:
        slices[min(int((time - window.start_s) / width), SLICES - 1)] += amount / width
    found = mean(slices, level=level)
    if found is None:
        return None
    value = sum(amount for _, amount in inside) / window.seconds
    low = None if found.low is None else max(found.low, 0.0)
    # Slices of a whole run hold its filling and draining: they say nothing about a steady rate.
    return (
        Estimate(value, low, found.high, len(inside))
        if window.steady
        else Estimate(value, None, None, len(inside))
    )


def _in_flight(records: Sequence[RequestRecord], window: Window) -> float | None:
    if window.seconds <= 0:
        return None
    held = sum(max(min(r.end_s, window.end_s) - max(r.arrival_s, window.start_s), 0.0) for r in records)
    return held / window.seconds


def _spread(values: Sequence[float], level: float) -> Spread | None:
    middle = mean(values, level=level)
    if middle is None:
        return None
    ordered = sorted(values)
    found = {q: estimate for q in QUANTILES if (estimate := quantile(ordered, q, level=level)) is not None}
    return Spread(mean=middle, quantiles=found, least=ordered[0], greatest=ordered[-1])


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
