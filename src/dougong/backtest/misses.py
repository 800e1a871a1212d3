"""The worst misses, one for each cause, with what we think is wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from dougong.backtest.results import Held, Results, furthest

WORST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What we think is wrong with some cases."""

    why: str
    cases: tuple[str, ...] = ()
    match: str = ""  # a pattern on the case in words

    def covers(self, case: str, words: str) -> bool:
        """Whether a case is one of these."""
        return case in self.cases or bool(self.match and words and re.search(self.match, words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """The furthest miss of its cause."""

    held: Held
    alike: int  # cases of the same cause among the furthest
    why: str  # empty: not looked into


def worst(results: Results, causes: Sequence[Cause], count: int = WORST) -> list[Miss]:
    """The cases that miss most out of fold, one for each cause and one figure each."""
    seen: dict[object, list[Held]] = {}
    for item in furthest(results.held):
        words = results.told.get(item.case.id)
        if words is None:
            continue
        cause = next((cause for cause in causes if cause.covers(item.case.id, words)), item.case.id)
        alike = seen.setdefault(cause, [])
        if item.case.id not in {other.case.id for other in alike}:
            alike.append(item)
    first = list(seen.items())[:count]
    return [
        Miss(held=items[0], alike=len(items), why=cause.why if isinstance(cause, Cause) else "")
        for cause, items in first
    ]
