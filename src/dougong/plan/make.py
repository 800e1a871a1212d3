"""Answers a plan request: from words' records to a ranked plan, or a reasoned no."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dougong.calibration.local import Local
from dougong.catalog.hardware import System
from dougong.catalog.models import Model
from dougong.cost.machine import Machine, machine_of
from dougong.cost.precision import apply, check_kv
from dougong.cost.step import Pricer
from dougong.errors import InputError
from dougong.facts import Figure, worst_grade
from dougong.plan.calibrated import efficiencies, locals_of
from dougong.plan.explain import explain
from dougong.plan.launcher import Launchers, Launches
from dougong.plan.money import rates_of
from dougong.plan.options import Scene, option_of, with_steps
from dougong.plan.pools import disaggregated_deployments
from dougong.plan.rank import carries_load, chips_counted, distinct_best, front, keeps_limits, merit
from dougong.plan.records import Records
from dougong.plan.refuse import (
    context_refusals,
    limit_refusals,
    no_pools,
    no_room,
    nothing_to_decode,
    price_refusals,
    shortfall,
    unlinked,
)
from dougong.plan.remarks import context_notes, engine_notes, local_notes, notes_of
from dougong.plan.search import Deployments, colocated_deployments
from dougong.plan.space import build
from dougong.plan.types import MODES, OBJECTIVES, FigureUse, Infeasible, Option, Plan, PlanRequest, Refusal

MAX_DEVICES = 20_000
MATURE = ("NVIDIA", "AMD")
"""Vendors whose chips the engine class ``community`` was fitted on, or is meant for."""
FRONT_POINTS = 24
TIED = 1.05
"""Options of one system share most of their error: a tenth of the interval's width is what may differ [1]."""
DEFAULT_ACCEPTANCE = 0.7
"""Of a drafted token, used only where drafting is asked for without a rate: arXiv 2506.12708, section 5.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything one system yields."""

    scene: Scene
    kinds: tuple[Deployments, ...]
    refusals: tuple[Refusal, ...]
    candidates: int
    figures: tuple[Figure, ...]
    notes: tuple[str, ...]

    @property
    def system_id(self) -> str:
        """The system that it is of."""
        return self.scene.system.id


def check(request: PlanRequest) -> None:
    """Refuse contradictory or senseless words, all at once.

    Raises
    ------
    InputError
        With every fault found.
    """
    faults: list[str] = []
    if request.objective not in OBJECTIVES:
        faults.append(f"objective {request.objective!r} is none of {', '.join(OBJECTIVES)}")
    if request.mode not in MODES:
        faults.append(f"mode {request.mode!r} is none of {', '.join(MODES)}")
    if request.chips is not None and not 1 <= request.chips <= 100_000:
        faults.append(f"chips must be from 1 to 100,000, not {request.chips}")
    if not 0 <= request.draft_tokens <= 16:
        faults.append(f"draft tokens must be from 0 to 16, not {request.draft_tokens}")
    if request.acceptance is not None and not 0 <= request.acceptance <= 1:
        faults.append(f"acceptance must be from 0 to 1, not {request.acceptance}")
    if request.acceptance is not None and request.draft_tokens == 0:
        faults.append("acceptance is given but no draft tokens are: contradictory")
    if request.imbalance is not None and not 1 <= request.imbalance <= 100:
        faults.append(
            f"imbalance is the busiest device over the mean, from 1 to 100, not {request.imbalance}"
        )
    if request.pue < 1 or request.pue > 10:
        faults.append(f"PUE is total over chip power, from 1 to 10, not {request.pue}")
    if request.objective == "cost" and request.usd_per_chip_hour == 0 and not request.usd_per_kwh:
        faults.append(
            "at a price of 0 every deployment costs the same: the objective 'cost' has nothing to order"
        )
    for name in ("usd_per_chip_hour", "usd_per_kwh", "grid_g_per_kwh", "watts_per_chip"):
        value = getattr(request, name)
        if value is not None and not (np.isfinite(value) and value >= 0):
            faults.append(f"{name} must be finite and not negative, not {value}")
    if (
        request.objective == "chips"
        and request.workload.rate_requests_per_s is None
        and request.workload.users is None
    ):
        faults.append("the objective 'chips' needs a load: give a rate or users")
    if request.max_context_tokens is not None and not 1 <= request.max_context_tokens <= 100_000_000:
        faults.append(f"the context must be from 1 to 100,000,000 tokens, not {request.max_context_tokens:,}")
    if not request.systems:
        faults.append("no system is given")
    if faults:
        raise InputError("; ".join(faults))
    check_kv(request.kv_dtype)


