"""Reads what vendors' tools print. Text in, devices out; nothing is run here.

Each parser names where its form was seen. Forms that their users show: npu-smi, mx-smi, mthreads-gmi, cnmon,
ixsmi, rocm-smi, hy-smi, nvidia-smi, efsmi. Forms from documents and scripts only: both tools called xpu-smi, brsmi.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from dougong.engines.devices.records import Reading, Seen

MIB = 1 << 20
Parser = Callable[[str], Reading]


class Unread(Exception):
    """The text is in a form that is not known."""


def csv_rows(text: str) -> Reading:
    """Read ``index, name, memory [MiB], driver`` of nvidia-smi and ixsmi (``--format=csv,noheader``)."""
    devices: list[Seen] = []
    driver: str | None = None
    for row in csv.reader(text.splitlines()):
        cells = [cell.strip() for cell in row]
        if len(cells) < 3 or not cells[0].isdecimal():
            continue
        devices.append(Seen(index=int(cells[0]), name=cells[1], memory_bytes=_mib(cells[2])))
        driver = cells[3] if len(cells) > 3 and cells[3][:1].isdecimal() else driver
    return _told(devices, driver)


def npu_smi(text: str) -> Reading:
    """Read ``npu-smi info``: two lines a chip; the second one holds chip, bus and memory.

    Seen: versions 24.1 and 25.x, on 910B and on Atlas 800 training servers.
    """
    driver = re.search(r"npu-smi\s+\S+\s+Version:\s*(\S+)", text)
    devices: list[Seen] = []
    name = ""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 3 or "Process" in line:
            continue
        head = re.fullmatch(r"(\d+)\s+([A-Za-z0-9][\w.-]*)", cells[0])
        if head and not re.match(r"[0-9A-Fa-f]{4}:", cells[1]):
            name = head[2]
        elif name and re.match(r"\d", cells[0]) and re.match(r"[0-9A-Fa-f]{4}:", cells[1]):
            # The last pair of numbers is the memory of the chip itself; before it stands the older DDR.
            pairs = re.findall(r"(\d+)\s*/\s*(\d+)", cells[2])
            total = next((int(pair[1]) for pair in reversed(pairs) if int(pair[1])), 0)
            devices.append(Seen(index=len(devices), name=name, memory_bytes=total * MIB or None))
    return _told(devices, driver and driver[1])


def mx_smi(text: str) -> Reading:
    """Read ``mx-smi``: seen in versions 2.1.6 and 2.2.4, on C550."""
    driver = re.search(r"Kernel Mode Driver Version:\s*([\w.]+)", text)
    stack = re.search(r"MACA Version:\s*([\w.]+)", text)
    head, bus, memory = r"(\d+)\s+(\S.*?)(?:\s+(?:On|Off|N/A))*", r"[0-9A-Fa-f]{4}:", r"\d+\s*/\s*(\d+)\s*MiB"
    devices = _two_lines(text, head, memory, bus_in=1, bus=bus)
    return _told(devices, driver and driver[1], f"MACA {stack[1]}" if stack else None)


def mthreads_gmi(text: str) -> Reading:
    """Read ``mthreads-gmi``: seen in versions 1.14 to 2.4, on S80, S3000 and S5000."""
    driver = re.search(r"Driver Version:\s*([\w.-]+)", text)
    rows = re.findall(r"^(\d+)\s+(MTT\s+\S+)\s*\|[^|]*\|[^|]*?\d+MiB\((\d+)MiB\)", text, re.MULTILINE)
    devices = [
        Seen(index=int(index), name=name, memory_bytes=int(total) * MIB) for index, name, total in rows
    ]
    return _told(devices, driver and driver[1])


def cnmon(text: str) -> Reading:
    """Read ``cnmon``: seen in versions 4.20 and 5.10, on MLU370."""
    driver = re.search(r"Driver\s+v([\w.]+)", text)
    devices = _two_lines(text, r"(\d+)\s+\S+\s+(MLU\S+)\s+v\S+", r"/\s*(\d+)\s*MiB")
    return _told(devices, driver and driver[1])


def rocm_smi(text: str) -> Reading:
    """Read ``--json`` of rocm-smi and hy-smi: seen with ROCm 6.2 and with Hygon's driver 24.04."""
    told = _json(text)
    system = cast(Mapping[str, Any], told.get("system") or {})
    driver = system.get("Driver version")
    devices: list[Seen] = []
    for key, card in told.items():
        number = re.fullmatch(r"card(\d+)", key)
        if number is None or not isinstance(card, dict):
            continue
        cells = cast(dict[str, Any], card)
        name = cells.get("Card Series") or cells.get("Card series") or cells.get("Device Name") or "unknown"
        in_bytes, in_mib = cells.get("VRAM Total Memory (B)"), cells.get("vram Total Memory (MiB)")
        total = _number(in_bytes) if in_bytes is not None else _mib(str(in_mib))
        devices.append(Seen(index=int(number[1]), name=str(name).strip(), memory_bytes=total))
    return _told(devices, str(driver) if driver else None)


