"""Inner records of chips, systems and prices: stdlib dataclasses whose numbers are figures in base units."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dougong.errors import UnknownFigure
from dougong.facts import Figure, Unknown

Value = Figure | Unknown

PLANES = ("die_to_die", "scale_up", "scale_out", "host")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One accelerator or CPU as its record's ``unit`` counts it.

    All rates and capacities are per chip, already brought to that basis from what the source prints per die
    or per card. ``devices`` is what a runtime enumerates per chip (a 910C package shows two): parallel
    layouts count devices, answers count chips.
    """

    id: str
    name: str
    vendor: str
    unit: str
    status: str
    dies: int
    devices: int
    kind: str = "accelerator"  # accelerator | cpu | soc
    year: int | None = None
    process: str = ""
    runtime: str = ""
    torch_device: str = ""
    aliases: tuple[str, ...] = ()
    note: str = ""
    compute_dense: Mapping[str, Value] = field(default_factory=dict[str, Value])  # dtype -> [FLOP/s] dense
    compute_sparse: Mapping[str, Value] = field(
        default_factory=dict[str, Value]
    )  # dtype -> [FLOP/s] with 2:4 sparsity
    not_supported: tuple[str, ...] = ()  # dtypes the chip has no units for
    memory_kind: str = ""
    memory_capacity: Value  # [byte]
    memory_bandwidth: Value  # [byte/s]
    links: Mapping[str, Mapping[str, Value]] = field(default_factory=dict[str, Mapping[str, Value]])
    """Plane -> {"bandwidth": [byte/s] one-way per chip, "latency": [s]}."""
    scale_up_size: int = 1  # chips in the scale-up domain the chip is usually sold in
    scale_up_name: str = ""
    scale_up_topology: str = "unknown"  # switched | mesh | ring | torus | unknown
    chips_per_node: int = 8  # chips in the server the chip is usually sold in
    power_tdp: Value  # [W]
    measured: Mapping[str, Value] = field(
        default_factory=dict[str, Value]
    )  # achieved figures, never used as peaks; those of large GEMMs and copies bound what formulas reach

    def peak(self, dtype: str) -> Figure:
        """Dense peak rate [FLOP/s] for ``dtype``; raises UnknownFigure where the catalog has none."""
        value = self.compute_dense.get(dtype)
        if isinstance(value, Figure):
            return value
        if isinstance(value, Unknown):
            value.refuse()
        raise UnknownFigure(self.id, f"compute.{dtype}.dense", "no such line in the record")

    def sustained(self) -> dict[str, Figure]:
        """What was measured to bound the chip: dtype -> large GEMMs [FLOP/s]; ``memory`` -> copies [byte/s]."""
        names = {**{dtype: f"gemm_{dtype}" for dtype in self.compute_dense}, "memory": "stream_bandwidth"}
        return {
            what: value
            for what, name in names.items()
            if isinstance(value := self.measured.get(name), Figure)
        }

    def figures(self) -> Iterator[tuple[str, Value]]:
        """Every figure of the record with its key, in file order."""
        for dtype, value in self.compute_dense.items():
            yield f"compute.{dtype}.dense", value
        for dtype, value in self.compute_sparse.items():
            yield f"compute.{dtype}.sparse_2_4", value
        yield "memory.capacity", self.memory_capacity
        yield "memory.bandwidth", self.memory_bandwidth
        for plane, values in self.links.items():
            for name, value in values.items():
                yield f"links.{plane}.{name}", value
        yield "power.tdp", self.power_tdp
        for name, value in self.measured.items():
            yield f"measured.{name}", value


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A set of chips joined by one plane at one level; domains nest, inner to outer."""

    name: str  # package | node | rack | supernode | cluster | ...
    plane: str  # one of PLANES
    size: int  # chips in one such domain
    topology: str  # switched | mesh | ring | torus | unknown
    bandwidth: Value  # [byte/s] one-way per chip, out of the chip into this domain
    latency: Value  # [s] one small message


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """Chips with the domains that join them."""

    id: str
    name: str
    vendor: str
    status: str
    chip: Chip
    num_chips: int
    domains: tuple[Domain, ...]  # inner to outer; the last one spans the system
    chips_per_node: int = 8
    racks: int | None = None
    aliases: tuple[str, ...] = ()
    note: str = ""
    power: Mapping[str, Value] = field(default_factory=dict[str, Value])  # "all_in" [W] for the whole system
    totals: Mapping[str, Value] = field(
        default_factory=dict[str, Value]
    )  # printed totals, checked against the chip
    ad_hoc: bool = False  # made from "N x chip"

    def figures(self) -> Iterator[tuple[str, Value]]:
        """Every figure of the record (not of its chip) with its key."""
        for domain in self.domains:
            yield f"domain.{domain.name}.bandwidth", domain.bandwidth
            yield f"domain.{domain.name}.latency", domain.latency
        for name, value in self.power.items():
            yield f"power.{name}", value
        for name, value in self.totals.items():
            yield f"totals.{name}", value


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a chip-hour, a kilowatt-hour or a gram of CO2e costs, or a dollar in another coin, by whose word."""

    id: str
    subject: str  # chip id, system id, "electricity", "grid", or a currency by its ISO code
    # owning-hyperscaler | owning-neocloud | rental-3-year | rental-list | purchase | tariff | carbon | exchange
    kind: str
    value: Value  # [USD/s] per chip, [USD] purchase, [USD/J], [g/J], [1] coins for one USD
    region: str = ""
    year: int | None = None
    all_in_power: Value | None = None  # [W] per chip, provisioned
    note: str = ""
