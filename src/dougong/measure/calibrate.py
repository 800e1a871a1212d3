"""Folds measured runs into the calibration of one machine and engine, and says how far off it was and is.

What is fitted is physical and global, six numbers of the engine class on this machine, never one per case: host work of
a step, of a step with prompts, of a sequence in it and of a request, and how much longer the engine's compute- and
memory-bound work takes than the operators that were probed. Each is pulled to where it stood.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from dougong.calibration.engines import EngineClass
from dougong.calibration.intervals import Band, quantiles
from dougong.calibration.local import Local
from dougong.catalog.hardware import System
from dougong.catalog.models import Model
from dougong.cost.machine import machine_of
from dougong.cost.precision import apply
from dougong.cost.step import Pricer
from dougong.errors import InputError
from dougong.measure.descent import descend
from dougong.metrics import Run, summarise
from dougong.ops import Ranks
from dougong.plan.serving import colocated
from dougong.workload import Workload

BOUNDS: Mapping[str, tuple[float, float]] = {
    "step_s": (1e-6, 1.0),
    "prefill_s": (1e-6, 5.0),
    "sequence_s": (1e-8, 0.1),
    "request_s": (1e-5, 5.0),
    "compute_slowdown": (0.5, 4.0),
    "memory_slowdown": (0.5, 4.0),
}
"""What is fitted, and where it may lie: [s], and time over the probed operators' [1]."""

METRICS: Mapping[str, float] = {"tpot_s": 1.0, "ttft_s": 0.25, "throughput": 1.0}
"""What is compared, with its weight; TTFT hangs on who arrives with whom, so it weighs less."""

PULL = 0.02
"""Price of a parameter that is ``e`` times what it was, in the unit of the loss: a mean of ``|log|`` errors."""
LEAST_RUNS = 3
LEAST_FOR_A_BAND = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run as a prediction is asked for it.

    Attributes
    ----------
    name
        The run's file.
    workload
        Its mean lengths.
    users
        Requests in flight [request].
    measured
        Metric to what was measured: [s], output tokens per second.
    """

    name: str
    workload: Workload
    users: float
    measured: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Told:
    """One case with its predictions before and after, and by a fit that had not seen it.

    Attributes
    ----------
    case
        The run.
    before, after, unseen
        Metric to prediction; ``unseen`` is empty where there are too few runs to leave one out.
    """

    case: Case
    before: Mapping[str, float]
    after: Mapping[str, float]
    unseen: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What runs came to: the new calibration, each run, and the parameters before and after."""

    local: Local
    cases: Sequence[Told]
    before: Mapping[str, float]
    after: Mapping[str, float]


