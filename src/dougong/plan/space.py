"""The space of candidates for one model on one machine: legal rows, how many sequences fit, what was refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dougong import units
from dougong.cost.memory import Footprint, footprint
from dougong.cost.step import Pricer
from dougong.ops import Ranks
from dougong.plan.grid import geometric
from dougong.plan.layouts import RULES, Setting, Table, enumerate_layouts
from dougong.plan.types import Memory, Refusal
from dougong.workload import Workload

Array = Any

BATCHES = geometric(4096, 96)
"""Sequences per attention group that are priced: a tenth apart beyond ten, so the best lies near one of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Rows that fit with the sequences they hold; ``refusals`` tells of the rest."""

    table: Table
    ranks: Ranks
    pp: Array  # [L, 1]
    prints: Footprint  # columns [L, 1]
    most: Array  # sequences per attention group that fit [L, 1]
    refusals: tuple[Refusal, ...]
    enumerated: int


def memory_of(
    pricer: Pricer,
    ranks: Ranks,
    pp: Array,
    workload: Workload,
    step_tokens: float,
    context: float | None = None,
) -> Footprint:
    """The memory account of rows, with every sequence at its longest."""
    engine = pricer.engine
    return footprint(
        pricer.precise.model,
        pricer.machine,
        ranks,
        pp,
        pricer.precise.dtypes,
        context=workload.full_context if context is None else context,
        step_tokens=step_tokens,
        utilisation=engine.memory_frac,
        graph_bytes=engine.graph_bytes,
        mtp=pricer.draft_tokens > 0,
    )


def build(pricer: Pricer, workload: Workload, devices: int, *, step_tokens: float) -> Space:
    """Enumerate, apply the rules by name, and refuse what does not fit, with numbers."""
    setting = Setting(
        model=pricer.precise.model,
        machine=pricer.machine,
        devices=devices,
        context_tokens=workload.full_context,
    )
    table = enumerate_layouts(setting)
    enumerated = len(table)
    refusals: list[Refusal] = []
    for rule in RULES:
        legal = np.broadcast_to(rule.check(setting, table), (len(table),))
        turned = int((~legal).sum())
        if turned:
            row = int(np.argmin(legal))
            refusals.append(
                Refusal(
                    reason=rule.name,
                    count=turned,
                    example=str(table.layout(row)),
                    detail=_why_unknown(setting) if rule.name == "links-known" else rule.reason,
                    remedy=rule.remedy,
                )
            )
        table = table.take(legal)
    ranks, pp = table.ranks(), table.pp[:, None].astype(float)
    prints = memory_of(pricer, ranks, pp, workload, step_tokens)
    most = np.broadcast_to(prints.sequences, pp.shape)
    holds = most[:, 0] >= 1
    if not holds.all():
        refusals.append(_memory_refusal(table, prints, most, holds, workload))
    kept = np.flatnonzero(holds)
    return Space(
        table=table.take(kept),
        ranks=_rows(ranks, kept),
        pp=pp[kept],
        prints=_print_rows(prints, kept, pp.shape),
        most=most[kept],
        refusals=tuple(refusals),
        enumerated=enumerated,
    )


def _rows(ranks: Ranks, rows: Array) -> Ranks:
    return Ranks(**{name: getattr(ranks, name)[rows] for name in Ranks.__dataclass_fields__})


def _print_rows(prints: Footprint, rows: Array, shape: tuple[int, ...]) -> Footprint:
    return Footprint(
        **{
            name: np.broadcast_to(getattr(prints, name), shape)[rows]
            for name in Footprint.__dataclass_fields__
        }
    )


def _why_unknown(setting: Setting) -> str:
    reasons = [
        f"{unknown.record}: {unknown.key} is unknown ({unknown.reason})"
        for unknown in setting.machine.unknown_links.values()
    ]
    return "; ".join(reasons) or "a link's bandwidth is unknown"


def _memory_refusal(
    table: Table, prints: Footprint, most: Array, holds: Array, workload: Workload
) -> Refusal:
    # The example is the refused layout that came nearest to fitting one sequence.
    shape = most.shape
    need = np.broadcast_to(
        prints.weights
        + prints.activations
        + prints.communication
        + prints.reserve
        + prints.cache_per_sequence,
        shape,
    )
    gap = np.where(holds, np.inf, (need - np.broadcast_to(prints.capacity, shape))[:, 0])
    row = int(np.argmin(gap))
    part = {
        name: float(np.broadcast_to(getattr(prints, name), shape)[row, 0])
        for name in Footprint.__dataclass_fields__
    }
    show = {name: units.show(value, "byte") for name, value in part.items()}
    return Refusal(
        reason="memory",
        count=int((~holds).sum()),
        example=str(table.layout(row)),
        detail=(
            f"nearest {table.layout(row)}: a device needs {units.show(float(need[row, 0]), 'byte')} for one request of "
            f"{workload.full_context:,.0f} tokens and has {show['capacity']} "
            f"(weights {show['weights']}, cache {show['cache_per_sequence']}, "
            f"activations {show['activations']}, exchange buffers {show['communication']}, "
            f"reserve {show['reserve']})"
        ),
        remedy="more devices per replica, a narrower precision, or a shorter context",
    )


def memory_record(prints: Footprint, row: int, sequences: float) -> Memory:
    """The memory account of one row holding ``sequences`` per attention group."""
    part = {
        name: float(np.ravel(getattr(prints, name))[row if np.size(getattr(prints, name)) > 1 else 0])
        for name in Footprint.__dataclass_fields__
    }
    return Memory(
        weights_bytes=part["weights"],
        kv_cache_bytes=sequences * part["cache_per_sequence"],
        activations_bytes=part["activations"],
        communication_bytes=part["communication"],
        reserve_bytes=part["reserve"],
        capacity_bytes=part["capacity"],
    )
