"""One step of one candidate, operator by operator, for people."""

from __future__ import annotations

import math
from dataclasses import replace

from dougong.cost.machine import Machine
from dougong.cost.pricing import seconds
from dougong.cost.step import Pricer
from dougong.ops import Collective, Operator, Ranks, Tokens, lower
from dougong.plan.types import OperatorCost, StepReport

_FORMULA = {
    "gemm": "2 m n k FLOP; m n k = {m} x {n:,.0f} x {k:,.0f}",
    "grouped_gemm": "{groups} experts read, {m} tokens each; n k = {n:,.0f} x {k:,.0f}",
    "decode_attention": "{parallel:,.0f} sequence x head streams over {n:,.0f} cached entries",
    "prefill_attention": "{m} prompt tokens, each over {n:,.0f} entries on average",
    "linear_attention": "state read and written once per sequence",
    "elementwise": "{m} rows, ten passes of the residual",
    "all_reduce": "alpha + 2 (g-1)/g V / beta, V = {bytes_out:,.0f} B over {ranks:,.0f} devices",
    "all_gather": "alpha + (g-1) V / beta, V = {bytes_out:,.0f} B over {ranks:,.0f} devices",
    "reduce_scatter": "alpha + (g-1)/g V / beta, V = {bytes_out:,.0f} B over {ranks:,.0f} devices",
    "all_to_all": "alpha + V / beta, V = {bytes_out:,.0f} B out of each of {ranks:,.0f} devices",
    "point_to_point": "alpha + V / beta, V = {bytes_out:,.0f} B",
}


def breakdown(
    pricer: Pricer, phase: str, ranks: Ranks, pp: int, tokens: Tokens, *, decode: bool, prefill: bool
) -> StepReport:
    """Price each operator apart and name what bounds it; all layers together, one device, all stages."""
    precise, machine = pricer.precise, pricer.machine
    operators = lower(
        precise.model,
        tokens,
        ranks,
        precise.dtypes,
        decode=decode,
        prefill=prefill,
        imbalance=pricer.expert_load(ranks),
    )
    total = pricer.step(ranks, float(pp), tokens, decode=decode, prefill=prefill)
    whole = float(total.total)
    rows = [row for operator in operators if (row := _row(pricer, machine, operator, whole)) is not None]
    merged = _merge(rows)
    groups: dict[str, tuple[float, str]] = {}
    for name in dict.fromkeys(row.group for row in merged):
        mine = [row for row in merged if row.group == name]
        bounds: dict[str, float] = {}
        for row in mine:
            bounds[row.bound] = bounds.get(row.bound, 0.0) + row.seconds
        groups[name] = (math.fsum(row.seconds for row in mine), max(bounds, key=lambda bound: bounds[bound]))
    groups["host"] = (float(total.host), "host")
    if float(total.bubble) > 0:
        groups["waiting for the fullest stage"] = (float(total.bubble), "host")
    rest = whole - math.fsum(spent for spent, _ in groups.values())
    if decode and pricer.draft_tokens:
        bare = replace(pricer, draft_tokens=0).step(ranks, float(pp), tokens, decode=decode, prefill=prefill)
        drafting = float(total.total - total.host) - float(bare.total - bare.host)
        groups["drafting"] = (drafting, "compute")
        rest -= drafting
    if abs(rest) > 1e-9 * whole:
        groups["between stages" if rest > 0 else "hidden exchange"] = (rest, "scale_up")
    return StepReport(
        phase=phase,
        seconds=whole,
        groups=groups,
        operators=tuple(sorted(merged, key=lambda row: -row.seconds)),
    )


def _row(pricer: Pricer, machine: Machine, operator: Operator, whole: float) -> OperatorCost | None:
    spent = (
        float(seconds(operator, machine, pricer.engine.in_graph(pricer.parameters), pricer.engine))
        * operator.count
    )
    if spent <= 0 or math.isnan(spent):
        return None
    values = {name: getattr(operator, name) for name in operator.__dataclass_fields__}
    numbers = {name: float(v) if not isinstance(v, str) else v for name, v in values.items()}
    few = {name: _count(float(values[name])) for name in ("m", "groups") if name in values}
    formula = _FORMULA[operator.kind].format(**{**numbers, **few})
    if isinstance(operator, Collective):
        return OperatorCost(
            name=operator.name,
            group=operator.group,
            kind=operator.kind,
            count=operator.count,
            seconds=spent,
            share=spent / whole,
            bound=_plane(machine, operator),
            flop=0.0,
            bytes=0.0,
            message_bytes=float(operator.bytes_out) * operator.count,
            dtype="",
            compute_frac=0.0,
            memory_frac=0.0,
            formula=formula,
        )
    flop, moved = (
        float(operator.flop) * operator.count,
        float(operator.weight_bytes + operator.io_bytes) * operator.count,
    )
    compute_s = flop / machine.peak(operator.dtype) if flop else 0.0
    memory_s = moved / machine.bandwidth
    # A kernel that takes four times its roofline is held up by start-up, not by the chip.
    bound = (
        "host" if spent > 4 * max(compute_s, memory_s) else "compute" if compute_s > memory_s else "memory"
    )
    return OperatorCost(
        name=operator.name,
        group=operator.group,
        kind=operator.kind,
        count=operator.count,
        seconds=spent,
        share=spent / whole,
        bound=bound,
        flop=flop,
        bytes=moved,
        message_bytes=0.0,
        dtype=operator.dtype,
        compute_frac=compute_s / spent,
        memory_frac=memory_s / spent,
        formula=formula,
    )


def _count(number: float) -> str:
    # A share of a token is told in three digits, many tokens as a whole number.
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _plane(machine: Machine, operator: Collective) -> str:
    span = operator.ranks * operator.stride
    crossed = [level for level in machine.levels if level.size >= span] or [machine.levels[-1]]
    return "scale_out" if crossed[0].scale_out else "scale_up"


def _merge(rows: list[OperatorCost]) -> list[OperatorCost]:
    # Layer kinds of one model share operator names; people want one line for each.
    merged: dict[tuple[str, str], OperatorCost] = {}
    for row in rows:
        key = (row.name, row.group)
        if key not in merged:
            merged[key] = row
            continue
        old = merged[key]
        spent = old.seconds + row.seconds
        merged[key] = OperatorCost(
            name=row.name,
            group=row.group,
            kind=row.kind,
            count=old.count + row.count,
            seconds=spent,
            share=old.share + row.share,
            bound=old.bound if old.seconds >= row.seconds else row.bound,
            flop=old.flop + row.flop,
            bytes=old.bytes + row.bytes,
            message_bytes=old.message_bytes + row.message_bytes,
            dtype=old.dtype,
            compute_frac=(old.compute_frac * old.seconds + row.compute_frac * row.seconds) / spent,
            memory_frac=(old.memory_frac * old.seconds + row.memory_frac * row.seconds) / spent,
            formula=old.formula,
        )
    return list(merged.values())
