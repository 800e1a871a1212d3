"""Waiting for what another thread or process must bring about."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

LONG_S = 60.0
"""Far longer than anything takes: a busy machine makes a test slow, and never red."""


def until(done: Callable[[], object], within_s: float = LONG_S) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text()
    except ProcessLookupError:  # it may end between the two, and while it is read
        return True
    except FileNotFoundError:
        return Path("/proc/self").exists()  # else there is no such folder on this system
    return state.rpartition(")")[2].split()[0] == "Z"
