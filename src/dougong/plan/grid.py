"""Where a search looks: numbers a ratio apart, and a few of many."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = Any


def geometric(most: int, count: int) -> Array:
    """Whole numbers from 1 to ``most``, about equal ratios apart; at most ``count``, as floats."""
    found = np.round(np.geomspace(1, most, count))
    return found[np.diff(found, prepend=0) > 0]


def spread(count: int, keep: int) -> Array:
    """Indices of ``keep`` of ``count`` things, evenly spread, the first and the last among them; ``keep < count``."""
    return np.linspace(0, count - 1, keep).round().astype(int)
