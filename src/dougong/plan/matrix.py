"""The matrix of what fits where: every model on every system, a few array programs per model.

The question is coarser than a plan: co-located replicas only, one workload, the best throughput per chip. Systems
whose chips compute a model in the same dtypes, with the same efficiencies, share one array program; a row is a
layout on a system.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dougong import units
from dougong.calibration.local import Local
from dougong.catalog.hardware import System
from dougong.catalog.models import Model
from dougong.cost.machine import Machine, machine_of, stack
from dougong.cost.precision import Precise, apply
from dougong.cost.step import Pricer
from dougong.errors import CatalogError, InputError, UnknownFigure, UnsupportedModel
from dougong.plan.calibrated import efficiencies, locals_of
from dougong.plan.layouts import RULES, Setting, Table, enumerate_layouts
from dougong.plan.records import Records
from dougong.plan.remarks import local_notes
from dougong.plan.serving import colocated
from dougong.plan.space import BATCHES, memory_of
from dougong.plan.types import Fit, FitCell
from dougong.workload import Limit, Workload

Array = Any
NO_LIMIT = Limit()
COARSE = np.array([1, 4, 16, 32, 64, 128, 256, 512, 1024], dtype=float)
WIDEST = 512
"""Devices of the widest replica tried: a matrix asks what fits, not for the last per cent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seat:
    system: str
    machine: Machine
    precise: Precise
    table: Table
    local: Local | None


def fit_matrix(
    models: Sequence[str],
    systems: Sequence[str],
    catalog: Records,
    *,
    workload: Workload,
    limit: Limit = NO_LIMIT,
    precision: str = "auto",
    engine: str = "community",
) -> Fit:
    """Every model on every system.

    Returns
    -------
    Fit
        One cell per pair; a figure that is unknown or a model that is not read makes a cell, not an error.
    """
    started = time.perf_counter()
    cells: dict[tuple[str, str], FitCell] = {}
    read: dict[str, tuple[System, Machine, Local | None]] = {}
    notes: list[str] = []
    measured = locals_of(catalog)
    for name in systems:
        system = catalog.system(name)
        try:
            machine, local = machine_of(system), measured.get(system.chip.id)
            read[name] = (system, machine, local)
            if local is not None:
                notes += [f"{name}: {note}" for note in local_notes(local, efficiencies(local, engine)[1])]
        except UnknownFigure as error:
            cells |= {
                (model, name): _cell(model, name, "unknown-figure", detail=error.message) for model in models
            }
    for model_id in models:
        try:
            model = catalog.model(model_id)
        except (UnsupportedModel, CatalogError) as error:
            cells |= {
                (model_id, name): _cell(model_id, name, "unsupported", detail=error.message) for name in read
            }
            continue
        if workload.full_context > model.max_context_tokens > 0:
            detail = f"a request is longer than the model's context of {model.max_context_tokens:,} tokens"
            cells |= {(model_id, name): _cell(model_id, name, "does-not-fit", detail=detail) for name in read}
            continue
        cells |= _row(model_id, model, read, workload, limit, precision, engine)
    return Fit(
        models=tuple(models),
        systems=tuple(systems),
        cells=cells,
        elapsed_s=time.perf_counter() - started,
        edition=catalog.edition(),
        notes=tuple(notes),
    )


def _cell(model: str, system: str, verdict: str, **more: Any) -> FitCell:
    return FitCell(model=model, system=system, verdict=verdict, **more)


def _row(
    model_id: str,
    model: Model,
    read: dict[str, tuple[System, Machine, Local | None]],
    workload: Workload,
    limit: Limit,
    precision: str,
    engine: str,
) -> dict[tuple[str, str], FitCell]:
    cells: dict[tuple[str, str], FitCell] = {}
    groups: dict[Any, list[_Seat]] = {}
    tables: dict[Any, Table] = {}
    for name, (system, machine, local) in read.items():
        try:
            precise = apply(model, precision, system.chip)
        except (UnknownFigure, InputError) as error:
            cells[model_id, name] = _cell(model_id, name, "unknown-figure", detail=error.message)
            continue
        shape = (
            int(machine.num_devices),
            tuple(
                (float(level.size), bool(np.isnan(level.bandwidth)), bool(level.scale_out))
                for level in machine.levels
            ),
        )
        if shape not in tables:
            tables[shape] = _layouts(precise.model, machine, workload)
        if not len(tables[shape]):
            why = next(iter(machine.unknown_links.values()), None)
            verdict = "does-not-fit" if why is None else "unknown-figure"
            cells[model_id, name] = _cell(
                model_id,
                name,
                verdict,
                detail="no legal layout" if why is None else f"{why.key}: {why.reason}",
            )
            continue
        dtypes = tuple(sorted(precise.dtypes.compute.items()))
        # Systems share an array program where they share dtypes and efficiencies.
        groups.setdefault((dtypes, precise.dtypes.kv, local and local.chip), []).append(
            _Seat(system=name, machine=machine, precise=precise, table=tables[shape], local=local)
        )
    for seats in groups.values():
        for name, cell in _priced(model_id, seats, workload, limit, engine):
            cells[model_id, name] = cell
    return cells


