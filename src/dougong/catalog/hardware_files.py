"""From the tables of a record file to the inner records of :mod:`dougong.catalog.hardware`.

Each reader brings every figure to the record's own basis: a rate printed per die is multiplied by the dies of
the chip, a two-way bandwidth is halved, the power of a node becomes that of the system.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dougong.catalog.files import Table
from dougong.catalog.hardware import PLANES, Chip, Domain, Price, System, Value
from dougong.facts import Source, Unknown

SCHEMA = 1
UNITS = ("chip", "package", "card", "module", "socket")
STATUSES = ("announced", "shipping", "retired", "cancelled")
KINDS = ("accelerator", "cpu", "soc")
TOPOLOGIES = ("switched", "mesh", "ring", "torus", "unknown")
COMPUTE_DTYPES = ("fp32", "tf32", "bf16", "fp16", "fp8_e4m3", "int8", "fp4", "int4", "q4_0", "q4_1", "q8_0")
"""Data types with a rate on record; those of llama.cpp are of measured kernels, which widen on their way."""
PRICE_DIMENSIONS: Mapping[str, str] = {
    "owning-hyperscaler": "USD/s",
    "owning-neocloud": "USD/s",
    "rental-3-year": "USD/s",
    "rental-list": "USD/s",
    "purchase": "USD",
    "tariff": "USD/J",
    "carbon": "g/J",
    "exchange": "1",
}
MEASURED_DIMENSIONS: Mapping[str, str] = {
    "memory_capacity": "byte",
    "memory_bandwidth": "byte/s",
    "stream_bandwidth": "byte/s",
    "scale_up_bandwidth": "byte/s",
    "scale_up_bandwidth_write": "byte/s",
    "scale_up_latency": "s",
    "scale_up_latency_write": "s",
    "scale_up_latency_in_node": "s",
    "all_reduce_bandwidth": "byte/s",
    "all_reduce_bandwidth_across_nodes": "byte/s",
    "host_bandwidth": "byte/s",
    "power": "W",
    **{f"gemm_{dtype}": "FLOP/s" for dtype in COMPUTE_DTYPES},
}
_TOTALS: Mapping[str, str] = {
    "memory_capacity": "byte",
    "memory_bandwidth": "byte/s",
    "scale_up_bandwidth": "byte/s",
    **dict.fromkeys(COMPUTE_DTYPES, "FLOP/s"),
}
_NO_LATENCY = "no small-message latency is published"


def read_chip(table: Table, stem: str) -> Chip:
    """Read a chip's file; faults go to the table's list."""
    chip_id = _head(table, stem)
    unit = table.text("unit", choices=UNITS)
    dies, devices = table.count("dies", 1, most=64), table.count("devices", 1, most=64)
    # A misspelt unit is one fault; it must not make one of every figure that is right.
    whole = dict.fromkeys((unit,) if unit else UNITS, 1.0)
    per = {"chip": 1.0, **whole, "die": float(dies), "device": float(devices)}
    dense: dict[str, Value] = {}
    sparse: dict[str, Value] = {}
    compute = table.table("compute")
    for dtype in COMPUTE_DTYPES:
        if compute.has(dtype):
            rates = compute.table(dtype)
            dense[dtype] = rates.figure("dense", "FLOP/s", per=per)
            if rates.has("sparse_2_4"):
                sparse[dtype] = rates.figure("sparse_2_4", "FLOP/s", per=per)
            rates.close()
    compute.close(also=COMPUTE_DTYPES)
    memory_kind, capacity, bandwidth = _memory(table, chip_id, per)
    links, scale_up = _links(table, per)
    power = table.table("power", required=True)
    tdp = power.figure("tdp", "W", per=per)
    power.close()
    measured_table = table.table("measured")
    measured = {
        name: measured_table.figure(
            name,
            dimension,
            per=None if dimension == "s" else per,
            directed=name.startswith("scale_up_bandwidth"),
        )
        for name, dimension in MEASURED_DIMENSIONS.items()
        if measured_table.has(name)
    }
    measured_table.close(also=MEASURED_DIMENSIONS)
    chip = Chip(
        id=chip_id,
        name=table.text("name"),
        vendor=table.text("vendor"),
        unit=unit,
        status=table.text("status", choices=STATUSES),
        dies=dies,
        devices=devices,
        kind=table.text("kind", "accelerator", choices=KINDS),
        year=table.count("year", least=1990, most=2100) if table.has("year") else None,
        process=table.text("process", ""),
        runtime=table.text("runtime", ""),
        torch_device=table.text("torch_device", ""),
        aliases=table.texts("aliases"),
        note=table.text("note", ""),
        compute_dense=dense,
        compute_sparse=sparse,
        not_supported=table.texts("not_supported", choices=COMPUTE_DTYPES),
        memory_kind=memory_kind,
        memory_capacity=capacity,
        memory_bandwidth=bandwidth,
        links=links,
        scale_up_size=scale_up.size,
        scale_up_name=scale_up.name,
        scale_up_topology=scale_up.topology,
        chips_per_node=table.count("chips_per_node", 8, most=1024),
        power_tdp=tdp,
        measured=measured,
    )
    if both := sorted(set(chip.not_supported) & {*dense}):
        table.fault(f"{', '.join(both)} has a rate and is said to have no units", "not_supported")
    table.close()
    return chip


@dataclass
class _ScaleUp:
    name: str = ""
    size: int = 1
    topology: str = "unknown"


def _memory(table: Table, chip_id: str, per: Mapping[str, float]) -> tuple[str, Value, Value]:
    memory = table.table("memory", required=True)
    kinds = memory.keys()
    if len(kinds) != 1:
        if not memory.broken:
            memory.fault(
                f"one sub-table named after the memory is wanted, [memory.hbm3] say, not {len(kinds)}"
            )
        hole = Unknown("the memory's table is faulty", chip_id, "memory")
        return "", hole, hole
    inner = memory.table(kinds[0])
    capacity = inner.figure("capacity", "byte", name="memory.capacity", per=per)
    bandwidth = inner.figure("bandwidth", "byte/s", name="memory.bandwidth", per=per)
    inner.close()
    return kinds[0], capacity, bandwidth


def _links(table: Table, per: Mapping[str, float]) -> tuple[dict[str, dict[str, Value]], _ScaleUp]:
    links: dict[str, dict[str, Value]] = {}
    scale_up = _ScaleUp()
    planes = table.table("links")
    for plane in PLANES:
        if not planes.has(plane):
            continue
        link = planes.table(plane)
        name = link.text("name", "")
        links[plane] = {
            "bandwidth": link.figure("bandwidth", "byte/s", per=per, directed=True),
            "latency": link.figure("latency", "s", absent=_NO_LATENCY),
        }
        if plane == "scale_up":
            scale_up.name, scale_up.size = name, link.count("size", most=1_000_000)
            scale_up.topology = link.text("topology", choices=TOPOLOGIES)
        link.close()
    planes.close(also=PLANES)
    return links, scale_up


def read_system(table: Table, stem: str, chip_named: Callable[[str], Chip | None]) -> System | None:
    """Read a system's file; None where its chip cannot be read, which is a fault already."""
    system_id = _head(table, stem)
    chip_id = table.text("chip")
    chip = chip_named(chip_id) if chip_id else None
    count = table.count("num_chips", most=1_000_000)
    per_node = table.count("chips_per_node", min(8, count), most=count)
    nodes = count / per_node
    power_table, totals_table = table.table("power"), table.table("totals")
    whole = {"system": 1.0, "node": nodes, "chip": float(count)}
    power: dict[str, Value] = {}
    if power_table.has("all_in"):
        power["all_in"] = power_table.figure("all_in", "W", per=whole)
    power_table.close(also=("all_in",))
    totals = {
        name: totals_table.figure(name, dimension, per=whole, directed=name == "scale_up_bandwidth")
        for name, dimension in _TOTALS.items()
        if totals_table.has(name)
    }
    totals_table.close(also=_TOTALS)
    domains = table.tables("domains")
    name, vendor, status = table.text("name"), table.text("vendor"), table.text("status", choices=STATUSES)
    racks = table.count("racks", most=100_000) if table.has("racks") else None
    aliases, note = table.texts("aliases"), table.text("note", "")
    table.close(also=("domains",))
    if chip is None:
        return None
    system = System(
        id=system_id,
        name=name,
        vendor=vendor,
        status=status,
        chip=chip,
        num_chips=count,
        domains=(*package_domain(chip), *(_domain(domain, chip, count, per_node) for domain in domains)),
        chips_per_node=per_node,
        racks=racks,
        aliases=aliases,
        note=note,
        power=power,
        totals=totals,
    )
    sizes = [domain.size for domain in system.domains]
    if sizes != sorted(sizes):
        table.fault(f"sizes {sizes} do not grow from the inner domain to the outer", "domains")
    if count > 1 and (not sizes or sizes[-1] != count):
        table.fault(
            f"the last domain spans {sizes[-1] if sizes else 0} chips, the system has {count}", "domains"
        )
    return system


