"""Seconds of a collective over nested domains.

Notes
-----
A group of ``g`` devices spans domains from the inside out. At each level the bytes that really cross it are priced
with that level's bandwidth.

``all_to_all``: destinations between levels, ``(g_i - g_{i-1}) / g`` of the bytes, cross level ``i``; planes work at
the same time, the start-up is paid once, at the outermost level.
``all_reduce``: reduce-scatter inside, all-reduce of ``1 / g_{i-1}`` of the vector across level ``i``.
"""

from __future__ import annotations

import numpy as np

from dougong.calibration import Parameters, collectives
from dougong.cost.arrays import choose
from dougong.cost.machine import Level, Machine
from dougong.ops import Collective
from dougong.ops.operators import Number


def collective_seconds(operator: Collective, machine: Machine, p: Parameters, slowdown: float) -> Number:
    """Seconds of one collective [s]; 0 for a group of one; NaN where a link it crosses is unknown."""
    if np.all(np.asarray(operator.ranks) <= 1):
        return 0.0
    total: Number = 0.0
    inner: Number = 1.0
    for level in machine.levels:
        reach = np.clip(level.size / operator.stride, 1.0, operator.ranks)
        reach = np.maximum(reach, inner)
        if not np.any(reach > inner):
            continue
        # Rows that do not cross this level must not meet its (perhaps unknown) bandwidth.
        total = total + choose(reach > inner, _at_level(operator, level, inner, reach, p, slowdown), 0.0)
        inner = reach
    return total


def _at_level(
    operator: Collective, level: Level, inner: Number, reach: Number, p: Parameters, slowdown: float
) -> Number:
    outside, bus = level.scale_out, level.host
    inside = 1.0 - outside - bus
    default = (
        inside * p.link_latency_scale_up_s
        + outside * p.link_latency_scale_out_s
        + bus * p.link_latency_host_s
    )
    share = (
        inside * p.link_efficiency_scale_up
        + outside * p.link_efficiency_scale_out
        + bus * p.link_efficiency_host
    )
    # In a mesh of n chips a group of g reaches its peers over g - 1 of its n - 1 links. Outer levels are lattices
    # of such meshes; what their figure counts is already what one chip has towards them.
    idle: Number = 1.0 - (reach - 1.0) / np.maximum(level.size / operator.stride - 1.0, 1.0)
    used: Number = 1.0 - level.mesh * (inner <= level.devices_per_chip) * idle
    link: dict[str, Number] = {
        "link_bytes_per_s": level.bandwidth * np.maximum(used, 1e-9) / slowdown,
        "latency_s": choose(np.isnan(level.latency), default, level.latency),
        "efficiency": share,
    }
    if operator.kind == "point_to_point":
        return collectives.point_to_point_s(p, message_bytes=operator.bytes_out, **link)
    if operator.kind == "all_to_all":
        message = operator.bytes_out * (reach - inner) / operator.ranks
        # Bulk kernels send a row once to each domain and spread it there: of k copies to D domains,
        # D (1 - (1 - 1/D)^k) distinct ones cross.
        domains = reach / inner
        crossing = domains * (1.0 - (1.0 - 1.0 / domains) ** operator.copies) / operator.copies
        bulk: Number = message * choose(inner > 1.0, np.minimum(crossing, 1.0), 1.0)
        # Inner hops run beside the outer ones: only the outermost level reached pays the start-up.
        beside: Number = message / (link["link_bytes_per_s"] * link["efficiency"])
        return choose(reach >= operator.ranks, _exchange(message, bulk, reach, inside, link, p), beside)
    ratio = reach / inner
    if operator.kind == "all_reduce":
        return collectives.all_reduce_s(
            p, message_bytes=operator.bytes_out / inner, ranks=ratio, engine_kernel=inside, **link
        )
    if operator.kind == "all_gather":
        return collectives.all_gather_s(
            p, bytes_out_per_rank=operator.bytes_out * 1.0, ranks=ratio, engine_kernel=inside, **link
        )
    return collectives.reduce_scatter_s(
        p, message_bytes=operator.bytes_out / inner, ranks=ratio, engine_kernel=inside, **link
    )


def _exchange(
    direct: Number, bulk: Number, ranks: Number, inside: Number, link: dict[str, Number], p: Parameters
) -> Number:
    # Engines keep two kernels, one for few tokens and one for bulk, and take the faster; across nodes and over
    # a host's bus both reach what that fabric gives.
    share = link["efficiency"] + inside * (p.exchange_efficiency - p.link_efficiency_scale_up)
    few = collectives.all_to_all_s(p, bytes_out_per_rank=direct, ranks=ranks, **{**link, "efficiency": share})
    many = collectives.all_to_all_s(
        p, bytes_out_per_rank=bulk, ranks=ranks, startup_s=p.all_to_all_startup_s, **link
    )
    return np.minimum(few, many)
