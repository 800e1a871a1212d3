"""Waiting for what another thread or process must bring about."""

from __future__ import annotations

import time
from collections.abc import Callable

LONG_S = 60.0
"""Far longer than anything takes: a busy machine makes a test slow, and never red."""


def until(done: Callable[[], object], within_s: float = LONG_S) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)
