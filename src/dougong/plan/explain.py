"""Why the winner wins: what binds it, what a little more of each thing buys, and where the others lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from dougong import units
from dougong.cost.machine import Machine
from dougong.plan.options import Scene
from dougong.plan.pools import disaggregated_deployments
from dougong.plan.rank import (
    carries_load,
    chips_counted,
    keeps_limits,
    lower_is_better,
    measure,
    measure_name,
    merit,
)
from dougong.plan.search import Deployments, colocated_deployments
from dougong.plan.space import BATCHES, Space, memory_of
from dougong.plan.types import Explanation, Family, Layout, Option, PlanRequest, Sensitivity
from dougong.workload import Limit

MORE = 1.1
FELT = 0.005
"""A smaller gain from ten per cent more of something does not bind [1]."""
_NEIGHBOURS = 48


def explain(
    scene: Scene, kinds: Sequence[Deployments], options: Sequence[Option], request: PlanRequest
) -> Explanation:
    """Explain the first of ``options``."""
    winner = options[0]
    gains = _sensitivities(scene, kinds, request, winner)
    return Explanation(
        binding=binding(winner, request, gains),
        measure=measure_name(request),
        sensitivities=gains,
        families=_families(scene, kinds, request, winner),
        ties=sum(option.tie for option in options),
    )


def binding(winner: Option, request: PlanRequest, gains: Sequence[Sensitivity]) -> str:
    """What stops the winner from being better: what the gains show, or the step that is next where none does."""
    best = max(gains, key=lambda gain: gain.gain_frac, default=None)
    if best is not None and best.gain_frac > FELT:
        return f"{best.knob}: 10 % more of it buys most{_used(best.knob, winner, request)}"
    loaded = request.workload.rate_requests_per_s is not None or request.workload.users is not None
    if loaded and request.objective != "latency":
        return "the load: it is carried, and 10 % more of no one thing does it better"
    return f"nothing that 10 % more would loosen{_next_step(winner, request)}"


def _used(knob: str, winner: Option, request: PlanRequest) -> str:
    value, limit = {
        "TPOT limit": (winner.tpot_s.value, request.limit.tpot_s),
        "TTFT limit": (winner.ttft_s.value, request.limit.ttft_s),
    }.get(knob, (0.0, None))
    if limit is None:
        return ""
    return f"; the winner uses {units.show(value, 's')} of {units.show(limit, 's')}"


def _next_step(winner: Option, request: PlanRequest) -> str:
    # Batches and replicas are whole numbers: a tenth more may not reach the next one.
    decode = winner.pools[-1]
    if request.workload.output_tokens <= 1 or request.objective == "latency":
        return ""
    memory, batch = decode.memory, decode.sequences_per_replica / (decode.layout.attn_dp * decode.layout.pp)
    following = next((after for before, after in pairwise(BATCHES) if before <= batch < after), None)
    if following is None:
        return ""
    free = memory.capacity_bytes - memory.used_bytes
    lacking = memory.kv_cache_bytes / max(batch, 1.0) * (float(following) - batch) - free
    if lacking <= 0:
        return ""
    return (
        f": the next larger batch, {following:,.0f} sequences per attention group where {batch:,.0f} run, "
        f"needs {units.show(lacking, 'byte')} more on each device"
    )


def _sensitivities(
    scene: Scene, kinds: Sequence[Deployments], request: PlanRequest, winner: Option
) -> tuple[Sensitivity, ...]:
    rows = _neighbourhood(kinds, request, scene)
    machine, limit = scene.pricer.machine, request.limit
    base = _best(scene, machine, rows, request, winner.mode)
    if base is None or base <= 0:
        return ()
    wider = tuple(replace(level, bandwidth=level.bandwidth * MORE) for level in machine.levels)
    faster = {dtype: peak * MORE for dtype, peak in machine.peaks.items()}
    # What a chip sustains grows with what it has: the same share of a larger rate.
    copies = {what: rate * (MORE if what == "memory" else 1.0) for what, rate in machine.sustained.items()}
    gemms = {what: rate * (1.0 if what == "memory" else MORE) for what, rate in machine.sustained.items()}
    tries: list[tuple[str, Machine, PlanRequest]] = [
        ("memory bandwidth", replace(machine, bandwidth=machine.bandwidth * MORE, sustained=copies), request),
        ("compute", replace(machine, peaks=faster, sustained=gemms), request),
        ("link bandwidth", replace(machine, levels=wider), request),
        ("memory capacity", replace(machine, capacity=machine.capacity * MORE), request),
    ]
    if limit.tpot_s is not None:
        looser = Limit(ttft_s=limit.ttft_s, tpot_s=limit.tpot_s * MORE)
        tries.append(("TPOT limit", machine, replace(request, limit=looser)))
    if limit.ttft_s is not None:
        looser = Limit(ttft_s=limit.ttft_s * MORE, tpot_s=limit.tpot_s)
        tries.append(("TTFT limit", machine, replace(request, limit=looser)))
    down = lower_is_better(request)
    gains: list[Sensitivity] = []
    for knob, changed, asked in tries:
        reached = _best(scene, changed, rows, asked, winner.mode)
        if reached is not None:
            gain = 1.0 - reached / base if down else reached / base - 1.0
            gains.append(Sensitivity(knob=knob, gain_frac=gain))
    return tuple(gains)


def _neighbourhood(kinds: Sequence[Deployments], request: PlanRequest, scene: Scene) -> np.ndarray:
    # Layouts near the top: enough to let the winner change when a resource grows, few enough to be quick.
    rows: list[np.ndarray] = []
    for kind in kinds:
        kept = keeps_limits(kind, request) & carries_load(kind, request, scene.devices)
        if request.objective in ("throughput", "cost"):
            score = kind.requests_per_s / kind.devices * (0.25 + 0.75 * kept)
        else:
            score = np.where(kept, merit(kind, request, scene.rates, scene.chips), -np.inf)
        top = np.argsort(-score)[: 4 * _NEIGHBOURS]
        rows.append(kind.decode.row[top])
        if kind.prefill is not None:
            rows.append(kind.prefill.row[top])
    order = list(dict.fromkeys(int(row) for group in rows for row in group))
    return np.array(order[: 2 * _NEIGHBOURS], dtype=int)


def _best(scene: Scene, machine: Machine, rows: np.ndarray, request: PlanRequest, mode: str) -> float | None:
    # The best measure of the objective among these layouts; None where nothing keeps what is asked.
    pricer = replace(scene.pricer, machine=machine)
    space = scene.decode_space
    ranks = type(space.ranks)(
        **{name: getattr(space.ranks, name)[rows] for name in ("tp", "cp", "attn_dp", "ep", "expert_tp")}
    )
    pp = space.pp[rows]
    prints = memory_of(pricer, ranks, pp, request.workload, pricer.engine.prefill_step_tokens)
    small = Space(
        table=space.table.take(rows),
        ranks=ranks,
        pp=pp,
        prints=prints,
        most=np.broadcast_to(prints.sequences, pp.shape),
        refusals=(),
        enumerated=0,
    )
    if mode == "colocated":
        found = colocated_deployments(small, pricer, request, scene.devices, scene.acceptance, scene.launches)
    else:
        found = disaggregated_deployments(
            small, pricer, request, scene.devices, scene.acceptance, scene.launches
        )
    good = found.take(keeps_limits(found, request) & carries_load(found, request, scene.devices))
    if not len(good):
        return None
    values = measure(good, request, scene.rates, scene.chips)
    return float(values.min() if lower_is_better(request) else values.max())


def family_of(mode: str, layout: Layout) -> str:
    """The family a layout belongs to, in words."""
    parts = [mode]
    if layout.attn_dp > 1:
        parts.append(
            "attention data parallel, experts parallel"
            if layout.ep > 1
            else "attention data parallel, experts tensor parallel"
        )
    elif layout.ep > 1:
        parts.append("tensor parallel with expert parallel")
    else:
        parts.append("tensor parallel" if layout.tp > 1 else "one device")
    if layout.pp > 1:
        parts.append("pipelined")
    if layout.cp > 1:
        parts.append("context parallel")
    return ", ".join(parts)


def _families(
    scene: Scene, kinds: Sequence[Deployments], request: PlanRequest, winner: Option
) -> tuple[Family, ...]:
    best: dict[str, _Best] = {}
    table, output = scene.decode_space.table, request.workload.output_tokens
    for kind in kinds:
        used, where = np.unique(kind.decode.row, return_inverse=True)
        named = [family_of(kind.mode, table.layout(int(row))) for row in used]
        vocabulary = sorted(set(named))
        code = np.array([vocabulary.index(name) for name in named])[where]
        kept = keeps_limits(kind, request) & carries_load(kind, request, scene.devices)
        score = np.where(kept, merit(kind, request, scene.rates, scene.chips), -np.inf)
        worth = measure(kind, request, scene.rates, scene.chips)
        rate = kind.requests_per_s * output / chips_counted(kind.devices, request, scene.chips)
        for number, name in enumerate(vocabulary):
            mine = np.flatnonzero(code == number)
            top = mine[np.argmax(score[mine])]
            best[name] = _Best(
                score=float(score[top]),
                worth=float(worth[top]),
                rate=float(rate[top]) if kept[top] else 0.0,
                tpot_s=float(kind.tpot_s[mine].min()),
                ttft_s=float(kind.ttft_s[mine].min()),
                free=float(rate[mine].max()),
            )
    own = family_of(winner.mode, winner.pools[-1].layout)
    return tuple(
        Family(
            name=name,
            best_tokens_per_s_per_chip=found.rate,
            verdict="wins" if name == own else _verdict(found, best[own], request),
        )
        for name, found in sorted(best.items(), key=lambda item: (-item[1].score, -item[1].free))
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Best:
    """The best of one family: its score and what it goes by; latencies and rate are the family's own best."""

    score: float
    worth: float
    rate: float
    tpot_s: float
    ttft_s: float
    free: float


def _verdict(found: _Best, lead: _Best, request: PlanRequest) -> str:
    limit = request.limit
    if found.rate > 0:
        if request.objective == "chips":
            more = found.worth - lead.worth
            return f"{more:,.0f} more chip{'' if more == 1 else 's'}" if more else "as few chips"
        down = lower_is_better(request)
        worse = found.worth / lead.worth - 1.0 if down else 1.0 - found.worth / lead.worth
        if worse < 0.05:
            return "a near tie"
        of = {"throughput": "less throughput per chip", "cost": "more USD per token"}
        return f"{worse * 100:.0f} % {of.get(request.objective, f'more {measure_name(request)}')}"
    if limit.tpot_s is not None and found.tpot_s > limit.tpot_s:
        return f"its fastest step gives {units.show(found.tpot_s, 's')} per token, over the limit"
    if limit.ttft_s is not None and found.ttft_s > limit.ttft_s:
        return f"its first token takes {units.show(found.ttft_s, 's')} at best, over the limit"
    return f"limits or load are not met together (without them {found.free:,.0f} tokens/s per chip)"
