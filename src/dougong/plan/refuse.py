"""Refusals of whole questions and of what is asked beyond the layouts: each with its numbers and what would help."""

from __future__ import annotations

from typing import Any

import numpy as np

from dougong import units
from dougong.catalog.hardware import System
from dougong.catalog.models import Model
from dougong.cost.machine import Machine
from dougong.plan.money import Rates
from dougong.plan.search import Deployments
from dougong.plan.space import Space
from dougong.plan.types import PlanRequest, Refusal
from dougong.workload import Workload

Array = Any


def context_of(model: Model, request: PlanRequest) -> int:
    """Tokens one sequence may have [token]: the user's word, else the model's; 0 where nobody says."""
    return request.max_context_tokens or model.max_context_tokens


def context_refusals(model: Model, request: PlanRequest) -> list[Refusal]:
    """A no to requests that are longer than the model's context."""
    asked, most = request.workload.full_context, context_of(model, request)
    if asked <= most or not most:
        return []
    detail = (
        f"a request has {asked:,.0f} tokens in the end, and the context of {model.name} is {most:,} tokens"
    )
    remedy = "a shorter request, or --max-context N where the engine extends positions (as YaRN does)"
    return [Refusal(reason="context", count=1, example="", detail=detail, remedy=remedy)]


def price_refusals(system: System, request: PlanRequest, rates: Rates) -> list[Refusal]:
    """A no to ordering by cost where nobody says what a chip costs."""
    if request.objective != "cost" or rates.usd_per_chip_s is not None:
        return []
    detail = f"the objective is cost, and no price per chip-hour of {system.chip.name} is on record"
    remedy = "give --usd-per-chip-hour, or another objective"
    return [Refusal(reason="price", count=1, example="", detail=detail, remedy=remedy)]


def no_room(space: Space, workload: Workload, devices: int) -> Refusal:
    """A no to more users at once than the devices hold caches for."""
    table = space.table
    held = space.most[:, 0] * table.attn_dp * table.pp * (devices // table.devices)
    row = int(np.argmax(held))
    return Refusal(
        reason="load",
        count=len(table),
        example=str(table.layout(row)),
        detail=(
            f"the caches of {_count(workload.users)} requests of {workload.full_context:,.0f} tokens do not fit: "
            f"the devices at hand hold {held[row]:,.0f} at once"
        ),
        remedy="more chips, fewer users, a shorter context, or a narrower KV cache",
    )


def _count(number: float | None) -> str:
    return "the" if number is None else f"{number:,.0f}"


def no_pools(devices: int) -> Refusal:
    """A no to two pools where there is room for one."""
    return Refusal(
        reason="devices",
        count=1,
        example="prefill + decode",
        detail=f"two pools of replicas that fit do not go into {devices:,} device{'' if devices == 1 else 's'}",
        remedy="more chips, or --mode colocated",
    )


def nothing_to_decode() -> Refusal:
    """A no to a decode pool that has nothing to do."""
    return Refusal(
        reason="one-token",
        count=1,
        example="prefill + decode",
        detail="the only output token comes with the prompt's last step: a decode pool has nothing to do",
        remedy="--mode colocated, or more output tokens",
    )


def unlinked(machine: Machine, pairs: int) -> Refusal:
    """A no to pools with an unknown link between them."""
    reasons = [
        f"{unknown.record}: {unknown.key} is unknown ({unknown.reason})"
        for unknown in machine.unknown_links.values()
    ]
    return Refusal(
        reason="pool-link",
        count=pairs,
        example="prefill + decode",
        detail=f"the cache must move between the pools, and {'; '.join(reasons)}",
        remedy="give the link's bandwidth, with its source, in a catalog file of your own, or --mode colocated",
    )


def limit_refusals(kind: Deployments, request: PlanRequest, carried: Array, space: Space) -> list[Refusal]:
    """What the latency limits and the load turned away."""
    out: list[Refusal] = []
    for reason, values, bound in (
        ("tpot-limit", kind.tpot_s, request.limit.tpot_s),
        ("ttft-limit", kind.ttft_s, request.limit.ttft_s),
    ):
        if bound is not None and (over := values > bound).any():
            i = int(np.argmin(np.where(over, values, np.inf)))
            takes, limit = units.show_apart(float(values[i]), bound, "s")
            out.append(
                Refusal(
                    reason=reason,
                    count=int(over.sum()),
                    example=str(space.table.layout(int(kind.decode.row[i]))),
                    detail=f"{kind.mode}: the nearest takes {takes}, the limit is {limit}",
                    remedy="a smaller batch, a wider layout, or a looser limit",
                )
            )
    if not carried.all():
        i = int(np.argmax(kind.requests_per_s))
        out.append(
            Refusal(
                reason="load",
                count=int((~carried).sum()),
                example=str(space.table.layout(int(kind.decode.row[i]))),
                detail=(
                    f"{kind.mode}: the most that fits here is {kind.requests_per_s[i]:.3g} requests/s "
                    f"and {kind.users[i]:,.0f} users"
                ),
                remedy="more chips, or a smaller load",
            )
        )
    return out


def shortfall(kind: Deployments, request: PlanRequest) -> Array:
    """By what factor each deployment misses a limit or the load, at worst [1]; 1 misses nothing."""
    limit, workload = request.limit, request.workload
    over = np.ones(len(kind))
    for value, bound in ((kind.ttft_s, limit.ttft_s), (kind.tpot_s, limit.tpot_s)):
        if bound is not None:
            over = np.maximum(over, value / bound)
    if workload.rate_requests_per_s is not None:
        over = np.maximum(over, workload.rate_requests_per_s / kind.requests_per_s)
    if workload.users is not None:
        over = np.maximum(over, workload.users / (kind.decode_replicas * kind.decode.users))
    return over
