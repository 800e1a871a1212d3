"""Orders deployments by the user's objective and picks the front."""

from __future__ import annotations

from typing import Any

import numpy as np

from dougong.plan.money import Rates
from dougong.plan.search import Deployments
from dougong.plan.types import PlanRequest

Array = Any


def keeps_limits(found: Deployments, request: PlanRequest) -> Array:
    """Which deployments keep the latency limits and carry the load."""
    ok = np.ones(len(found), dtype=bool)
    if request.limit.ttft_s is not None:
        ok &= found.ttft_s <= request.limit.ttft_s
    if request.limit.tpot_s is not None:
        ok &= found.tpot_s <= request.limit.tpot_s
    return ok


def carries_load(found: Deployments, request: PlanRequest, devices: int) -> Array:
    """Which deployments carry the offered load on the available devices."""
    ok = (found.devices <= devices) & (found.devices > 0)
    workload = request.workload
    if workload.rate_requests_per_s is not None:
        ok &= found.requests_per_s >= workload.rate_requests_per_s * (1 - 1e-9)
    if workload.users is not None:
        ok &= found.decode_replicas * found.decode.users >= workload.users * (1 - 1e-9)
    return ok


def merit(found: Deployments, request: PlanRequest, rates: Rates, devices: int) -> Array:
    """Higher is better, by the objective; ties go to fewer devices and then to lower latency.

    Throughput counts the chips in use when a load is given, else every chip at hand: an idle remainder is a loss.
    """
    output = found.requests_per_s * request.workload.output_tokens
    bounded = request.workload.rate_requests_per_s is not None or request.workload.users is not None
    per_device = output / np.where(bounded, found.devices, float(devices))
    if request.objective == "latency":
        return -found.tpot_s - 1e-6 * found.ttft_s
    if request.objective == "chips":
        return -found.devices + 1e-9 * per_device
    if request.objective == "cost" and rates.usd_per_chip_s is not None:
        return output / (found.devices * rates.usd_per_chip_s)
    return per_device - 1e-9 * found.devices


def distinct_best(found: Deployments, score: Array, count: int) -> Array:
    """Indices of the best deployment of each different pair of layouts, best first."""
    prefill_row = found.prefill.row if found.prefill is not None else np.zeros(len(found), dtype=int)
    order = np.lexsort((found.devices, -score))
    seen: set[tuple[int, int]] = set()
    chosen: list[int] = []
    for i in order:
        key = (int(found.decode.row[i]), int(prefill_row[i]))
        if key not in seen:
            seen.add(key)
            chosen.append(int(i))
            if len(chosen) == count:
                break
    return np.array(chosen, dtype=int)


def front(speed: Array, rate: Array, keep: int) -> Array:
    """Indices that no other beats in both tokens/s per user and tokens/s per chip, fastest user first."""
    if not len(speed):
        return np.zeros(0, dtype=int)
    order = np.lexsort((-rate, -speed))
    best = np.maximum.accumulate(rate[order])
    chosen = order[np.concatenate(([True], best[1:] > best[:-1] * (1 + 1e-6)))] if len(order) else order
    if len(chosen) > keep:
        chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, keep).round().astype(int))]
    return chosen