def make_plan(
    request: PlanRequest, catalog: Records, launchers: Launchers | None = None
) -> Plan | Infeasible:
    """Rank every legal deployment of the model on the systems of ``request``.

    Parameters
    ----------
    launchers
        The launcher of each system, whose word is asked where the request is for what can be launched.

    Returns
    -------
    Plan or Infeasible
        "No" is a value: it carries every refusal with its numbers and remedy.

    Raises
    ------
    InputError
        For unknown ids, contradictory limits, or a figure that a formula needs and nobody prints.
    """
    started = time.perf_counter()
    check(request)
    if (request.launchable is None) != (launchers is None):
        raise InputError("a request for what can be launched names its engine, and brings launchers of it")
    model = catalog.model(request.model)
    found = [
        search(request, model, catalog.system(name), catalog, launchers)
        for name in dict.fromkeys(request.systems)
    ]
    return _answer(request, model, found, catalog, started)


def compare(
    request: PlanRequest, catalog: Records, launchers: Launchers | None = None
) -> tuple[Plan | Infeasible, ...]:
    """The same question for each system of the request, side by side."""
    return tuple(
        make_plan(replace(request, systems=(name,)), catalog, launchers)
        for name in dict.fromkeys(request.systems)
    )


def pricer_of(
    model: Model,
    machine: Machine,
    system: System,
    *,
    precision: str,
    kv_dtype: str | None,
    engine: str,
    imbalance: float | None,
    draft_tokens: int,
    local: Local | None = None,
) -> Pricer:
    """Fix everything that does not vary among candidates."""
    precise = apply(model, precision, system.chip, kv_dtype)
    parameters, own_class = efficiencies(local, engine)
    return Pricer(
        precise=precise,
        machine=machine,
        parameters=parameters,
        engine=own_class,
        imbalance=imbalance,
        draft_tokens=draft_tokens,
    )


