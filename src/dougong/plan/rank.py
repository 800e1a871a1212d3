"""Orders deployments by the user's objective and picks the front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dougong.plan.grid import spread
from dougong.plan.money import Rates
from dougong.plan.search import Deployments
from dougong.plan.types import PlanRequest

Array = Any


@dataclass(frozen=True, slots=True)
class Chips:
    """What is at hand: chips, and the devices a runtime sees on each."""

    number: float
    devices_each: float


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


def chips_counted(devices: Array, request: PlanRequest, at_hand: Chips) -> Array:
    """The chips that rates per chip and cost are over, everywhere [chip].

    With a load, those in use: the rest may do other work. Without one, all at hand: the question is what they carry
    together, and an idle remainder is a loss. A chip of several dies counts whole.
    """
    load = request.workload.rate_requests_per_s is not None or request.workload.users is not None
    return chips_in_use(devices, at_hand) if load else np.full(np.shape(devices), at_hand.number)


def chips_in_use(devices: Array, at_hand: Chips) -> Array:
    """Whole chips that hold so many devices [chip]."""
    return np.ceil(devices / at_hand.devices_each - 1e-9)


def measure(found: Deployments, request: PlanRequest, rates: Rates, at_hand: Chips) -> Array:
    """What the objective goes by, in the unit of :func:`measure_name`; every order and comparison reads this."""
    if request.objective == "latency":
        return found.tpot_s if request.workload.output_tokens > 1 else found.ttft_s
    if request.objective == "chips":
        return chips_in_use(found.devices, at_hand)
    output = found.requests_per_s * request.workload.output_tokens
    counted = chips_counted(found.devices, request, at_hand)
    if request.objective == "cost":
        return counted * (rates.usd_per_chip_s or 0.0) / output * 1e6
    return output / counted


def measure_name(request: PlanRequest) -> str:
    """The measure of the objective, in words."""
    return {
        "throughput": "tokens/s per chip",
        "cost": "USD per million output tokens",
        "latency": "TPOT" if request.workload.output_tokens > 1 else "TTFT",
        "chips": "chips in use",
    }[request.objective]


def lower_is_better(request: PlanRequest) -> bool:
    """Whether the objective wants little of its measure."""
    return request.objective != "throughput"


def merit(found: Deployments, request: PlanRequest, rates: Rates, at_hand: Chips) -> Array:
    """Higher is better, by the objective; equals go to lower latency or to more throughput."""
    worth = measure(found, request, rates, at_hand)
    if request.objective == "latency":
        return -worth - 1e-6 * found.ttft_s
    if request.objective == "chips":
        return -worth + 1e-9 * found.requests_per_s / found.devices
    return -worth if request.objective == "cost" else worth - 1e-9 * found.devices


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
        chosen = chosen[spread(len(chosen), keep)]
    return chosen
