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
from dougong.measure.probe.fit import ENGINE, Fitted
from dougong.measure.probe.rows import Row

CHIP, SYSTEM, SOURCE = "local-cpu", "local", "local-probe"

_UNKNOWN_POWER = "nothing here measures the processor's power"


def write(
    folder: Path, rows: Sequence[Row], fitted: Fitted, *, threads: int, capacity_bytes: float | None = None
) -> Path:
    """Write the records below ``folder`` (made if absent); a calibration that runs had corrected is replaced.

    Returns
    -------
    Path
        The folder: give it as ``--catalog``.
    """
    name, when = cpu_name(), datetime.now(UTC).date().isoformat()
    local = Local(
        chip=CHIP,
        how=f"dougong probe of {when}, {threads} thread{'' if threads == 1 else 's'}",
        operator=fitted.operator,
        engine={ENGINE: fitted.engine} if fitted.engine else {},
    )
    files = {
        f"chips/{CHIP}.toml": _chip(name, fitted, threads, capacity_bytes or memory_bytes()),
        f"systems/{SYSTEM}.toml": _system(name),
        f"sources/{SOURCE}.toml": _source(name, when),
        f"calibration/{CHIP}.toml": local.toml(),
        "probe.json": json.dumps(
            {"schema": 1, "kind": "probe", "threads": threads, "rows": [asdict(row) for row in rows]},
            indent=1,
        )
        + "\n",
    }
    for place, content in files.items():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder


def _chip(name: str, fitted: Fitted, threads: int, capacity_bytes: float) -> str:
    best = "best rate seen, taken as the peak: the clock under load is not known"
    lines = [
        "schema = 1",
        f'id = "{CHIP}"',
        f'name = "{name}, {threads} thread{"" if threads == 1 else "s"}"',
        'vendor = "Local"',
        'unit = "chip"',
        "dies = 1",
        'kind = "cpu"',
        'status = "shipping"',
        'runtime = "this machine"',
        'torch_device = "cpu"',
        "chips_per_node = 1",
        "",
    ]
    for dtype in sorted(fitted.peaks):
        rate = _figure(f"{fitted.peaks[dtype] / 1e9:.4g} GFLOP/s", best, "largest GEMM")
        lines += [f"[compute.{dtype}]", f"dense = {rate}", ""]
    lines += [
        "[memory.ram]",
        f"capacity = {_figure(f'{capacity_bytes / 2**30:.4g} GiB', 'what the system says it has', 'system')}",
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


def _system(name: str) -> str:
    return "\n".join(
        [
            "schema = 1",
            f'id = "{SYSTEM}"',
            f'name = "this machine ({name})"',
            'vendor = "Local"',
            'status = "shipping"',
            f'chip = "{CHIP}"',
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
    return re.sub(r"\s+", " ", re.sub(r"\((R|TM|r|tm)\)|[^\w .+@-]", "", word)).strip()


def memory_bytes() -> float:
    """Memory of the machine [byte]."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return 0.0