def search(
    request: PlanRequest, model: Model, system: System, catalog: Records, launchers: Launchers | None = None
) -> Found:
    """Price every legal candidate on one system."""
    machine = machine_of(system)
    local = locals_of(catalog).get(system.chip.id)
    pricer = pricer_of(
        model,
        machine,
        system,
        precision=request.precision,
        kv_dtype=request.kv_dtype,
        engine=request.engine,
        imbalance=request.imbalance,
        draft_tokens=request.draft_tokens,
        local=local,
    )
    notes = [pricer.precise.note, *model.notes, *(f"not priced: {part}" for part in model.absent)]
    if request.engine == "community" and system.chip.vendor not in MATURE:
        notes.append(
            f"engine class community: what engines reach on CUDA and ROCm; on {system.chip.name} it is a hope, "
            "and --engine early-port tells what ports reach"
        )
    workload = request.workload
    notes += context_notes(model, request)
    notes += local_notes(local, pricer.engine) if local else engine_notes(pricer.engine)
    if request.draft_tokens and not model.mtp_layers:
        notes.append("the model ships no draft module; drafting is priced without its cost")
    chips = system.num_chips if request.chips is None else min(request.chips, system.num_chips)
    devices = min(int(chips * machine.devices_per_chip), MAX_DEVICES)
    if devices < chips * machine.devices_per_chip:
        notes.append(
            f"only the first {MAX_DEVICES:,} devices are planned; beyond them it is more of the same"
        )
    budget = pricer.engine.prefill_step_tokens
    decode_space = build(pricer, workload, devices, step_tokens=budget)
    acceptance = DEFAULT_ACCEPTANCE if request.acceptance is None else request.acceptance
    rates = rates_of(system, request, catalog)
    scene = Scene(
        system=system,
        pricer=pricer,
        decode_space=decode_space,
        prefill_space=decode_space,
        rates=rates,
        devices=devices,
        acceptance=acceptance,
        bands=local.error if local else {},
        launches=Launches(launchers(system) if launchers else None),
    )
    kinds: list[Deployments] = []
    refusals = decode_space.refusals
    asked_too_much = [*context_refusals(model, request), *price_refusals(system, request, rates)]
    if asked_too_much:
        refusals = (*asked_too_much, *refusals)
    elif len(decode_space.table):
        kinds, more = _deployments(scene, request)
        refusals = (*refusals, *more)
    elif machine.unknown_links and not any(refusal.reason == "memory" for refusal in decode_space.refusals):
        next(iter(machine.unknown_links.values())).refuse()
    return Found(
        scene=scene,
        kinds=tuple(kind for kind in kinds if len(kind)),
        refusals=refusals,
        candidates=sum(kind.priced for kind in kinds),
        figures=(*machine.figures, *pricer.precise.figures, *rates.figures),
        notes=(*notes, *rates.notes),
    )


def _deployments(scene: Scene, request: PlanRequest) -> tuple[list[Deployments], list[Refusal]]:
    space, pricer, workload = scene.decode_space, scene.pricer, request.workload
    kinds: list[Deployments] = []
    refusals: list[Refusal] = []
    if request.mode in ("auto", "colocated"):
        kinds.append(
            colocated_deployments(space, pricer, request, scene.devices, scene.acceptance, scene.launches)
        )
        if not kinds[-1].fitting:
            refusals.append(no_room(space, workload, scene.devices))
    if request.mode in ("auto", "disaggregated") and workload.output_tokens > 1:
        joined = disaggregated_deployments(
            space, pricer, request, scene.devices, scene.acceptance, scene.launches
        )
        kinds.append(joined)
        if joined.unlinked:
            refusals.append(unlinked(pricer.machine, joined.unlinked))
        elif not len(joined) and joined.launchable:
            refusals.append(no_pools(scene.devices))
        elif not joined.fitting and len(kinds) == 1:
            refusals.append(no_room(space, workload, scene.devices))
    elif request.mode == "disaggregated":
        refusals.append(nothing_to_decode())
    return kinds, [*refusals, *scene.launches.refusals()]