def _layouts(model: Model, machine: Machine, workload: Workload) -> Table:
    devices = int(min(machine.num_devices, WIDEST))
    setting = Setting(model=model, machine=machine, devices=devices, context_tokens=1.0)
    table = enumerate_layouts(setting)
    # Powers of two are enough here, and pipeline stages only where one stage cannot be cut further.
    table = table.take(
        (table.attn_dp & (table.attn_dp - 1) == 0)
        & (table.pp <= 8)
        & ((table.pp == 1) | (table.tp * table.pp >= devices // 4))
    )
    for rule in RULES:
        table = table.take(np.broadcast_to(rule.check(setting, table), (len(table),)))
    return table


def _priced(
    model_id: str, seats: Sequence[_Seat], workload: Workload, limit: Limit, engine: str
) -> list[tuple[str, FitCell]]:
    owner = np.repeat(np.arange(len(seats)), [len(seat.table) for seat in seats])
    names = ("tp", "pp", "cp", "attn_dp", "expert_tp")
    table = Table(**{name: np.concatenate([getattr(seat.table, name) for seat in seats]) for name in names})
    machines = [seat.machine for seat in seats]
    parameters, own_class = efficiencies(seats[0].local, engine)
    pricer = Pricer(
        precise=seats[0].precise,
        machine=stack(machines, owner),
        parameters=parameters,
        engine=own_class,
    )
    budget = pricer.engine.prefill_step_tokens
    prints = memory_of(pricer, table.ranks(), table.pp[:, None].astype(float), workload, budget)
    most = np.broadcast_to(prints.sequences, (len(table), 1))
    free = np.broadcast_to(prints.free, (len(table), 1))[:, 0]
    kept = np.flatnonzero(most[:, 0] >= 1)
    best = np.zeros((0, len(COARSE)))
    if len(kept):
        pricer = replace(pricer, machine=stack(machines, owner[kept]))
        best = _rates(pricer, table.take(kept), most[kept], workload, limit)
    out: list[tuple[str, FitCell]] = []
    for number, seat in enumerate(seats):
        mine = np.flatnonzero(owner[kept] == number)
        if not len(mine):
            lack = units.show(max(float(-free[owner == number].max()), 0.0), "byte")
            detail = f"the nearest layout lacks {lack} per device, or cannot hold one request"
            out.append((seat.system, _cell(model_id, seat.system, "does-not-fit", detail=detail)))
            continue
        i, j = divmod(int(np.argmax(best[mine])), len(COARSE))
        layout, top = table.layout(int(kept[mine[i]])), float(best[mine[i], j])
        if top <= 0:
            detail = "fits, but no layout keeps the limits"
            out.append((seat.system, _cell(model_id, seat.system, "misses-limit", detail=detail)))
            continue
        chips = layout.devices / float(seat.machine.devices_per_chip)
        found = {"tokens_per_s_per_chip": top, "chips": chips, "layout": str(layout)}
        out.append((seat.system, _cell(model_id, seat.system, "fits", **found)))
    return out


def _rates(pricer: Pricer, table: Table, most: Array, workload: Workload, limit: Limit) -> Array:
    # Output tokens/s per chip of each (layout, batch); -1 where a limit is missed.
    # What no longer fits is replaced by the largest batch that does, as a plan would try it.
    largest = BATCHES[np.searchsorted(BATCHES, most[:, 0], "right") - 1][:, None]
    batch = np.minimum(COARSE[None, :], largest)
    served = colocated(pricer, table.ranks(), table.pp[:, None].astype(float), workload, batch, 0.7)
    ok = np.asarray(served.tpot_s) <= (limit.tpot_s or np.inf)
    ok &= np.asarray(served.ttft_s) <= (limit.ttft_s or np.inf)
    # Over every chip at hand, as a plan counts without a load: what whole replicas leave idle is a loss.
    whole = np.floor(pricer.machine.num_devices / table.devices[:, None])
    chips = pricer.machine.num_devices / pricer.machine.devices_per_chip
    return np.where(ok, whole * served.requests_per_s * workload.output_tokens / chips, -1.0)
