"""What a chip without losses would do: the yardstick that a planner has to beat.

Notes
-----
Each operator takes ``max(FLOP / peak, bytes / bandwidth)``, each collective its bytes over the link, and nothing
else takes time: no start-up, no host, no latency, every efficiency one. The operators, their counts and the way steps
make a request are those of the plan, so the difference to a prediction is what the calibration says.

References
----------
Williams, Waterman, Patterson, Roofline, CACM 52(4), 2009.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from dougong.calibration import Parameters
from dougong.calibration.engines import EngineClass, engine_classes
from dougong.cost.links import collective_seconds
from dougong.cost.machine import Machine
from dougong.cost.step import Pricer, Spent
from dougong.ops import Collective, Operator
from dougong.ops.operators import Number
from dougong.plan.evaluate import Prepared, answer, ranks_of
from dougong.plan.serving import colocated
from dougong.plan.types import Layout

Floats = NDArray[np.float64]

_LOSSLESS = Parameters(**{field.name: float(not field.name.endswith("_s")) for field in fields(Parameters)})


def lossless(engine: EngineClass) -> EngineClass:
    """The engine class without overhead; what it decides (step budget, memory share) stays."""
    times = {field.name: 0.0 for field in fields(EngineClass) if field.name.endswith("_s")}
    slow = {field.name: 1.0 for field in fields(EngineClass) if field.name.endswith("_slowdown")}
    return replace(
        engine, **times, **slow, fixed_frac=0.0, widening_frac=1.0, overlap_frac=0.0, lockstep_frac=0.0, imbalance=1.0,
        micro_batches=False,
    )  # fmt: skip


def without_latency(machine: Machine) -> Machine:
    """The machine with links that take no time for a message of no bytes."""
    return replace(machine, levels=tuple(replace(level, latency=0.0) for level in machine.levels))


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline(Pricer):
    """Prices steps at the roofline; make it with :meth:`of`."""

    @classmethod
    def of(cls, pricer: Pricer) -> Roofline:
        """The roofline under a pricer's steps."""
        return cls(
            precise=pricer.precise,
            machine=without_latency(pricer.machine),
            parameters=_LOSSLESS,
            engine=lossless(pricer.engine),
            imbalance=1.0,
            draft_tokens=pricer.draft_tokens,
        )

    def price(self, operators: Iterable[Operator]) -> Spent:
        """Seconds of operators at the roofline, all layers together [s]."""
        spent = {"compute": 0.0, "reduce": 0.0, "exchange": 0.0}
        for operator in operators:
            part = "compute"
            if isinstance(operator, Collective):
                part = "exchange" if operator.kind == "all_to_all" else "reduce"
            spent[part] = spent[part] + operator.count * floor_s(operator, self.machine)
        return Spent(**spent)


def floor_s(operator: Operator, machine: Machine) -> Number:
    """Least seconds of one instance of an operator on one device [s]."""
    if isinstance(operator, Collective):
        return collective_seconds(operator, machine, _LOSSLESS, 1.0)
    moved = (operator.weight_bytes + operator.io_bytes) / machine.bandwidth
    if operator.kind == "elementwise":
        return moved
    return np.maximum(operator.flop / machine.peak(operator.dtype), moved)


def times(program: Prepared) -> tuple[Floats, Floats]:
    """TTFT and TPOT of co-located questions at the roofline, each at the batch the plan sees [s].

    Other modes are NaN: what a pool of prefill replicas leaves to decode depends on what it loses.
    """
    count = len(program.questions)
    first = program.questions[0]
    if first.mode != "colocated":
        return np.full(count, np.nan), np.full(count, np.nan)
    engine = engine_classes()[first.engine]
    pricer = Pricer(
        precise=program.precise,
        machine=program.machine,
        parameters=_LOSSLESS,
        engine=engine,
        draft_tokens=first.draft_tokens,
    )
    ranks, pp = ranks_of([question.decode or Layout() for question in program.questions])
    batch = np.array([[given.batch or 1.0] for given in answer(program)])
    served = colocated(Roofline.of(pricer), ranks, pp, program.shape, batch, first.acceptance)
    ttft, tpot = (np.broadcast_to(value, (count, 1))[:, 0] for value in (served.ttft_s, served.tpot_s))
    return np.asarray(ttft, dtype=float), np.asarray(tpot, dtype=float)
