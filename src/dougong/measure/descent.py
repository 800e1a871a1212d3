"""A small fitter for a handful of positive parameters: coordinate descent in their logarithms."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

Loss = Callable[[Mapping[str, float]], float]


def descend(
    start: Mapping[str, float],
    loss: Loss,
    *,
    bounds: Mapping[str, tuple[float, float]],
    step: float = 0.7,
    least_step: float = 0.01,
) -> dict[str, float]:
    """Values near ``start`` at which ``loss`` is least.

    Each parameter in turn is tried larger and smaller by the factor ``exp(step)`` and keeps what helps; when nothing
    helps any more the step is halved, down to ``least_step``. Bounds are kept.
    """
    at, best = dict(start), loss(start)
    while step >= least_step:
        moved = False
        for name in at:
            low, high = bounds[name]
            for sign in (1, -1):
                while True:
                    tried = {**at, name: min(max(at[name] * math.exp(sign * step), low), high)}
                    if tried[name] == at[name] or (found := loss(tried)) >= best - 1e-12:
                        break
                    at, best, moved = tried, found, True
        if not moved:
            step /= 2
    return at
