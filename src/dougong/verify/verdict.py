"""What a case comes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class Verdict(StrEnum):
    """One word per case; ``PASS`` is the only one that counts as conforming.

    ``DEVIATES``: right under another semantics or in a lower precision class than declared; the result says which.
    ``FALLBACK``: the value was computed elsewhere than claimed. ``INCONCLUSIVE``: the bound is too wide to tell.
    """

    PASS = "PASS"
    DEVIATES = "DEVIATES"
    WRONG = "WRONG"
    ERROR = "ERROR"
    CRASH = "CRASH"
    TIMEOUT = "TIMEOUT"
    FALLBACK = "FALLBACK"
    INCONCLUSIVE = "INCONCLUSIVE"
    UNSUPPORTED = "UNSUPPORTED"
    NOT_RUN = "NOT-RUN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The verdict of one case on one backend, with its numbers.

    Attributes
    ----------
    check
        The check that decided (one of :data:`dougong.verify.case.CHECKS`).
    error
        Largest of the RMS and the worst element's error over its bound, in the declared precision class [1];
        at most 1 passes. ``None`` where nothing was computed.
    precision
        The best precision class that explains the values: ``native``, ``tf32``, …; ``None`` where none does.
    at
        Index of the worst element.
    facts
        Semantics seen, by switch: how this stack answers where specifications are silent.
    """

    case: str
    verdict: Verdict
    check: str
    detail: str = ""
    error: float | None = None
    precision: str | None = None
    at: tuple[int, ...] | None = None
    got: str | None = None
    expected: str | None = None
    facts: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    seconds: float = 0.0