def package_domain(chip: Chip) -> tuple[Domain, ...]:
    """The innermost domain of a chip that shows several devices: one chip, over its die-to-die link."""
    return (link_domain(chip, "package", "die_to_die", 1, "mesh"),) if chip.devices > 1 else ()


def link_domain(chip: Chip, name: str, plane: str, size: int, topology: str) -> Domain:
    """A domain with the bandwidth and latency of the chip's own link of that plane."""
    hole = f"the record of the chip has no {plane} link"
    link = chip.links.get(plane, {})
    return Domain(
        name=name,
        plane=plane,
        size=size,
        topology=topology,
        bandwidth=link.get("bandwidth", Unknown(hole, chip.id, f"links.{plane}.bandwidth")),
        latency=link.get("latency", Unknown(hole, chip.id, f"links.{plane}.latency")),
    )


def _domain(table: Table, chip: Chip, count: int, per_node: int) -> Domain:
    name, plane = table.text("name"), table.text("plane", choices=PLANES)
    size = table.count("size", most=max(count, 1))
    topology = table.text("topology", choices=TOPOLOGIES)
    chips_own = link_domain(chip, name, plane, size, topology)
    per = {
        "chip": 1.0, chip.unit: 1.0, "die": float(chip.dies), "device": float(chip.devices),
        "node": 1 / per_node, "system": 1 / count,
    }  # fmt: skip
    key = f"domain.{name}"
    bandwidth, latency = chips_own.bandwidth, chips_own.latency
    if table.has("bandwidth"):
        bandwidth = table.figure("bandwidth", "byte/s", name=f"{key}.bandwidth", per=per, directed=True)
    if table.has("latency"):
        latency = table.figure("latency", "s", name=f"{key}.latency")
    table.close()
    return Domain(name=name, plane=plane, size=size, topology=topology, bandwidth=bandwidth, latency=latency)