def case_of(run: Run) -> Case:
    """Read a run as a case.

    Raises
    ------
    InputError
        If nothing in it was answered, or the engine did not count its tokens.
    """
    found = summarise(run.requests) if run.requests else None
    if found is None or not (
        found.prompt_tokens
        and found.output_tokens
        and found.ttft_s
        and found.tpot_s
        and found.output_tokens_per_s
    ):
        raise InputError(
            f"{run.source}: no request with counted tokens and their times: nothing to learn from"
        )
    load = run.header.get("load")
    users: object = load.get("users") if isinstance(load, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    in_flight = float(users) if isinstance(users, int) else found.in_flight or 1.0
    cached = sum(record.cached_prompt_tokens or 0 for record in run.requests)
    hit = cached / max(sum(record.prompt_tokens or 0 for record in run.requests), 1)
    return Case(
        name=run.source,
        workload=Workload(
            prompt_tokens=found.prompt_tokens,
            output_tokens=found.output_tokens,
            prefix_hit_frac=min(hit, 0.99),
        ),
        users=max(in_flight, 1.0),
        measured={
            "tpot_s": found.tpot_s.mean.value,
            "ttft_s": found.ttft_s.mean.value,
            "throughput": found.output_tokens_per_s.value,
        },
    )


@dataclass(frozen=True, slots=True)
class Machine:
    """What predictions are made of: a pricer for one device."""

    pricer: Pricer

    @classmethod
    def of(cls, model: Model, system: System, local: Local, *, engine: str, precision: str) -> Machine:
        """The machine of a system of one device.

        Raises
        ------
        InputError
            If the system has several devices: whose loss it is could not be told.
        """
        machine = machine_of(system)
        if machine.num_devices > 1:
            raise InputError(
                f"{system.id} has {machine.num_devices:g} devices; runs calibrate one device at a time",
                hint="measure an engine on one device, and calibrate with that",
            )
        return cls(
            Pricer(
                precise=apply(model, precision, system.chip),
                machine=machine,
                parameters=local.parameters(),
                engine=local.engine_class(engine),
            )
        )

    def predict(self, case: Case, values: Mapping[str, float]) -> dict[str, float]:
        """Metrics of a case with some parameters of the engine class replaced."""
        engine: EngineClass = replace(self.pricer.engine, **values)
        served = colocated(replace(self.pricer, engine=engine), _ONE, 1.0, case.workload, case.users, 1.0)
        rate = float(served.requests_per_s) * case.workload.output_tokens
        return {"tpot_s": float(served.tpot_s), "ttft_s": float(served.ttft_s), "throughput": rate}


def calibrate(machine: Machine, cases: Sequence[Case], local: Local) -> Calibrated:
    """Fit the cases, and again without each.

    Raises
    ------
    InputError
        If there are fewer than :data:`LEAST_RUNS`.
    """
    if len(cases) < LEAST_RUNS:
        raise InputError(
            f"{len(cases)} run{'' if len(cases) == 1 else 's'} cannot hold six parameters: {LEAST_RUNS} are wanted",
            hint="measure a few prompt lengths and numbers of users",
        )
    engine = machine.pricer.engine
    before: dict[str, float] = {name: getattr(engine, name) for name in BOUNDS}
    after = _fit(machine, cases, before, before)
    told: list[Told] = []
    for at, case in enumerate(cases):
        rest = [*cases[:at], *cases[at + 1 :]]
        unseen = machine.predict(case, _fit(machine, rest, before, after)) if len(rest) >= LEAST_RUNS else {}
        told.append(Told(case, machine.predict(case, before), machine.predict(case, after), unseen))
    own: dict[str, Any] = {**local.engine.get(engine.id, {}), **after}
    new = replace(
        local,
        how=f"{local.how.split('; ')[0]}; {len(cases)} runs, {datetime.now(UTC).date().isoformat()}",
        engine={**local.engine, engine.id: own},
        error=_bands(told),
    )
    return Calibrated(local=new, cases=tuple(told), before=before, after=after)


def errors(told: Sequence[Told], which: str, metric: str) -> list[float]:
    """``predicted / measured - 1`` of each case [1]; ``which`` is before, after or unseen."""
    pairs = [(getattr(one, which), one.case.measured) for one in told]
    return [predicted[metric] / measured[metric] - 1 for predicted, measured in pairs if metric in predicted]


def _fit(
    machine: Machine, cases: Sequence[Case], anchor: Mapping[str, float], start: Mapping[str, float]
) -> dict[str, float]:
    def loss(values: Mapping[str, float]) -> float:
        total = 0.0
        for case in cases:
            predicted = machine.predict(case, values)
            total += sum(
                weight * abs(math.log(predicted[metric] / case.measured[metric]))
                for metric, weight in METRICS.items()
            )
        pull = sum(math.log(values[name] / anchor[name]) ** 2 for name in values)
        return total / len(cases) / sum(METRICS.values()) + PULL * pull

    return descend(start, loss, bounds=BOUNDS, step=0.5 if start is anchor else 0.1, least_step=0.03)


def _bands(told: Sequence[Told]) -> dict[str, Band]:
    found: dict[str, Band] = {}
    for metric in METRICS:
        residuals = [math.log(1 + error) for error in errors(told, "unseen", metric)]
        if len(residuals) >= LEAST_FOR_A_BAND:
            low, high = quantiles(residuals)
            found[metric] = Band(min(low, 1.0), max(high, 1.0), len(residuals), "local")
    return found


_ONE = Ranks(tp=1.0, cp=1.0, attn_dp=1.0, ep=1.0, expert_tp=1.0)
