"""Vendors' tools: which there are, how each is asked, and how one is run without trusting it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from dougong.engines.devices import parsers
from dougong.engines.devices.records import Reading, Tool

TIMEOUT_S = 15.0  # a driver in trouble answers late or never
OUTPUT_BYTES = 4 << 20

_CSV = "--query-gpu=index,name,memory.total,driver_version"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One way to ask one tool, and the parser of its answer."""

    platform: str
    argv: tuple[str, ...]
    read: parsers.Parser


ASKS = (
    Ask(platform="cuda", argv=("nvidia-smi", _CSV, "--format=csv,noheader,nounits"), read=parsers.csv_rows),
    Ask(platform="ascend", argv=("npu-smi", "info"), read=parsers.npu_smi),
    Ask(platform="metax", argv=("mx-smi",), read=parsers.mx_smi),
    Ask(platform="mthreads", argv=("mthreads-gmi",), read=parsers.mthreads_gmi),
    Ask(platform="iluvatar", argv=("ixsmi", _CSV, "--format=csv,noheader"), read=parsers.csv_rows),
    Ask(platform="cambricon", argv=("cnmon",), read=parsers.cnmon),
    Ask(
        platform="hygon",
        argv=("hy-smi", "--showproductname", "--showmeminfo", "vram", "--showdriverversion", "--json"),
        read=parsers.rocm_smi,
    ),
    Ask(
        platform="rocm",
        argv=("rocm-smi", "--showproductname", "--showmeminfo", "vram", "--showdriverversion", "--json"),
        read=parsers.rocm_smi,
    ),
    Ask(platform="kunlun", argv=("xpu-smi", "-m"), read=parsers.kunlun_xpu_smi),
    Ask(platform="xpu", argv=("xpu-smi", "discovery", "-j"), read=parsers.intel_xpu_smi),
    Ask(
        platform="gaudi",
        argv=("hl-smi", "-Q", "index,name,memory.total,driver_version", "-f", "csv,noheader"),
        read=parsers.csv_rows,
    ),
    Ask(platform="enflame", argv=("efsmi",), read=parsers.efsmi),
    Ask(
        platform="biren",
        argv=(
            "brsmi",
            "gpu",
            "--query-gpu=index,name,memory.used,memory.free",
            "--format=csv,noheader,nounits",
        ),
        read=parsers.brsmi,
    ),
)


def ask_all(asks: Sequence[Ask] = ASKS) -> list[tuple[Tool, Reading | None]]:
    """Ask every tool that is installed, side by side; none may take longer than its time."""
    here = [ask for ask in asks if shutil.which(ask.argv[0]) is not None]
    if not here:
        return []
    with ThreadPoolExecutor(len(here)) as workers:
        found = list(workers.map(ask_one, here))
    # Two vendors call their tool xpu-smi: the one that answers is meant.
    read = {tool.name for tool, reading in found if reading is not None}
    return [(tool, reading) for tool, reading in found if reading is not None or tool.name not in read]


def ask_one(ask: Ask) -> tuple[Tool, Reading | None]:
    """Run one tool in a folder of its own and read what it prints."""
    name = ask.argv[0]
    environment = {**os.environ, "LC_ALL": "C", "TERM": "dumb"}
    try:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                ask.argv,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=TIMEOUT_S,
                check=False,
            )
    except subprocess.TimeoutExpired:
        detail = f"no answer within {TIMEOUT_S:g} s; the driver may be in trouble"
        return Tool(name=name, platform=ask.platform, state="timeout", detail=detail), None
    except OSError as error:
        return Tool(
            name=name, platform=ask.platform, state="failed", detail=error.strerror or str(error)
        ), None
    text = done.stdout[:OUTPUT_BYTES].decode("utf-8", errors="replace")
    try:
        reading = ask.read(text)
    except (parsers.Unread, ValueError, TypeError, KeyError):
        last = (done.stderr or done.stdout)[-400:].decode("utf-8", errors="replace").strip().splitlines()
        state, said = (
            ("failed", f"exit {done.returncode}") if done.returncode else ("unread", "printed something else")
        )
        detail = ": ".join(filter(None, (said, last[-1] if last else "")))
        return Tool(name=name, platform=ask.platform, state=state, detail=detail), None
    tool = Tool(name=name, platform=ask.platform, state="read", driver=reading.driver, stack=reading.stack)
    return tool, reading
