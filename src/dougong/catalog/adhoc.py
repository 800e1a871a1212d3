"""Systems that no file describes: N chips as their vendor wires them, or N systems on the scale-out plane."""

from __future__ import annotations

from dougong.catalog.hardware import Chip, Domain, System, Value
from dougong.catalog.hardware_files import link_domain, package_domain
from dougong.facts import Figure


def from_chip(chip: Chip, count: int) -> System:
    """``count`` chips: full scale-up domains of the size the chip is sold in, joined by its scale-out link.

    A domain may hold fewer than its usual size; nothing is said of the host network of a single node.
    """
    inner, node = min(count, chip.scale_up_size), min(count, chip.chips_per_node)
    domains: list[Domain] = []
    if inner > 1:
        name = "node" if inner <= chip.chips_per_node else "supernode"
        domains.append(link_domain(chip, name, "scale_up", inner, chip.scale_up_topology))
    if node > inner:
        if domains:
            domains = [link_domain(chip, "group", "scale_up", inner, chip.scale_up_topology)]
        domains.append(link_domain(chip, "node", "host", node, "switched"))
    if count > max(inner, node):
        domains.append(link_domain(chip, "cluster", "scale_out", count, "switched"))
    return System(
        id=f"{count}x {chip.id}",
        name=f"{count} x {chip.name}",
        vendor=chip.vendor,
        status=chip.status,
        chip=chip,
        num_chips=count,
        domains=(*package_domain(chip), *domains),
        chips_per_node=node,
        ad_hoc=True,
    )


def from_systems(unit: System, count: int) -> System:
    """``count`` copies of a system over the scale-out link of its chip; power scales, totals are dropped."""
    size = count * unit.num_chips
    return System(
        id=f"{count}x {unit.id}",
        name=f"{count} x {unit.name}",
        vendor=unit.vendor,
        status=unit.status,
        chip=unit.chip,
        num_chips=size,
        domains=(*unit.domains, link_domain(unit.chip, "cluster", "scale_out", size, "switched")),
        chips_per_node=unit.chips_per_node,
        racks=None if unit.racks is None else count * unit.racks,
        power={name: _times(value, count) for name, value in unit.power.items()},
        ad_hoc=True,
    )


def _times(value: Value, count: int) -> Value:
    if not isinstance(value, Figure):
        return value
    return Figure(
        float(value) * count, printed=value.printed, source=value.source, grade=value.grade, at=value.at,
        read_as=value.read_as, why=f"{count} times the figure of one system", per=value.per,
        dimension=value.dimension, record=value.record, key=value.key,
    )  # fmt: skip
