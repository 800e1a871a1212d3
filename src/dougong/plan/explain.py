"""Why the winner wins: what binds it, what a little more of each thing buys, and where the others lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dougong.cost.machine import Machine
from dougong.plan.options import Scene
from dougong.plan.rank import carries_load, keeps_limits
from dougong.plan.search import (
    FULL_LOAD,
    PREFILL_LOAD,
    Deployments,
    colocated_deployments,
    decode_candidates,
    disaggregated_deployments,
    prefill_candidates,
)
from dougong.plan.space import Space, memory_of
from dougong.plan.types import Explanation, Family, Layout, Option, PlanRequest, Sensitivity
from dougong.workload import Limit

MORE = 1.1
_NEIGHBOURS = 48


def explain(
    scene: Scene, kinds: Sequence[Deployments], options: Sequence[Option], request: PlanRequest
) -> Explanation:
    """Explain the first of ``options``."""
    winner = options[0]
    gains = _sensitivities(scene, kinds, request, winner)
    return Explanation(
        binding=_binding(scene, winner, request, gains),
        sensitivities=gains,
        families=_families(scene, kinds, request, winner),
        ties=sum(option.tie for option in options),
    )


def _binding(scene: Scene, winner: Option, request: PlanRequest, gains: Sequence[Sensitivity]) -> str:
    limit = request.limit
    decode = winner.pools[-1]
    batch = decode.sequences_per_replica / (decode.layout.attn_dp * decode.layout.pp)
    full = decode.memory.capacity - decode.memory.used < decode.memory.kv_cache / max(batch, 1.0) * max(
        1.0, 0.13 * batch
    )
    best = max(gains, key=lambda gain: gain.gain_frac, default=None)
    if limit.tpot_s is not None and winner.tpot_s.value > 0.9 * limit.tpot_s:
        return f"the TPOT limit: {winner.tpot_s.value * 1e3:.3g} of {limit.tpot_s * 1e3:.3g} ms are used"
    if limit.ttft_s is not None and winner.ttft_s.value > 0.9 * limit.ttft_s:
        return f"the TTFT limit: {winner.ttft_s.value * 1e3:.3g} of {limit.ttft_s * 1e3:.3g} ms are used"
    if full:
        return f"device memory: no room for a larger batch than {batch:,.0f} sequences per attention group"
    if request.workload.rate_requests_per_s is not None or request.workload.users is not None:
        return "the load: the system would carry more"
    if best is not None and best.gain_frac > 0.005:
        return f"{best.knob}: larger batches no longer pay"
    return "nothing alone: gains are spread over several resources"


def _sensitivities(
    scene: Scene, kinds: Sequence[Deployments], request: PlanRequest, winner: Option
) -> tuple[Sensitivity, ...]:
    rows = _neighbourhood(kinds, request, scene)
    base = _best(scene, scene.pricer.machine, rows, request, winner.mode)
    if base <= 0:
        return ()
    machine = scene.pricer.machine
    levels = machine.levels
    tries: list[tuple[str, Machine, PlanRequest]] = [
        ("memory bandwidth", replace(machine, bandwidth=machine.bandwidth * MORE), request),
        (
            "compute",
            replace(machine, peaks={dtype: peak * MORE for dtype, peak in machine.peaks.items()}),
            request,
        ),
        (
            "link bandwidth",
            replace(
                machine, levels=tuple(replace(level, bandwidth=level.bandwidth * MORE) for level in levels)
            ),
            request,
        ),
        ("memory capacity", replace(machine, capacity=machine.capacity * MORE), request),
    ]
    limit = request.limit
    if limit.tpot_s is not None:
        tries.append(
            (
                "TPOT limit",
                machine,
                replace(request, limit=Limit(ttft_s=limit.ttft_s, tpot_s=limit.tpot_s * MORE)),
            )
        )
    if limit.ttft_s is not None:
        tries.append(
            (
                "TTFT limit",
                machine,
                replace(request, limit=Limit(ttft_s=limit.ttft_s * MORE, tpot_s=limit.tpot_s)),
            )
        )
    return tuple(
        Sensitivity(knob=knob, gain_frac=_best(scene, changed, rows, asked, winner.mode) / base - 1.0)
        for knob, changed, asked in tries
    )


def _neighbourhood(kinds: Sequence[Deployments], request: PlanRequest, scene: Scene) -> np.ndarray:
    # Layouts near the top: enough to let the winner change when a resource grows, few enough to be quick.
    rows: list[np.ndarray] = []
    for kind in kinds:
        rate = kind.requests_per_s / kind.devices * (0.25 + 0.75 * keeps_limits(kind, request))
        top = np.argsort(-rate)[: 4 * _NEIGHBOURS]
        rows.append(kind.decode.row[top])
        if kind.prefill is not None:
            rows.append(kind.prefill.row[top])
    order = list(dict.fromkeys(int(row) for group in rows for row in group))
    return np.array(order[: 2 * _NEIGHBOURS], dtype=int)


def _best(scene: Scene, machine: Machine, rows: np.ndarray, request: PlanRequest, mode: str) -> float:
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
        found = colocated_deployments(small, pricer, request, scene.devices, scene.acceptance)
    else:
        load = FULL_LOAD if request.limit.ttft_s is None else PREFILL_LOAD
        decode = decode_candidates(
            small, pricer, request.workload, scene.acceptance, scene.devices, alone=True
        )
        prefill = prefill_candidates(small, pricer, request.workload, load)
        if not len(decode) or not len(prefill):
            return 0.0
        found = disaggregated_deployments(prefill, decode, request, scene.devices, 0.0, load)
    good = found.take(keeps_limits(found, request) & carries_load(found, request, scene.devices))
    bounded = request.workload.rate_requests_per_s is not None or request.workload.users is not None
    rate = good.requests_per_s / (good.devices if bounded else float(scene.devices))
    return float(np.max(rate, initial=0.0))


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
    best: dict[str, tuple[float, float, float, float]] = {}
    table, per_chip = scene.decode_space.table, float(scene.pricer.machine.devices_per_chip)
    output = request.workload.output_tokens
    for kind in kinds:
        used, where = np.unique(kind.decode.row, return_inverse=True)
        named = [family_of(kind.mode, table.layout(int(row))) for row in used]
        vocabulary = sorted(set(named))
        code = np.array([vocabulary.index(name) for name in named])[where]
        kept = keeps_limits(kind, request) & carries_load(kind, request, scene.devices)
        rate = kind.requests_per_s * output / kind.devices * per_chip
        for number, name in enumerate(vocabulary):
            mine = code == number
            good = mine & kept
            top = float(np.max(rate[good], initial=0.0))
            best[name] = (
                top,
                float(kind.tpot_s[mine].min()),
                float(kind.ttft_s[mine].min()),
                float(rate[mine].max()),
            )
    own = family_of(winner.mode, winner.pools[-1].layout)
    lead = best[own][0] if own in best else 0.0
    return tuple(
        Family(
            name=name,
            best_tokens_per_s_per_chip=top,
            verdict="wins" if name == own else _verdict(top, lead, tpot, ttft, free, request),
        )
        for name, (top, tpot, ttft, free) in sorted(best.items(), key=lambda item: -item[1][0])
    )


def _verdict(top: float, lead: float, tpot: float, ttft: float, free: float, request: PlanRequest) -> str:
    limit = request.limit
    if top > 0:
        return (
            "a near tie"
            if top > 0.95 * lead
            else f"{(1 - top / lead) * 100:.0f} % less throughput per chip"
            if lead
            else "loses"
        )
    if limit.tpot_s is not None and tpot > limit.tpot_s:
        return f"its fastest step gives {tpot * 1e3:.3g} ms per token, over the limit"
    if limit.ttft_s is not None and ttft > limit.ttft_s:
        return f"its first token takes {ttft * 1e3:.3g} ms at best, over the limit"
    return f"limits or load are not met together (without them {free:,.0f} tokens/s per chip)"
