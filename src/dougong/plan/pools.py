"""Disaggregated serving: a pool of prefill replicas, one of decode replicas, and the ratio that wastes least."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dougong.cost.memory import cache_per_sequence
from dougong.cost.step import Pricer
from dougong.ops import Ranks
from dougong.plan.grid import spread
from dougong.plan.launcher import Launches
from dougong.plan.search import Candidates, Deployments, decode_candidates, flatten
from dougong.plan.serving import prefill_pool
from dougong.plan.space import Space
from dougong.plan.types import PlanRequest
from dougong.workload import Workload

Array = Any

PREFILL_LOAD = 0.7
"""Load at which a prefill pool is kept when a TTFT limit is given: waiting then adds about its own service time."""
PATIENCE_S = 10.0
"""Prefill pools are not batched beyond this first-token time where no limit is given and another choice is left."""
FULL_LOAD = 0.9
"""Load of a prefill pool without a TTFT limit."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """Seconds to move one request's cache between pools, by the domain that holds the whole deployment.

    Attributes
    ----------
    sizes
        Devices of each nested domain, inner to outer [device].
    seconds
        Over that domain's links [s]; NaN where nobody prints their bandwidth.
    """

    sizes: Array
    seconds: Array

    def over(self, devices: Array) -> Array:
        """Seconds within deployments of so many devices [s]."""
        domain: Array = self.sizes.searchsorted(devices)
        return self.seconds[domain.clip(max=len(self.sizes) - 1)]

    @property
    def least(self) -> float:
        """Over the quickest known link [s]; 0 where none is known."""
        known = self.seconds[np.isfinite(self.seconds)]
        return float(known.min()) if len(known) else 0.0


def transfer_of(pricer: Pricer, workload: Workload) -> Transfer:
    """What it takes to move one request's cache from a prefill to a decode device, by domain."""
    levels = pricer.machine.levels
    one = Ranks(tp=1.0, cp=1.0, attn_dp=1.0, ep=1.0, expert_tp=1.0)
    moved = cache_per_sequence(pricer.precise.model, workload.prompt_tokens, one, pricer.precise.dtypes)
    slow = pricer.engine.link_slowdown
    bandwidth, latency = (
        np.array([getattr(level, name) for level in levels], dtype=float) for name in ("bandwidth", "latency")
    )
    return Transfer(
        sizes=np.array([level.size for level in levels], dtype=float),
        seconds=float(moved) / bandwidth * slow + np.where(np.isnan(latency), 0.0, latency),
    )


def disaggregated_deployments(
    space: Space, pricer: Pricer, request: PlanRequest, devices: int, acceptance: float, launches: Launches
) -> Deployments:
    """Every pair of pools worth a look, with the replica counts that carry most on the available devices."""
    workload = request.workload
    load = FULL_LOAD if request.limit.ttft_s is None else PREFILL_LOAD
    decode = decode_candidates(space, pricer, workload, acceptance, devices, alone=True)
    prefill = prefill_candidates(space, pricer, workload, load)
    transfer = transfer_of(pricer, workload)
    groups = [
        (prefill.take(givers[prefill.row]), decode.take(takers[decode.row]))
        for givers, takers in launches.pairs(space.table)
    ]
    joined = Deployments.of([_join(*pools, request, devices, transfer, load) for pools in groups])
    return replace(
        joined,
        priced=len(prefill) + len(decode),
        fitting=len(decode),
        launchable=sum(len(takers) for _, takers in groups),
    )


def prefill_candidates(space: Space, pricer: Pricer, workload: Workload, load: float) -> Candidates:
    """Every (layout, tokens per step) of a prefill pool."""
    computed = workload.computed_prompt_tokens
    budget = pricer.engine.prefill_step_tokens
    sizes = {min(computed, budget)} | {n * computed for n in (2, 4, 8, 16) if n * computed <= 2 * budget}
    sizes |= {size for size in (budget / 4, budget / 2, budget) if size < computed}
    tokens = np.array(sorted(sizes))[None, :]
    served = prefill_pool(pricer, space.ranks, space.pp, workload, tokens, load)
    held = np.maximum(tokens / workload.prompt_tokens, 1.0)
    legal = (held <= space.most) & np.isfinite(served.ttft_s)
    return flatten(space, served, tokens, legal)