def read_prices(table: Table, stem: str) -> tuple[Price, ...]:
    """Read a price list: one file per document, one ``[[price]]`` per price."""
    list_id = _head(table, stem)
    table.text("name")
    note = table.text("note", "")
    prices = tuple(_price(entry, list_id, note) for entry in table.tables("price"))
    table.close()
    return prices


def _price(table: Table, list_id: str, list_note: str) -> Price:
    subject, kind = table.text("subject"), table.text("kind", choices=tuple(PRICE_DIMENSIONS))
    region = table.text("region", "")
    price_id = ".".join(part for part in (list_id, subject, kind, region) if part)
    table.record = price_id
    per = {"chip": 1.0} if kind in ("purchase",) or PRICE_DIMENSIONS.get(kind) == "USD/s" else None
    value = table.figure("value", PRICE_DIMENSIONS.get(kind, "USD"), name="value", per=per)
    power = (
        table.figure("all_in_power", "W", name="all_in_power", per=per) if table.has("all_in_power") else None
    )
    price = Price(
        id=price_id,
        subject=subject,
        kind=kind,
        value=value,
        region=region,
        year=table.count("year", least=2000, most=2100) if table.has("year") else None,
        all_in_power=power,
        note=table.text("note", list_note),
    )
    table.close()
    return price


def read_source(table: Table, stem: str) -> Source:
    """Read the record of a document."""
    source_id = _head(table, stem)
    source = Source(
        id=source_id,
        title=table.text("title"),
        publisher=table.text("publisher", ""),
        date=table.text("date", ""),
        kind=table.text("kind", ""),
        address=table.text("address", ""),
        note=table.text("note", ""),
    )
    table.close()
    return source


def _head(table: Table, stem: str) -> str:
    """Read the lines every file begins with; returns the id."""
    table.count("schema", least=SCHEMA, most=SCHEMA)
    record = table.identifier("id", expected=stem)
    table.record = record or stem
    return table.record
