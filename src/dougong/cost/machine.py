"""What the cost formulas read of a system, per device, as numbers or columns of numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dougong.calibration.chips import KINDS, WIDE_TILE_ROWS, factors, tile_rows
from dougong.catalog.hardware import System
from dougong.facts import Figure, Unknown
from dougong.ops.operators import Number

Array = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One level of the nested domains, seen from one device.

    Attributes
    ----------
    size
        Devices in one domain of this level.
    bandwidth
        One way, out of one device [byte/s]; NaN where unknown.
    latency
        Of a small message [s]; NaN where the catalog has none (a class default applies).
    scale_out
        1 for a message fabric, 0 for load/store links [1].
    host
        1 for the host bus, which chips of a node share with their host [1].
    mesh
        1 where each pair of chips has a link of its own: a group of few then has few of the links [1].
    """

    size: Number
    bandwidth: Number
    latency: Number
    scale_out: Number
    host: Number = 0.0
    mesh: Number = 0.0
    devices_per_chip: Number = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A system as the formulas see it. Numbers are floats for one system, columns for several."""

    name: str
    num_devices: Number
    devices_per_chip: Number
    peaks: Mapping[str, Number]  # dtype -> dense peak of one device [FLOP/s]
    bandwidth: Number  # memory, one device [byte/s]
    capacity: Number  # memory, one device [byte]
    levels: tuple[Level, ...]  # inner to outer
    figures: tuple[Figure, ...] = ()
    factors: Mapping[str, Number] = field(
        default_factory=dict[str, Number]
    )  # kind of operator -> on its time [1]
    tile_rows: Number = WIDE_TILE_ROWS  # of the matrix unit's least tile [1]
    sustained: Mapping[str, Number] = field(
        default_factory=dict[str, Number]
    )  # dtype -> what large GEMMs were measured to reach [FLOP/s]; "memory" -> copies [byte/s]
    unknown_links: Mapping[int, Unknown] = field(
        default_factory=dict[int, Unknown]
    )  # size -> why the level is unknown

    def factor(self, kind: str) -> Number:
        """What this chip's own measured operators add to the shared forms [1]; 1 where nothing was measured."""
        return self.factors.get(kind, 1.0)

    def peak(self, dtype: str) -> Number:
        """Dense peak of one device [FLOP/s]."""
        return self.peaks[dtype]


_COMPUTE = ("fp32", "bf16", "fp16", "fp8_e4m3", "int8", "fp4", "int4", "q4_0", "q4_1", "q8_0")


def machine_of(system: System) -> Machine:
    """Read the figures of a system that any formula may need.

    Raises
    ------
    UnknownFigure
        If memory capacity or bandwidth is unknown. Unknown links are kept as NaN with their reason: they refuse
        only the layouts that cross them.
    """
    chip, devices = system.chip, float(system.chip.devices)
    figures: list[Figure] = []

    def need(value: Figure | Unknown) -> Figure:
        if isinstance(value, Unknown):
            value.refuse()
        figures.append(value)
        return value

    peaks = {
        dtype: float(value) / devices
        for dtype in _COMPUTE
        if isinstance(value := chip.compute_dense.get(dtype), Figure)
    }
    capacity, bandwidth = need(chip.memory_capacity), need(chip.memory_bandwidth)
    levels: list[Level] = []
    unknown: dict[int, Unknown] = {}
    # Those of the dtypes that a model multiplies in are told beside their peaks (``apply``).
    measured = chip.sustained()
    sustained = {what: float(value) / devices for what, value in measured.items()}
    figures += [value for what, value in measured.items() if what == "memory"]
    for domain in system.domains:
        size = domain.size * devices
        if size <= 1:
            continue
        if isinstance(domain.bandwidth, Figure):
            figures.append(domain.bandwidth)
            width = float(domain.bandwidth) / devices
        else:
            unknown[int(size)] = domain.bandwidth
            width = math.nan
        if isinstance(domain.latency, Figure):
            figures.append(domain.latency)
        latency = float(domain.latency) if isinstance(domain.latency, Figure) else math.nan
        levels.append(
            Level(
                size=size,
                bandwidth=width,
                latency=latency,
                scale_out=float(domain.plane == "scale_out"),
                host=float(domain.plane == "host"),
                mesh=float(domain.topology == "mesh"),
                devices_per_chip=devices,
            )
        )
    if not levels:
        levels.append(Level(size=devices, bandwidth=math.inf, latency=0.0, scale_out=0.0))
    return Machine(
        name=system.id,
        num_devices=system.num_chips * devices,
        devices_per_chip=devices,
        peaks=peaks,
        bandwidth=float(bandwidth) / devices,
        capacity=float(capacity) / devices,
        levels=tuple(levels),
        figures=tuple(figures),
        factors=factors(chip.id),
        tile_rows=tile_rows(chip.id),
        sustained=sustained,
        unknown_links=unknown,
    )


def stack(machines: Sequence[Machine], index: Array) -> Machine:
    """Join machines into one whose numbers are columns ``[len(index), 1]``: row i is ``machines[index[i]]``.

    Missing rates become NaN; machines with fewer levels repeat their outermost one.
    """

    def column(values: Sequence[Number]) -> Array:
        return np.asarray(values, dtype=float)[index][:, None]

    depth = max(len(machine.levels) for machine in machines)
    padded = [machine.levels + (machine.levels[-1],) * (depth - len(machine.levels)) for machine in machines]
    dtypes = sorted({dtype for machine in machines for dtype in machine.peaks})
    bounded = sorted({what for machine in machines for what in machine.sustained})
    return Machine(
        name="+".join(machine.name for machine in machines),
        num_devices=column([machine.num_devices for machine in machines]),
        devices_per_chip=column([machine.devices_per_chip for machine in machines]),
        peaks={
            dtype: column([machine.peaks.get(dtype, math.nan) for machine in machines]) for dtype in dtypes
        },
        bandwidth=column([machine.bandwidth for machine in machines]),
        capacity=column([machine.capacity for machine in machines]),
        levels=tuple(
            Level(
                size=column([levels[i].size for levels in padded]),
                bandwidth=column([levels[i].bandwidth for levels in padded]),
                latency=column([levels[i].latency for levels in padded]),
                scale_out=column([levels[i].scale_out for levels in padded]),
                host=column([levels[i].host for levels in padded]),
                mesh=column([levels[i].mesh for levels in padded]),
                devices_per_chip=column([machine.devices_per_chip for machine in machines]),
            )
            for i in range(depth)
        ),
        figures=tuple(figure for machine in machines for figure in machine.figures),
        factors={kind: column([machine.factor(kind) for machine in machines]) for kind in KINDS},
        tile_rows=column([machine.tile_rows for machine in machines]),
        sustained={
            what: column([machine.sustained.get(what, math.inf) for machine in machines]) for what in bounded
        },
    )
