"""A machine is probed, its records are read, and a plan stands on them."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace

import pytest

from dougong.calibration import Parameters, forms
from dougong.calibration.local import Local, read_local
from dougong.catalog.store import Catalog
from dougong.cli import main
from dougong.errors import CatalogError, EnvironmentLacking
from dougong.measure.probe import records
from dougong.measure.probe.device import device_of
from dougong.measure.probe.fit import fit
from dougong.measure.probe.rows import Row, time_of
from dougong.measure.probe.run import probe

TRUTH = {"fixed": 3e-6, "memory": 0.7, "efficiency": 0.9, "bandwidth": 20e9}
PEAKS = {"q4_1": 30e9, "q8_0": 50e9, "fp16": 40e9}
BITS = {"q4_1": 5.0, "q8_0": 8.5, "fp16": 16.0}


def synthetic():
    """Rows of a machine whose parameters are known."""
    p = replace(
        Parameters.load(), gemm_fixed_s=TRUTH["fixed"], gemm_depth_s=1e-15, gemm_memory_efficiency=TRUTH["memory"],
        gemm_efficiency=TRUTH["efficiency"], gemm_efficiency_limit=TRUTH["efficiency"], gemm_vector_rows=1.0,
        gemm_tile_rows=1.0,
    )  # fmt: skip
    common = {"library": "ggml", "threads": 1, "clock": "processor"}
    rows = [
        Row(
            library="numpy",
            op="read",
            dtype="fp64",
            threads=1,
            bytes=2.5e8,
            seconds=2.5e8 / 20e9,
            median_s=1.0,
            clock="processor",
        )
    ]
    for dtype, peak in PEAKS.items():
        for n, k in ((512, 512), (512, 2048), (2048, 2048)):
            for m in (1, 2, 8, 64, 256):
                weights, io = n * k * BITS[dtype] / 8, 4.0 * m * (n + k)
                seconds = forms.gemm_s(
                    p, flop=2.0 * m * n * k, weight_bytes=weights, io_bytes=io, m=m, k=k,
                    peak_flop_per_s=peak / TRUTH["efficiency"], bandwidth_bytes_per_s=TRUTH["bandwidth"],
                    compute_efficiency=TRUTH["efficiency"],
                )  # fmt: skip
                rows.append(
                    Row(op="gemm", dtype=dtype, m=m, n=n, k=k, flop=2.0 * m * n * k, bytes=weights + io,
                        seconds=float(seconds), median_s=float(seconds), **common)
                )  # fmt: skip
    for context in (128, 512, 2048):
        flop, size = 4.0 * context * 8 * 64, 2.0 * context * 4 * 64 * 2
        seconds = 2e-6 + math.hypot(flop / (40e9 * 0.3), size / (20e9 * 0.7))
        rows.append(
            Row(op="decode_attention", dtype="fp16", m=1, context=context, heads=8, kv_heads=4, head_dim=64,
                flop=flop, bytes=size, seconds=seconds, median_s=seconds, **common)
        )  # fmt: skip
    rows.append(
        Row(op="elementwise", dtype="fp32", n=512, bytes=6144.0, seconds=2e-7, median_s=2e-7, **common)
    )
    return rows


def test_the_fit_finds_what_made_the_rows():
    found = fit(synthetic())
    assert found.bandwidth_bytes_per_s == pytest.approx(20e9)
    assert found.operator["gemm_fixed_s"] == pytest.approx(3e-6, rel=0.5)
    assert found.operator["gemm_memory_efficiency"] == pytest.approx(0.7, rel=0.1)
    assert found.operator["elementwise_fixed_s"] == pytest.approx(2e-7)
    for dtype, peak in PEAKS.items():
        assert found.peaks[dtype] * found.operator["gemm_efficiency"] == pytest.approx(peak, rel=0.1)
    assert found.error_frac["gemm"] < 0.03
    assert found.error_frac["decode_attention"] < 0.05


def test_a_machine_without_ggml_has_peaks_and_no_parameters():
    found = fit([row for row in synthetic() if row.library == "numpy"] + [
        Row(library="numpy", op="gemm", dtype="fp32", threads=1, m=512, n=512, k=512, flop=2.0 * 512**3, bytes=3e6,
            seconds=1e-3, median_s=1e-3, clock="processor")])  # fmt: skip
    assert found.operator == {}
    assert found.peaks == {"fp32": pytest.approx(2.0 * 512**3 / 1e-3)}


def test_the_records_are_a_catalog_that_a_plan_reads(tmp_path, capsys):
    rows = synthetic()
    folder = records.write(tmp_path / "local", rows, fit(rows), threads=1, capacity_bytes=16 * 2.0**30)
    catalog = Catalog.open([folder])
    chip = catalog.system("local").chip
    assert chip.id == "local-cpu"
    assert float(chip.compute_dense["q4_1"]) == pytest.approx(30e9, rel=0.05)
    words = ["plan", "smollm2-135m", "--on", "local", "--engine", "llama-cpp", "--catalog", str(folder)]
    words += ["--prompt", "128", "--output", "32", "--users", "1", "--json"]
    assert main([*words, "--precision", "q4_1"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert any("calibrated on this very chip" in note for note in plan["notes"])
    fit_words = ["fit", "--models", "smollm2-135m", "--systems", "local,hgx-h100", *words[4:-3], "--json"]
    fit_words = [word for word in fit_words if word not in ("--users", "1")]

    def fitted() -> tuple[float, float, list[str]]:
        assert main([*fit_words, "--precision", "q4_1"]) == 0
        told = json.loads(capsys.readouterr().out)
        own, other = (cell["tokens_per_s_per_chip"] for cell in told["cells"])
        return own, other, told["notes"]

    own_rate, other_rate, notes = fitted()
    assert any(note.startswith("local: calibrated on this very chip") for note in notes)
    assert not any(note.startswith("hgx-h100") for note in notes)
    # 106 M weights of 5 bits and 28 M of 8.5 (the head), each multiplied once per token.
    low = 2 * 106.2e6 / 30e9 + 2 * 28.3e6 / 50e9
    tpot = plan["options"][0]["tpot_s"]["value"]
    assert low < tpot < 1.8 * low
    # The calibration is read, not only the chip: without it the same record says something else.
    (folder / "calibration" / "local-cpu.toml").unlink()
    assert main([*words, "--precision", "q4_1"]) == 0
    other = json.loads(capsys.readouterr().out)["options"][0]["tpot_s"]["value"]
    assert abs(other / tpot - 1) > 0.05
    own_without, other_without, notes = fitted()
    assert abs(own_without / own_rate - 1) > 0.02, "the matrix reads the calibration too"
    assert other_without == other_rate, "and for no chip but its own"
    assert notes == []


def test_a_calibration_gives_back_its_file(tmp_path):
    one = Local(
        chip="c", how="by hand", operator={"gemm_fixed_s": 1e-6}, engine={"llama-cpp": {"step_s": 2e-4}}
    )
    (tmp_path / "calibration").mkdir()
    (tmp_path / "calibration" / "c.toml").write_text(one.toml())
    back = read_local([tmp_path])["c"]
    assert back == one
    assert back.parameters().gemm_fixed_s == 1e-6
    assert back.engine_class("llama-cpp").step_s == 2e-4
    assert back.engine_class("community").step_s == Local(chip="x", how="").engine_class("community").step_s


def test_every_fault_of_a_calibration_is_told(tmp_path):
    (tmp_path / "calibration").mkdir()
    (tmp_path / "calibration" / "c.toml").write_text(
        'schema = 1\nchip = "c"\nodd = 1\n[operator]\ngemm_fixed_s = -1\nnonsense = 2\n'
        "[engine.nobody]\nstep_s = 1\n[error.tpot_s]\nlow = 2\nhigh = 3\nrows = 4\n"
    )
    with pytest.raises(CatalogError) as caught:
        read_local([tmp_path])
    for said in ("odd", "gemm_fixed_s: a positive", "nonsense", "nobody", "error.tpot_s"):
        assert said in str(caught.value), said


def test_this_machine_is_probed(tmp_path, capsys):
    pytest.importorskip("numpy")
    assert main(["probe", "--quick", "--threads", "1", "--out", str(tmp_path / "here"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rates = {
        row["op"]: row["bytes"] / row["seconds"] for row in found["rows"] if row["op"] in ("read", "copy")
    }
    assert all(1e8 < rate < 1e13 for rate in rates.values())
    assert 1e8 < found["fitted"]["peaks"]["fp32"] < 1e15
    assert Catalog.open([tmp_path / "here"]).system("local").chip.kind == "cpu"


def test_a_device_that_is_not_here_is_told_at_once(capsys, tmp_path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    assert main(["probe", "--quick", "--device", "cuda:0", "--out", str(tmp_path / "x")]) == 4
    assert "no device 'cuda:0'" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_child_that_fails_is_told(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises((EnvironmentLacking, ValueError)):
        probe(quick=True, threads=1)


def test_processor_time_does_not_count_waiting():
    import time

    least, _, clock = time_of(lambda: time.sleep(0.01), threads=1, seconds=0.05)
    assert clock == "processor"
    assert least < 0.005


def test_faults_of_the_words(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    assert main(["probe", "--threads", "0", "--device", "a b", "--out", str(tmp_path / "file")]) == 2
    told = capsys.readouterr().err
    assert all(flag in told for flag in ("--threads", "--device", "--out"))


def of_a_device(peak=4e14, bandwidth=3e12, launch_s=4e-6):
    """Rows of an accelerator whose GEMMs take what the forms say, at three quarters of its memory's rate."""
    truth = replace(
        Parameters.load(),
        gemm_efficiency=0.9,
        gemm_efficiency_limit=0.9,
        gemm_memory_efficiency=0.75,
        gemm_fixed_s=5e-6,
    )

    def row(op, dtype, seconds, **more):
        return Row(
            library="torch", op=op, dtype=dtype, threads=1, seconds=seconds, median_s=seconds, clock="wall", **more
        )  # fmt: skip

    size = float(1 << 30)
    rows = [row("copy", "fp32", 2 * size / bandwidth, bytes=2 * size), row("launch", "fp32", launch_s)]
    for dtype, share in (("bf16", 1.0), ("fp16", 1.0), ("fp32", 0.1)):
        element = 4 if dtype == "fp32" else 2
        for n in (1024, 4096, 8192):
            for m in (1, n):
                flop, io = 2.0 * m * n * n, 2.0 * element * m * n
                seconds = forms.gemm_s(
                    truth, flop=flop, weight_bytes=float(element * n * n), io_bytes=io, m=m, k=n,
                    peak_flop_per_s=peak * share, bandwidth_bytes_per_s=bandwidth, compute_efficiency=0.9,
                )  # fmt: skip
                counts = {"flop": flop, "bytes": element * n * n + io}
                rows.append(row("gemm", dtype, float(seconds), m=m, n=n, k=n, **counts))
    return rows


