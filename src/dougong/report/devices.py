"""Draws what is on a machine: devices with their records, the CPU, tools and packages."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.text import Text

from dougong.report.numbers import plural
from dougong.report.parts import Columns, section

if TYPE_CHECKING:
    from dougong.engines.devices.records import Device, Host, Machine

GIB = 1 << 30


def draw_machine(machine: Machine, titles: dict[str, str]) -> RenderableType:
    """Return the drawing.

    Parameters
    ----------
    titles
        Platform -> its name in words.
    """
    parts: list[RenderableType] = [Text(_sentence(machine, titles), style="bold")]
    if machine.devices:
        columns = [
            ("device", "word"),
            ("name", "words"),
            ("memory", "number"),
            ("record", "words"),
            ("driver", "note"),
            ("told by", "note"),
        ]
        rows = [_row(device) for device in machine.devices]
        parts.append(section("Devices", Columns(columns, rows)))
    parts.append(
        section("CPU", Columns([("", "word"), ("", "words")], _host_rows(machine.host), header=False))
    )
    if machine.tools:
        rows = [
            [tool.name, tool.state, tool.driver or "unknown", tool.stack or "", tool.detail]
            for tool in machine.tools
        ]
        columns = [("tool", "word"), ("state", "word"), ("driver", "word"), ("stack", "word"), ("", "words")]
        parts.append(section("Vendors' tools", Columns(columns, rows)))
    if machine.torch:
        parts.append(section("torch", *(Text(line) for line in machine.torch)))
    if machine.stacks:
        rows = [[stack.package, stack.version] for stack in machine.stacks]
        parts.append(section("Packages", Columns([("package", "word"), ("version", "word")], rows)))
    return Group(*parts)


def _sentence(machine: Machine, titles: dict[str, str]) -> str:
    counted = Counter((device.platform, device.name) for device in machine.devices)
    found = [
        f"{count} × {name} ({titles.get(platform, platform)})" for (platform, name), count in counted.items()
    ]
    memory = f", {machine.host.memory_bytes / GIB:,.0f} GiB" if machine.host.memory_bytes else ""
    cpu = f"{plural(machine.host.usable, 'thread')} of {machine.host.name}{memory}"
    return f"{', '.join(found)}; {cpu}." if found else f"No accelerator is seen; {cpu}."


def _row(device: Device) -> list[str]:
    memory = f"{device.memory_bytes / GIB:,.1f} GiB" if device.memory_bytes else "unknown"
    return [
        f"{device.platform}:{device.index}",
        device.name,
        memory,
        _record(device.chip, device.could_be),
        device.driver or "unknown",
        device.via,
    ]


def _record(chip: str | None, could_be: tuple[str, ...]) -> str:
    if chip is not None:
        return chip
    return f"unknown: one of {', '.join(could_be)}" if could_be else "unknown"


def _host_rows(host: Host) -> list[list[str]]:
    cores = "unknown" if host.cores is None else f"{host.cores:,}"
    threads = "unknown" if host.threads is None else f"{host.threads:,}"
    sockets = f"{plural(host.sockets, 'socket')}, " if host.sockets else ""
    return [
        ["name", host.name],
        ["record", _record(host.chip, host.could_be)],
        ["cores", f"{sockets}cores {cores}, threads {threads}, usable here {host.usable:,}"],
        ["memory", f"{host.memory_bytes / GIB:,.1f} GiB" if host.memory_bytes else "unknown"],
        ["instructions", ", ".join(host.instructions) or "unknown"],
        ["system", f"{host.system}, {host.machine}"],
    ]
