"""What the reader should know of the numbers of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dougong.calibration.engines import EngineClass, engine_class
from dougong.calibration.local import Local
from dougong.catalog.models import Model
from dougong.plan.refuse import context_of
from dougong.plan.types import PlanRequest


class Noted(Protocol):
    """What one system yields, with the notes on it."""

    @property
    def system_id(self) -> str:
        """Whose notes they are."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes."""
        ...


def notes_of(found: Sequence[Noted]) -> tuple[str, ...]:
    """Every note once; what is not true of all systems says whose it is."""
    shared = set[str].intersection(*(set(one.notes) for one in found))
    said = [
        note if note in shared else f"{one.system_id}: {note}" for one in found for note in one.notes if note
    ]
    return tuple(dict.fromkeys(said))


def context_notes(model: Model, request: PlanRequest) -> list[str]:
    """On a context that is extended, and on requests of a trace that are longer than it."""
    own, most, workload = model.max_context_tokens, context_of(model, request), request.workload
    notes: list[str] = []
    if own and most > own and workload.full_context > own:
        notes.append(
            f"the model's context is {own:,} tokens and is extended to {most:,} by your word: "
            "what that does to its answers is not told here"
        )
    if most and (share := workload.longer_than(most)):
        notes.append(
            f"{share * 100:.2g} % of the trace's {len(workload.totals):,} requests are longer than the model's context "
            f"of {most:,} tokens (the longest {workload.totals[0]:,}): they cannot be served in full, "
            "and the mean lengths planned for count them"
        )
    return notes


_WORK = (("compute", "compute_slowdown"), ("memory", "memory_slowdown"), ("link", "link_slowdown"))


def local_notes(local: Local, engine: EngineClass) -> list[str]:
    """On the calibration of one's own machine, and what of it is still the class's."""
    own = f"calibrated on this very chip: {local.how}"
    if local.engine.get(engine.id):
        return [own]
    return [
        own,
        f"host work and losses are those of engine class {engine.id}, which was fitted on other chips",
    ]


def engine_notes(engine: EngineClass) -> list[str]:
    """On an engine class that loses to ``community`` somewhere though its name promises more."""
    if engine.id != "vendor-tuned":
        return []
    community = engine_class("community")
    slower = [
        f"{work}-bound work takes {(more - 1) * 100:.0f} % longer"
        for work, name in _WORK
        if (more := getattr(engine, name) / getattr(community, name)) > 1.005
    ]
    if not slower:
        return []
    return [
        f"engine class {engine.id} was fitted to other chips' cases than community; with it {' and '.join(slower)}, "
        "which is less than the interval of either: the two do not tell which stack is faster on one chip"
    ]
