"""Prices every legal candidate in one array program.

A candidate is a (layout, batch) pair with the seconds it yields. Co-located candidates are complete here; what
:mod:`dougong.plan.pools` makes of those of two pools has the same form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dougong.cost.step import Pricer
from dougong.plan.grid import geometric
from dougong.plan.launcher import Launches
from dougong.plan.serving import Served, colocated, decode_pool
from dougong.plan.space import BATCHES, Space
from dougong.plan.types import PlanRequest
from dougong.workload import Workload

Array = Any

REPLICAS = geometric(4096, 40)
"""Numbers of replicas that a given number of users is shared among."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Flat arrays ``[n]`` of priced candidates of one kind."""

    row: Array  # of the space's table
    batch: Array  # sequences per attention group; prefill: prompt tokens per attention group and step
    ttft_s: Array
    tpot_s: Array
    requests_per_s: Array  # one replica
    users: Array  # one replica
    step_s: Array
    devices: Array  # one replica

    def __len__(self) -> int:
        return len(self.row)

    def take(self, chosen: Array) -> Candidates:
        """The candidates chosen by a mask or an index."""
        return Candidates(**{name: getattr(self, name)[chosen] for name in Candidates.__dataclass_fields__})

    @staticmethod
    def of(parts: Sequence[Candidates]) -> Candidates:
        """All candidates of several groups."""
        names = Candidates.__dataclass_fields__
        return Candidates(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployments:
    """Flat arrays ``[n]`` of complete deployments on the available devices."""

    mode: str
    decode: Candidates  # co-located candidates where mode is colocated
    prefill: Candidates | None
    decode_replicas: Array
    prefill_replicas: Array
    requests_per_s: Array  # whole deployment
    users: Array
    ttft_s: Array
    tpot_s: Array
    transfer_s: Array
    devices: Array  # in use
    priced: int = 0
    unlinked: int = 0  # pairs of pools left out for want of a known link between them
    fitting: int = 0  # candidates to decode with
    launchable: int = 0  # of these, what the launcher takes

    def __len__(self) -> int:
        return len(self.devices)

    def take(self, chosen: Array) -> Deployments:
        """The deployments chosen by a mask or an index."""
        return Deployments(
            mode=self.mode,
            decode=self.decode.take(chosen),
            prefill=None if self.prefill is None else self.prefill.take(chosen),
            priced=self.priced,
            **{name: getattr(self, name)[chosen] for name in _ARRAYS},
        )

    @staticmethod
    def of(parts: Sequence[Deployments]) -> Deployments:
        """All deployments of several groups of one mode, of which there is at least one."""
        if len(parts) == 1:
            return parts[0]
        pools = [part.prefill for part in parts if part.prefill is not None]
        arrays: dict[str, Any] = {
            name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS
        }
        return Deployments(
            mode=parts[0].mode,
            decode=Candidates.of([part.decode for part in parts]),
            prefill=Candidates.of(pools) if pools else None,
            priced=sum(part.priced for part in parts),
            unlinked=sum(part.unlinked for part in parts),
            **arrays,
        )


_ARRAYS = (
    "decode_replicas", "prefill_replicas", "requests_per_s", "users", "ttft_s", "tpot_s", "transfer_s", "devices",
)  # fmt: skip


def flatten(space: Space, served: Served, batch: Array, legal: Array) -> Candidates:
    """Flatten ``[L, B]`` results, keeping legal cells."""
    shape = legal.shape
    rows, columns = np.nonzero(legal)

    def pick(value: Any) -> Array:
        return np.broadcast_to(value, shape)[rows, columns]

    return Candidates(
        row=rows,
        batch=pick(batch),
        ttft_s=pick(served.ttft_s),
        tpot_s=pick(served.tpot_s),
        requests_per_s=pick(served.requests_per_s),
        users=pick(served.users),
        step_s=pick(served.step_s),
        devices=space.table.devices[rows].astype(float),
    )


def decode_candidates(
    space: Space, pricer: Pricer, workload: Workload, acceptance: float, devices: int, *, alone: bool
) -> Candidates:
    """Every (layout, batch) that fits, co-located or as a decode pool.

    Without users the batch is free. With them it follows from how many replicas share them: then the second axis
    counts replicas.
    """
    run = decode_pool if alone else colocated
    if workload.users is None:
        batch = BATCHES[None, :]
        batch = batch[:, batch[0] <= max(float(space.most.max(initial=1.0)), 1.0)]
        served = run(pricer, space.ranks, space.pp, workload, batch, acceptance)
        legal = (batch <= space.most) & np.isfinite(served.tpot_s)
        return flatten(space, served, batch, legal)
    # The last count of each row is all that it has room for.
    room = np.floor(np.minimum(devices / space.table.devices[:, None], workload.users))
    counts = np.minimum(REPLICAS[None, :], room)
    groups = space.ranks.attn_dp * space.pp
    share = workload.users / (counts * groups)  # requests of one attention group; below one, groups idle
    batch = np.maximum(share, 1.0)
    served = run(pricer, space.ranks, space.pp, workload, batch, acceptance)
    idle = share / batch
    served = replace(served, requests_per_s=served.requests_per_s * idle, users=share * groups)
    once = np.concatenate(([0.0], REPLICAS[:-1]))[None, :] < room
    legal = (batch <= space.most) & once & np.isfinite(served.tpot_s)
    return flatten(space, served, batch, legal)


def colocated_deployments(
    space: Space, pricer: Pricer, request: PlanRequest, devices: int, acceptance: float, launches: Launches
) -> Deployments:
    """Replicas of one layout, as many as the load needs or the system holds."""
    fitting = decode_candidates(space, pricer, request.workload, acceptance, devices, alone=False)
    found = fitting.take(launches.rows(space.table, "both")[fitting.row])
    room = np.floor(devices / found.devices)
    need = _replicas_needed(found, request.workload, room)
    replicas = np.minimum(need, room)
    capacity = replicas * found.requests_per_s
    carried = _carried(capacity, request.workload)
    return Deployments(
        mode="colocated",
        decode=found,
        prefill=None,
        decode_replicas=replicas,
        prefill_replicas=np.zeros(len(found)),
        requests_per_s=carried,
        users=replicas * found.users * (carried / capacity),
        ttft_s=found.ttft_s,
        tpot_s=found.tpot_s,
        transfer_s=np.zeros(len(found)),
        devices=replicas * found.devices,
        priced=len(found),
        fitting=len(fitting),
        launchable=len(found),
    )


def _replicas_needed(found: Candidates, workload: Workload, room: Array) -> Array:
    if workload.rate_requests_per_s is not None:
        return np.maximum(np.ceil(workload.rate_requests_per_s / found.requests_per_s - 1e-9), 1.0)
    if workload.users is not None:
        return np.maximum(np.ceil(workload.users / found.users - 1e-9), 1.0)
    return room


def _carried(capacity: Array, workload: Workload) -> Array:
    return (
        capacity
        if workload.rate_requests_per_s is None
        else np.minimum(capacity, workload.rate_requests_per_s)
    )