def efsmi(text: str) -> Reading:
    """Read ``efsmi``: seen in versions 1.2.0, 1.6.3 and 1.7.2, on S60, S60G and L300."""
    driver = re.search(r"Driver Ver:\s*([\w.]+)", text)
    bus = r"[0-9A-Fa-f]{2,4}:[0-9A-Fa-f]{2}"
    devices = _two_lines(text, r"(\d+)\s+(\S.*)", r"^(\d+)\s*MiB", bus_in=2, bus=bus)
    return _told(devices, driver and driver[1])


def brsmi(text: str) -> Reading:
    """Read ``index, name, memory used [MiB], memory free [MiB]`` of brsmi, after scripts that ask it so."""
    devices: list[Seen] = []
    for row in csv.reader(text.splitlines()):
        cells = [cell.strip() for cell in row]
        if len(cells) != 4 or not cells[0].isdecimal():
            continue
        used, free = _mib(cells[2]), _mib(cells[3])
        total = None if used is None or free is None else used + free
        devices.append(Seen(index=int(cells[0]), name=cells[1], memory_bytes=total))
    return _told(devices, None)


def intel_xpu_smi(text: str) -> Reading:
    """Read ``xpu-smi discovery -j`` of Intel's XPU Manager, after its user guide."""
    listed = _json(text).get("device_list")
    devices: list[Seen] = []
    for entry in cast(list[object], listed) if isinstance(listed, list) else []:
        if isinstance(entry, dict):
            cells = cast(dict[str, Any], entry)
            memory = _number(cells.get("memory_physical_size_byte"))
            name = str(cells.get("device_name", "unknown"))
            devices.append(
                Seen(index=int(cells.get("device_id", len(devices))), name=name, memory_bytes=memory)
            )
    return _told(devices, None)


def kunlun_xpu_smi(text: str) -> Reading:
    """Read ``xpu-smi -m`` of Kunlun: words in a row, number 2 the index, 19 the memory in MiB, 22 on the name."""
    devices: list[Seen] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 23 or not words[1].isdecimal() or not words[18].isdecimal():
            continue
        name = f"{words[21].lstrip('([')} {words[22].rstrip(')]')}".strip()
        devices.append(Seen(index=int(words[1]), name=name, memory_bytes=int(words[18]) * MIB))
    return _told(devices, None)


def _two_lines(text: str, head: str, memory: str, *, bus_in: int = 0, bus: str = "") -> list[Seen]:
    """Read a table of three columns and two lines a device.

    Parameters
    ----------
    head
        Form of the whole first cell of its first line: index, then name.
    memory
        Form of the memory [MiB] in the second cell of its second line.
    bus_in, bus
        Cell of the first line in which a bus address stands, and how it begins; none where the head says enough.
    """
    devices: list[Seen] = []
    opened: tuple[int, str] | None = None
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) != 3:
            continue
        first = re.fullmatch(head, cells[0])
        if first and re.match(bus, cells[bus_in]):
            opened = int(first[1]), first[2]
        elif opened is not None:
            total = re.search(memory, cells[1])
            size = _mib(total[1]) if total else None
            devices.append(Seen(index=opened[0], name=opened[1], memory_bytes=size))
            opened = None
    return devices


def _told(devices: list[Seen], driver: str | None, stack: str | None = None) -> Reading:
    if not devices and driver is None:
        raise Unread
    return Reading(devices=tuple(devices), driver=driver, stack=stack)


def _json(text: str) -> dict[str, Any]:
    start = text.find("{")  # tools like to warn before they answer
    try:
        told: object = json.loads(text[start:]) if start >= 0 else None
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise Unread
    return cast(dict[str, Any], told)


def _mib(cell: str) -> int | None:
    found = re.match(r"(\d+)", cell)
    return int(found[1]) * MIB if found else None


def _number(value: object) -> int | None:
    text = str(value).strip()
    return int(text) if text.isdecimal() else None
