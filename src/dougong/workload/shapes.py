"""What is asked of a deployment."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field

from dougong.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Mean shape and arrival of requests.

    Attributes
    ----------
    prompt_tokens, output_tokens
        Mean tokens in and out per request [token].
    prefix_hit_frac
        Share of prompt tokens found in a prefix cache, never computed [1].
    rate_requests_per_s
        Offered load, open loop [request/s]; None means: as much as the system carries.
    users
        Concurrent requests, closed loop [request]; None means: as many as is best.
    source
        Where the shape is from: ``flags`` or the trace file's name.
    totals
        Tokens of each request of a trace in the end, longest first [token]; empty without a trace.
    """

    prompt_tokens: float
    output_tokens: float
    prefix_hit_frac: float = 0.0
    rate_requests_per_s: float | None = None
    users: float | None = None
    source: str = "flags"
    totals: tuple[int, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        faults = [
            f"{name} must be {legal}, not {value!r}"
            for name, value, legal, ok in (
                (
                    "prompt_tokens",
                    self.prompt_tokens,
                    "between 1 and 10,000,000",
                    1 <= self.prompt_tokens <= 1e7,
                ),
                (
                    "output_tokens",
                    self.output_tokens,
                    "between 1 and 10,000,000",
                    1 <= self.output_tokens <= 1e7,
                ),
                ("prefix_hit_frac", self.prefix_hit_frac, "in [0, 1)", 0 <= self.prefix_hit_frac < 1),
                (
                    "rate",
                    self.rate_requests_per_s,
                    "positive and finite",
                    _positive(self.rate_requests_per_s),
                ),
                (
                    "users",
                    self.users,
                    "at least 1 and finite",
                    self.users is None or (_positive(self.users) and self.users >= 1),
                ),
            )
            if not ok
        ]
        if self.rate_requests_per_s is not None and self.users is not None:
            faults.append("rate (open loop) and users (closed loop) contradict each other: give one")
        if faults:
            raise InputError("; ".join(faults))

    @property
    def computed_prompt_tokens(self) -> float:
        """Prompt tokens that must be computed per request [token]; at least the last one always is."""
        return max(self.prompt_tokens * (1 - self.prefix_hit_frac), 1.0)

    @property
    def mean_decode_context(self) -> float:
        """Mean cached tokens while decoding [token]."""
        return self.prompt_tokens + self.output_tokens / 2

    def longer_than(self, context_tokens: float) -> float:
        """Share of a trace's requests that end beyond so many tokens [1]; 0 without a trace."""
        longer = bisect_left(self.totals, -context_tokens, key=lambda total: -total)
        return longer / len(self.totals) if self.totals else 0.0

    @property
    def full_context(self) -> float:
        """Cached tokens of a request at its end [token]."""
        return self.prompt_tokens + self.output_tokens


def _positive(value: float | None) -> bool:
    return value is None or (math.isfinite(value) and value > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Latency limits on mean values; None is no limit.

    Attributes
    ----------
    ttft_s, tpot_s
        Upper limits of time to first token and time per output token [s].
    """

    ttft_s: float | None = None
    tpot_s: float | None = None

    def __post_init__(self) -> None:
        for name in ("ttft_s", "tpot_s"):
            value = getattr(self, name)
            if not _positive(value):
                raise InputError(f"the {name[:4]} limit must be positive and finite, not {value!r}")