def test_a_device_becomes_a_chip_that_a_plan_reads(tmp_path, capsys):
    about = {"name": "NVIDIA H200", "memory_bytes": 141 * 2**30}
    device = device_of("cuda:0", about, of_a_device())
    assert (device.id, device.vendor, device.torch_device) == ("local-cuda-0", "NVIDIA", "cuda")
    assert device.fitted.bandwidth_bytes_per_s == pytest.approx(3e12)
    assert device.fitted.operator["elementwise_fixed_s"] == pytest.approx(4e-6)
    assert 0.8 * 4e14 < device.fitted.peaks["bf16"] < 4e14
    assert device.fitted.error_frac["gemm"] < 0.06
    # The best rate seen is the peak, so a large GEMM reaches about all of it.
    assert device.fitted.operator["gemm_efficiency"] == pytest.approx(1.0, abs=0.1)
    assert device.fitted.operator["gemm_memory_efficiency"] == pytest.approx(0.75, abs=0.08)

    cpu = synthetic()
    folder = records.write(
        tmp_path / "local", cpu, fit(cpu), threads=1, capacity_bytes=2.0**34, device=device
    )
    catalog = Catalog.open([folder])
    chip = catalog.system("local-cuda-0").chip
    assert (chip.kind, chip.name) == ("accelerator", "NVIDIA H200")
    assert float(chip.memory_capacity) == pytest.approx(141 * 2**30, rel=1e-3)
    assert catalog.system("local").chip.id == "local-cpu"
    words = ["plan", "qwen3-8b", "--on", "local-cuda-0", "--catalog", str(folder), "--users", "1", "--json"]
    assert main(words) == 0
    plan = json.loads(capsys.readouterr().out)
    assert any("calibrated on this very chip" in note for note in plan["notes"])
    # 8.2 billion weights of two bytes, each read once per token at three quarters of the memory's rate.
    floor = 2 * 7.6e9 / (0.75 * 3e12)
    assert floor < plan["options"][0]["tpot_s"]["value"] < 2.5 * floor


