"""Devices: what tools print, which records the names mean, and tools that fail, hang or lie."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dougong.catalog.store import Catalog
from dougong.engines.devices import look, parsers, tools
from dougong.engines.devices.host import parse_cpuinfo, usable_threads, worker_threads
from dougong.engines.devices.match import Match, match_cpu, match_device
from dougong.engines.devices.records import Reading, Seen
from dougong.engines.platforms import PLATFORMS, read_device, visibility
from dougong.errors import InputError

FILES = Path(__file__).parent / "tools"
MIB = 1 << 20
CATALOG = Catalog.open([])


def reading(name: str, read: Callable[[str], Reading]) -> Reading:
    return read((FILES / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "read", "platform", "devices", "driver", "records"),
    [
        ("npu-smi.txt", parsers.npu_smi, "ascend", [("910B3", 65536)] * 2, "25.2.0", ["huawei-910b3"] * 2),
        (
            "npu-smi-a3.txt",
            parsers.npu_smi,
            "ascend",
            [("Ascend910_9382", 65536)] * 2,
            "25.0.rc1.1",
            [None, None],
        ),
        (
            "mx-smi.txt",
            parsers.mx_smi,
            "metax",
            [("MetaX C550", 65536), ("MXC500", 65536)],
            "2.15.9",
            ["metax-c550", "metax-c500"],
        ),
        (
            "mthreads-gmi.txt",
            parsers.mthreads_gmi,
            "mthreads",
            [("MTT S5000", 81920), ("MTT S4000", 49152)],
            "5.1.0-server",
            ["mthreads-s5000", "mthreads-s4000"],
        ),
        (
            "cnmon.txt",
            parsers.cnmon,
            "cambricon",
            [("MLU370-X8", 23374), ("MLU590-M9", 81920)],
            "5.10.22",
            ["cambricon-mlu370-x8", "cambricon-mlu590"],
        ),
        (
            "ixsmi.csv",
            parsers.csv_rows,
            "iluvatar",
            [("Iluvatar BI-V150", 65536), ("Iluvatar MR-V100", 32768)],
            "4.3.0",
            ["iluvatar-bi-v150", "iluvatar-mr-v100"],
        ),
        (
            "nvidia-smi.csv",
            parsers.csv_rows,
            "cuda",
            [("NVIDIA H200", 143771), ("NVIDIA H100 80GB HBM3", 81559)],
            "570.124.06",
            ["nvidia-h200-sxm", "nvidia-h100-sxm"],
        ),
        ("hy-smi.json", parsers.rocm_smi, "hygon", [("K100_AI", 65520)], None, ["hygon-k100-ai"]),
        (
            "rocm-smi.json",
            parsers.rocm_smi,
            "rocm",
            [("AMD Instinct MI300X OAM", 196592)],
            "6.8.5",
            ["amd-mi300x"],
        ),
        (
            "efsmi.txt",
            parsers.efsmi,
            "enflame",
            [("Enflame S60", 49120), ("Enflame L300", 147456)],
            "1.7.2.14",
            ["enflame-s60", None],
        ),
        ("efsmi-1.2.txt", parsers.efsmi, "enflame", [("S60", 42976)], "1.2.0.301", ["enflame-s60"]),
        (
            "brsmi.csv",
            parsers.brsmi,
            "biren",
            [("BR166", 65536), ("BR106M", 32768)],
            None,
            ["biren-br166", "biren-br106"],
        ),
        (
            "xpu-smi-intel.json",
            parsers.intel_xpu_smi,
            "xpu",
            [("Intel(R) Arc(TM) Pro B60 Graphics", None)],
            None,
            ["intel-arc-pro-b60"],
        ),
        (
            "xpu-smi-kunlun.txt",
            parsers.kunlun_xpu_smi,
            "kunlun",
            [("P800 OAM", 98304)],
            None,
            ["kunlun-p800"],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_what_tools_print(name, read, platform, devices, driver, records) -> None:
    told = reading(name, read)
    assert [(seen.name, seen.memory_bytes and seen.memory_bytes // MIB) for seen in told.devices] == devices
    assert [seen.index for seen in told.devices] == list(range(len(devices)))
    assert told.driver == driver
    matches = [match_device(seen.name, seen.memory_bytes, platform, CATALOG) for seen in told.devices]
    assert [match.chip for match in matches] == records


def test_the_stack_is_read_where_it_is_told() -> None:
    assert reading("mx-smi.txt", parsers.mx_smi).stack == "MACA 2.32.0.6"


@pytest.mark.parametrize(
    "text", ["", "no devices were found", "{}", "[]", '{"card0": 3}', "| 0 | 1 | 2 |", "\x00" * 50]
)
@pytest.mark.parametrize("ask", tools.ASKS, ids=lambda ask: ask.argv[0])
def test_other_text_is_no_device(ask: tools.Ask, text: str) -> None:
    with pytest.raises(parsers.Unread):
        ask.read(text)


@pytest.mark.parametrize(
    ("name", "memory_mib", "chip"),
    [
        ("NVIDIA A100-SXM4-80GB", 81920, "nvidia-a100-sxm-80"),
        ("NVIDIA A100-SXM4-40GB", 40960, "nvidia-a100-sxm-40"),
        ("NVIDIA H100 PCIe", 81559, "nvidia-h100-pcie"),
        ("NVIDIA GeForce RTX 4090", 24564, "nvidia-rtx-4090"),
        ("NVIDIA L4", 23034, "nvidia-l4"),
        ("NVIDIA L40S", 46068, "nvidia-l40s"),
        ("NVIDIA H20", 97871, "nvidia-h20-sxm-96"),
        ("NVIDIA GeForce GTX 1080", 8192, None),
        ("NVIDIA H100 80GB HBM3", 20000, None),  # a slice of one: not the chip of the record
    ],
)
def test_names_of_nvidia(name: str, memory_mib: int, chip: str | None) -> None:
    assert match_device(name, memory_mib * MIB, "cuda", CATALOG).chip == chip


def test_every_accelerator_is_found_by_its_own_alias() -> None:
    for identity in CATALOG.ids("chip"):
        chip = CATALOG.chip(identity)
        platforms = [platform.name for platform in PLATFORMS.values() if chip.vendor in platform.vendors]
        for alias in chip.aliases if chip.kind == "accelerator" else ():
            for platform in platforms:
                match = match_device(alias, None, platform, CATALOG)
                assert identity in (match.chip, *match.could_be), f"{alias} on {platform}: {match}"


def test_a_cpu_is_matched_by_its_number() -> None:
    assert match_cpu("INTEL(R) XEON(R) 6980P", CATALOG).chip == "intel-xeon-6980p"
    assert match_cpu("AMD EPYC 9654 96-Core Processor", CATALOG).chip == "amd-epyc-9654"
    assert match_cpu("Apple M4 Max", CATALOG).chip is None
    assert set(match_cpu("Apple M4 Max", CATALOG).could_be) == {"apple-m4-max-32", "apple-m4-max-40"}
    assert match_cpu("Intel(R) Xeon(R) Processor", CATALOG) == Match(None)


def test_cpuinfo() -> None:
    text = "\n\n".join(
        f"processor\t: {number}\nmodel name\t: Some  CPU @ 2GHz\nphysical id\t: {number // 2}\ncpu cores\t: 1\n"
        "flags\t\t: fpu avx2 avx512f amx_bf16"
        for number in range(4)
    )
    host = parse_cpuinfo(text)
    assert (host.name, host.sockets, host.cores, host.threads) == ("Some CPU @ 2GHz", 2, 2, 4)
    assert host.instructions == ("avx2", "avx512f", "amx_bf16")
    arm = parse_cpuinfo("processor\t: 0\nFeatures\t: fp asimd i8mm sve\n")
    assert (arm.name, arm.threads, arm.instructions) == ("", 1, ("asimd", "i8mm", "sve"))


def test_a_containers_quota_counts() -> None:
    free = usable_threads("max 100000")
    assert usable_threads("50000 100000") == 1
    assert usable_threads("99900000 100000") == free
    assert usable_threads("nonsense") == free
    assert 1 <= worker_threads() <= free


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def write(name: str, script: str) -> None:
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return write


def test_tools_are_run_and_read(program) -> None:
    program("npu-smi", f"cat '{FILES}/npu-smi.txt'")
    program("mthreads-gmi", "echo 'driver not loaded' >&2; exit 9")
    program("brsmi", "echo whatever")
    program("mx-smi", "echo hello")
    found = {tool.name: (tool, told) for tool, told in tools.ask_all()}
    assert found["npu-smi"][0].state == "read"
    assert found["npu-smi"][1].devices[0] == Seen(index=0, name="910B3", memory_bytes=65536 * MIB)
    assert found["mthreads-gmi"][0].state == "failed"
    assert found["mthreads-gmi"][0].detail == "exit 9: driver not loaded"
    assert found["mx-smi"][0].state == "unread"
    assert found["brsmi"][0].state == "unread"


def test_a_tool_that_hangs_is_left(program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "TIMEOUT_S", 0.2)
    program("cnmon", "exec sleep 30")
    (tool, told), *_ = [found for found in tools.ask_all() if found[0].name == "cnmon"]
    assert (tool.state, told) == ("timeout", None)


def test_of_two_tools_with_one_name_the_one_that_answers_is_meant(program) -> None:
    program("xpu-smi", f"[ \"$1\" = -m ] && cat '{FILES}/xpu-smi-kunlun.txt' || exit 1")
    found = [(tool.platform, tool.state) for tool, _ in tools.ask_all() if tool.name == "xpu-smi"]
    assert found == [("kunlun", "read")]


def test_a_machine_is_put_together(program) -> None:
    program("npu-smi", f"cat '{FILES}/npu-smi.txt'")
    machine = look(CATALOG, torch=False)
    ascend = [device for device in machine.devices if device.platform == "ascend"]
    assert [(device.index, device.chip, device.driver, device.via) for device in ascend] == [
        (0, "huawei-910b3", "25.2.0", "npu-smi"),
        (1, "huawei-910b3", "25.2.0", "npu-smi"),
    ]
    assert machine.host.usable >= 1
    assert machine.host.machine


def test_a_vendors_package_that_breaks_torch_breaks_nothing(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "torch.py").write_text(
        "import os, types\nassert os.environ['TORCH_DEVICE_BACKEND_AUTOLOAD'] == '0'\n__version__ = '9.9'\n"
        "none = types.SimpleNamespace(is_available=lambda: False)\ncuda = xpu = none\n"
        "version = types.SimpleNamespace(cuda=None, hip=None)\n"
        "backends = types.SimpleNamespace(mps=none, cpu=types.SimpleNamespace(get_cpu_capability=lambda: 'AVX2'))\n"
    )
    (tmp_path / "torch_npu.py").write_text(
        "raise ImportError('libascendcl.so: cannot open shared object file')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    machine = look(CATALOG)
    assert machine.torch[0] == "torch 9.9, CPU (AVX2)"
    assert "torch_npu: ImportError: libascendcl.so" in machine.torch[1]


def test_the_command_says_it_in_words_and_in_json(program, capsys) -> None:
    from dougong.cli import main

    program("npu-smi", f"cat '{FILES}/npu-smi.txt'")
    assert main(["devices", "--no-torch"]) == 0
    said = capsys.readouterr().out
    assert "2 × 910B3 (Huawei Ascend)" in said
    assert "huawei-910b3" in said
    assert main(["devices", "--no-torch", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["kind"]) == (1, "machine")
    assert {device["chip"] for device in told["devices"]} == {"huawei-910b3"}


def test_words_of_device() -> None:
    assert read_device("ascend") == ("ascend", ())
    assert read_device("CUDA:0,2-4,2") == ("cuda", (0, 2, 3, 4))
    assert visibility("ascend", (0, 3)) == {"ASCEND_RT_VISIBLE_DEVICES": "0,3"}
    assert visibility("cuda", ()) == {}
    for wrong in ("cuda:", "cuda:a", "cuda:3-1", "cuda:0-99999", "cuda:-1"):
        with pytest.raises(InputError):
            read_device(wrong)
    with pytest.raises(InputError, match="no platform is called 'ascent'"):
        read_device("ascent")