def _join(
    prefill: Candidates,
    decode: Candidates,
    request: PlanRequest,
    devices: int,
    transfer: Transfer,
    load: float,
) -> Deployments:
    """Join pools: for each efficient pair, the replica counts that carry most on the available devices.

    Notes
    -----
    Little's law over a request's whole life: requests in flight are the rate times first token and decoding. Users
    given are all in flight: beyond what the prefill pool carries they wait for their first token, and decode slots
    are there for every one of them.
    """
    limit, workload = request.limit, request.workload
    prefill = _keep_some(prefill, prefill.ttft_s + transfer.least <= (limit.ttft_s or PATIENCE_S))
    if limit.tpot_s is not None:
        decode = _keep_some(decode, decode.tpot_s <= limit.tpot_s)
    # Efficient sets per replica size: a small pool leaves other remainders than a large one.
    quick = request.objective == "latency"
    few_p = _by_size(prefill, prefill.ttft_s, devices, 4 if quick else 1)
    few_d = _by_size(decode, decode.tpot_s, devices, 8)
    p, d = (
        index.ravel() for index in np.meshgrid(np.arange(len(few_p)), np.arange(len(few_d)), indexing="ij")
    )
    one_p, one_d = few_p.take(p), few_d.take(d)
    supply = one_p.requests_per_s * load
    room = np.floor((devices - one_p.devices) / one_d.devices)
    options = np.linspace(0, 1, 32)[None, 1:]
    decode_n = np.maximum(np.floor(room[:, None] * options), 1.0)
    if workload.rate_requests_per_s is not None:
        needed = np.ceil(workload.rate_requests_per_s / one_d.requests_per_s)[:, None]
        decode_n = np.minimum(np.maximum(needed, 1.0), np.maximum(room[:, None], 1.0))
    elif workload.users is not None:
        needed = np.ceil(workload.users / one_d.users)[:, None]
        decode_n = np.minimum(np.maximum(needed, 1.0), np.maximum(room[:, None], 1.0))
    wanted = decode_n * one_d.requests_per_s[:, None]
    decoding_s = (workload.output_tokens - 1.0) * one_d.tpot_s
    if workload.rate_requests_per_s is not None:
        wanted = np.minimum(wanted, workload.rate_requests_per_s)
    elif workload.users is not None:
        life_s = one_p.ttft_s + transfer.least + decoding_s
        wanted = np.minimum(wanted, workload.users / life_s[:, None])
    prefill_n = np.maximum(np.ceil(wanted / supply[:, None] - 1e-9), 1.0)
    spare = np.floor((devices - decode_n * one_d.devices[:, None]) / one_p.devices[:, None])
    prefill_n = np.minimum(prefill_n, np.maximum(spare, 0.0))
    carried = np.minimum(wanted, prefill_n * supply[:, None])
    used = decode_n * one_d.devices[:, None] + prefill_n * one_p.devices[:, None]
    holds = (prefill_n >= 1) & (used <= devices) & (room[:, None] >= 1)
    legal = holds & np.isfinite(transfer.over(used))
    bounded = workload.rate_requests_per_s is not None or workload.users is not None
    merit = np.where(legal, carried / (used if bounded else float(devices)), -1.0)
    best = np.argmax(merit, axis=1)
    pair = np.arange(len(p))
    ok = legal[pair, best]
    pair, best = pair[ok], best[ok]
    one_p, one_d = one_p.take(pair), one_d.take(pair)
    n_d, n_p, rate = decode_n[pair, best], prefill_n[pair, best], carried[pair, best]
    moved_s, decoding_s = transfer.over(used[pair, best]), decoding_s[pair]
    ttft = one_p.ttft_s + moved_s
    if workload.users is not None:
        rate = np.minimum(rate, workload.users / (ttft + decoding_s))
        ttft = workload.users / rate - decoding_s
    # A starved decode pool runs with fewer sequences; its TPOT only gets better, and is kept as the upper value.
    return Deployments(
        mode="disaggregated",
        decode=one_d,
        prefill=one_p,
        decode_replicas=n_d,
        prefill_replicas=n_p,
        requests_per_s=rate,
        users=rate * (ttft + decoding_s),
        ttft_s=ttft,
        tpot_s=one_d.tpot_s,
        transfer_s=moved_s,
        devices=used[pair, best],
        unlinked=int((holds.any(axis=1) & ~legal.any(axis=1)).sum()),
    )


def _keep_some(found: Candidates, legal: Array) -> Candidates:
    # Where nothing meets the limit the nearest is kept, so that a refusal can show it.
    return found.take(legal) if legal.any() else found


def _by_size(found: Candidates, latency: Array, devices: int, keep: int) -> Candidates:
    # Of each replica size the candidates that no other beats in latency and rate, thinned to the `keep` that carry
    # most; sizes whose best device carries under half of the best device's rate are left out.
    per_device = found.requests_per_s / found.devices
    worth = 0.5 * float(per_device.max(initial=0.0)) if keep == 1 else 0.0
    index = np.flatnonzero((found.devices < devices) & (per_device >= worth))
    if not len(index):
        return found.take(index)
    order = index[np.lexsort((-per_device[index], latency[index], found.devices[index]))]
    size, rate = found.devices[order], per_device[order]
    starts = np.flatnonzero(np.concatenate(([True], size[1:] != size[:-1])))
    chosen: list[Array] = []
    for start, end in zip(starts, (*starts[1:], len(order)), strict=True):
        best = np.maximum.accumulate(rate[start:end])
        front = start + np.flatnonzero(np.concatenate(([True], best[1:] > best[:-1])))
        if len(front) > keep:
            front = front[spread(len(front), keep)] if keep > 1 else front[-1:]
        chosen.append(order[front])
    return found.take(np.concatenate(chosen))