@pytest.mark.parametrize(
    ("device", "name", "vendor", "record"),
    [
        ("npu:3", "Ascend910B3", "Huawei", "local-npu-3"),
        ("cuda:1", "MetaX C550", "MetaX", "local-cuda-1"),
        ("cuda", "AMD Instinct MI300X", "AMD", "local-cuda"),
        ("cuda:0", "Something else", "Local", "local-cuda-0"),
        ("cpu", "", "Local", "local-torch-cpu"),
    ],
)
def test_whose_device_it_is(device, name, vendor, record):
    told = device_of(device, {"name": name, "memory_bytes": None}, of_a_device())
    assert (told.vendor, told.id, told.memory_bytes) == (vendor, record, None)


def test_a_device_that_was_not_measured_whole_is_told():
    with pytest.raises(EnvironmentLacking, match="a copy, a launch and a GEMM"):
        device_of("cuda:0", {}, [row for row in of_a_device() if row.op != "launch"])


def test_pytorch_on_the_processor_is_a_device_too(tmp_path, capsys):
    pytest.importorskip("torch")
    words = ["probe", "--quick", "--threads", "1", "--device", "cpu", "--out", str(tmp_path), "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out)["device"]
    assert told["id"] == "local-torch-cpu"
    assert told["fitted"]["operator"]["elementwise_fixed_s"] > 0
    assert {"bf16", "fp16", "fp32"} <= set(told["fitted"]["peaks"])
    assert Catalog.open([tmp_path]).system("local-torch-cpu").chip.kind == "cpu"