def _answer(
    request: PlanRequest, model: Model, found: Sequence[Found], catalog: Records, started: float
) -> Plan | Infeasible:
    scored: list[tuple[float, Found, Deployments, int]] = []
    refusals: list[Refusal] = []
    nearest: list[tuple[float, Option]] = []
    for one in found:
        refusals += one.refusals
        for kind in one.kinds:
            carried = carries_load(kind, request, one.scene.devices)
            kept = keeps_limits(kind, request)
            refusals += limit_refusals(kind, request, carried, one.scene.decode_space)
            good = kind.take(carried & kept)
            if len(good):
                score = merit(good, request, one.scene.rates, one.scene.chips)
                scored += [
                    (float(score[i]), one, good, int(i)) for i in distinct_best(good, score, request.top)
                ]
            elif len(kind):
                gap = shortfall(kind, request)
                i = int(np.argmin(gap))
                nearest.append((float(gap[i]), option_of(one.scene, kind, i, request)))
    figures = _figures((figure for one in found for figure in one.figures), catalog)
    candidates = sum(one.candidates for one in found)
    if not scored:
        best = min(nearest, key=lambda pair: pair[0])[1] if nearest else None
        return Infeasible(
            request=request,
            refusals=tuple(refusals),
            nearest=best,
            candidates=candidates,
            elapsed_s=time.perf_counter() - started,
            notes=notes_of(found),
            figures=figures,
            edition=catalog.edition(),
        )
    scored.sort(key=lambda item: -item[0])
    options = [option_of(one.scene, kind, i, request) for _, one, kind, i in scored[: request.top]]
    lead = options[0]
    options = [lead, *(replace(option, tie=_ties(lead, option, request)) for option in options[1:])]
    winner = scored[0][1]
    options[0] = with_steps(winner.scene, lead, request.workload)
    firsts: dict[str, tuple[Scene, Deployments, int]] = {}
    for _, one, kind, i in scored:
        firsts.setdefault(one.system_id, (one.scene, kind, i))
    each = [option_of(*first, request) for first in firsts.values()]
    return Plan(
        request=request,
        options=tuple(options),
        pareto=_pareto(found, request),
        refusals=tuple(refusals),
        explanation=explain(winner.scene, winner.kinds, options, request),
        candidates=candidates,
        elapsed_s=time.perf_counter() - started,
        model_name=model.name,
        precision_note=winner.scene.pricer.precise.note,
        notes=notes_of(found),
        figures=figures,
        worst_grade=worst_grade(use.figure for use in figures),
        edition=catalog.edition(),
        fingerprint=_fingerprint(model, found),
        best_of_each=tuple(each) if len(found) > 1 else (),
    )


def _ties(lead: Option, other: Option, request: PlanRequest) -> bool:
    if request.objective == "latency":
        paced = request.workload.output_tokens > 1
        best, own = ((option.tpot_s if paced else option.ttft_s).value for option in (lead, other))
        return own <= best * TIED
    if request.objective == "chips":
        return other.chips == lead.chips
    if request.objective == "cost":
        best, own = (option.usd_per_million_output_tokens or 0.0 for option in (lead, other))
        return own <= best * TIED
    return other.output_tokens_per_s_per_chip.value * TIED >= lead.output_tokens_per_s_per_chip.value


def _pareto(found: Sequence[Found], request: PlanRequest) -> tuple[Option, ...]:
    points: list[tuple[float, float, Found, Deployments, int]] = []
    if request.workload.output_tokens <= 1:
        return ()  # one token has no time per output token to trade
    for one in found:
        for kind in one.kinds:
            good = kind.take(carries_load(kind, request, one.scene.devices))
            speed = 1.0 / good.tpot_s
            output = good.requests_per_s * request.workload.output_tokens
            rate = output / chips_counted(good.devices, request, one.scene.chips)
            best = front(speed, rate, 4 * FRONT_POINTS)
            points += [(float(speed[i]), float(rate[i]), one, good, int(i)) for i in best]
    chosen = front(np.array([p[0] for p in points]), np.array([p[1] for p in points]), FRONT_POINTS)
    options: list[Option] = []
    for i in chosen:
        _, _, one, kind, index = points[int(i)]
        options.append(option_of(one.scene, kind, index, request))
    return tuple(options)


def _figures(figures: Iterable[Figure], catalog: Records) -> tuple[FigureUse, ...]:
    seen: dict[tuple[str, str], FigureUse] = {}
    for figure in figures:
        key = (figure.record, figure.key)
        if key not in seen:
            seen[key] = FigureUse(figure=figure, source=catalog.source(figure.source))
    return tuple(seen.values())


def _fingerprint(model: Model, found: Sequence[Found]) -> str:
    # What this plan stood on and nothing that was read beside it: the model, its systems, rates, calibration.
    used = [
        (one.scene.system, sorted((use.record, use.key, use.printed, float(use)) for use in one.figures),
         one.scene.pricer.engine, one.scene.pricer.parameters)
        for one in found
    ]  # fmt: skip
    return hashlib.sha256(repr((model, used)).encode()).hexdigest()[:16]
