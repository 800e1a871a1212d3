"""The CPU of this machine: name, cores, memory, instruction sets."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from dougong.engines.devices.records import Host

INSTRUCTIONS = (
    "avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16",
    "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme",
)  # fmt: skip
"""Those that decide how fast a matrix product is; in the words of /proc/cpuinfo."""


def read_host() -> Host:
    """Read this machine; what nothing tells is None."""
    text = ""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):
            text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    host = parse_cpuinfo(text)
    name, cores, threads = host.name, host.cores, host.threads
    if sys.platform == "darwin":
        name = _sysctl("machdep.cpu.brand_string") or name
        cores, threads = _whole(_sysctl("hw.physicalcpu")), _whole(_sysctl("hw.logicalcpu"))
    return Host(
        name=name or platform.processor() or "unknown",
        chip=None,
        machine=platform.machine(),
        system=f"{platform.system()} {platform.release()}",
        sockets=host.sockets,
        cores=cores,
        threads=threads or os.cpu_count(),
        usable=usable_threads(),
        memory_bytes=_memory(),
        instructions=host.instructions,
    )


def parse_cpuinfo(text: str) -> Host:
    """Read the text of /proc/cpuinfo; Arm kernels tell no name."""
    names = re.findall(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    told = set(flags[1].split()) if flags else set[str]()
    sockets = set(re.findall(r"^physical id\s*:\s*(\d+)", text, re.MULTILINE))
    cores = re.search(r"^cpu cores\s*:\s*(\d+)", text, re.MULTILINE)
    threads = len(re.findall(r"^processor\s*:\s*\d+", text, re.MULTILINE))
    return Host(
        name=" ".join(names[0].split()) if names else "",
        chip=None,
        machine="",
        system="",
        sockets=len(sockets) or None,
        cores=int(cores[1]) * max(len(sockets), 1) if cores else None,
        threads=threads or None,
        usable=0,
        memory_bytes=None,
        instructions=tuple(name for name in INSTRUCTIONS if name in told),
    )


def usable_threads(quota: str | None = None) -> int:
    """Return on how many hardware threads this process may run: by its affinity, and by a container's quota.

    Parameters
    ----------
    quota
        Text of ``cpu.max`` (microseconds of a period); None reads this process's own.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if quota is None:
        quota = ""
        with contextlib.suppress(OSError):
            quota = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="utf-8")
    told = quota.split()
    if len(told) == 2 and told[0].isdecimal() and told[1].isdecimal() and int(told[1]):
        allowed = min(allowed, max(1, -(-int(told[0]) // int(told[1]))))
    return allowed


def worker_threads() -> int:
    """Return how many threads an engine on the CPU should take: one per core, and a core left for the rest.

    Threads that compute one operator wait for each other: one that shares its core with the gateway, or with
    its twin on the same core, holds up all of them.
    """
    host = read_host()
    per_core = host.threads // host.cores if host.threads and host.cores else 1
    return max(1, host.usable // max(per_core, 1) - 1)


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _sysctl(name: str) -> str:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=5, check=True)
        return done.stdout.strip()
    return ""


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
