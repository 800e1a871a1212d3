"""A probed machine as catalog files: a chip, a system of one, their source, and its calibration."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from dougong.calibration.local import Local
from dougong.measure.probe.device import DeviceProbe
from dougong.measure.probe.fit import ENGINE, Fitted
from dougong.measure.probe.rows import Row

CHIP, SYSTEM, SOURCE = "local-cpu", "local", "local-probe"

_UNKNOWN_POWER = "nothing here measures its power"


def write(
    folder: Path,
    rows: Sequence[Row],
    fitted: Fitted,
    *,
    threads: int,
    capacity_bytes: float | None = None,
    device: DeviceProbe | None = None,
) -> Path:
    """Write the records below ``folder`` (made if absent); a calibration that runs had corrected is replaced.

    Parameters
    ----------
    device
        Also a chip, a system and a calibration of this device, all by its id.

    Returns
    -------
    Path
        The folder: give it as ``--catalog``.
    """
    name, when = cpu_name(), datetime.now(UTC).date().isoformat()
    counted = f"{threads} thread{'' if threads == 1 else 's'}"
    local = Local(
        chip=CHIP,
        how=f"dougong probe of {when}, {counted}",
        operator=fitted.operator,
        engine={ENGINE: fitted.engine} if fitted.engine else {},
    )
    files = {
        f"chips/{CHIP}.toml": _chip(
            CHIP,
            f"{name}, {counted}",
            fitted,
            vendor="Local",
            torch_device="cpu",
            capacity_bytes=capacity_bytes or memory_bytes(),
        ),
        f"systems/{SYSTEM}.toml": _system(SYSTEM, CHIP, f"this machine ({name})", "Local"),
        f"sources/{SOURCE}.toml": _source(name, when),
        f"calibration/{CHIP}.toml": local.toml(),
        "probe.json": json.dumps(
            {"schema": 1, "kind": "probe", "threads": threads, "rows": [asdict(row) for row in rows]},
            indent=1,
        )
        + "\n",
    }
    if device is not None:
        files |= _device_files(device, when, counted)
    for place, content in files.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def _device_files(device: DeviceProbe, when: str, counted: str) -> dict[str, str]:
    on_cpu = device.torch_device == "cpu"
    name = f"{cpu_name()} through PyTorch, {counted}" if on_cpu else _plain(device.name)
    local = Local(
        chip=device.id,
        how=f"dougong probe of {when} through PyTorch; attention as on all chips",
        operator=device.fitted.operator,
    )
    chip = _chip(
        device.id,
        name,
        device.fitted,
        vendor=device.vendor,
        torch_device=device.torch_device,
        capacity_bytes=memory_bytes() if on_cpu else device.memory_bytes,
    )
    return {
        f"chips/{device.id}.toml": chip,
        f"systems/{device.id}.toml": _system(device.id, device.id, f"this machine ({name})", device.vendor),
        f"calibration/{device.id}.toml": local.toml(),
    }


def _chip(
    chip_id: str, name: str, fitted: Fitted, *, vendor: str, torch_device: str, capacity_bytes: float | None
) -> str:
    best = "best rate seen, taken as the peak: the clock under load is not known"
    kind = "cpu" if torch_device == "cpu" else "accelerator"
    lines = [
        "schema = 1",
        f'id = "{chip_id}"',
        f'name = "{name}"',
        f'vendor = "{vendor}"',
        'unit = "chip"',
        "dies = 1",
        f'kind = "{kind}"',
        'status = "shipping"',
        'runtime = "this machine"',
        f'torch_device = "{torch_device}"',
        "chips_per_node = 1",
        "",
    ]
    for dtype in sorted(fitted.peaks):
        rate = _figure(f"{fitted.peaks[dtype] / 1e9:.4g} GFLOP/s", best, "largest GEMM")
        lines += [f"[compute.{dtype}]", f"dense = {rate}", ""]
    capacity = (
        _figure(f"{capacity_bytes / 2**30:.4g} GiB", "what the system says it has", "system")
        if capacity_bytes
        else '{ unknown = "PyTorch does not tell it" }'
    )
    lines += [
        f"[memory.{'ram' if kind == 'cpu' else 'device'}]",
        f"capacity = {capacity}",
        f"bandwidth = {_figure(f'{fitted.bandwidth_bytes_per_s / 1e9:.4g} GB/s', best, 'passes over memory')}",
        "",
        "[power]",
        f'tdp = {{ unknown = "{_UNKNOWN_POWER}" }}',
        "",
    ]
    return "\n".join(lines)


def _figure(printed: str, why: str, at: str) -> str:
    return (
        f'{{ printed = "{printed}", why = "{why}", per = "chip", source = "{SOURCE}", '
        f'at = "{at}", grade = "measured" }}'
    )


def _system(system_id: str, chip_id: str, name: str, vendor: str) -> str:
    return "\n".join(
        [
            "schema = 1",
            f'id = "{system_id}"',
            f'name = "{name}"',
            f'vendor = "{vendor}"',
            'status = "shipping"',
            f'chip = "{chip_id}"',
            "num_chips = 1",
            "",
        ]
    )


def _source(name: str, when: str) -> str:
    return "\n".join(
        [
            "schema = 1",
            f'id = "{SOURCE}"',
            f'title = "Probe of this machine, {name}"',
            'publisher = "dougong probe"',
            f'date = "{when}"',
            'kind = "measurement"',
            'address = "probe.json"',
            'note = "Every row as it was timed stands in probe.json beside these records."',
            "",
        ]
    )


def cpu_name() -> str:
    """What the processor calls itself, in letters that fit a record."""
    found = ""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        found = match.group(1) if match else ""
    except OSError:
        pass
    word = found or platform.processor() or platform.machine() or "CPU"
    return _plain(word)


def _plain(name: str) -> str:
    """Return a name in letters that fit a record."""
    return re.sub(r"\s+", " ", re.sub(r"\((R|TM|r|tm)\)|[^\w .+@-]", "", name)).strip()


def memory_bytes() -> float:
    """Memory of the machine [byte]."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return 0.0
