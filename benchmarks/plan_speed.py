"""How long a plan takes, as a whole process, beside a peer on the same questions, in one run.

    python benchmarks/plan_speed.py [--peer VENV] [--runs N] [--json FILE]

``--peer`` is a virtual environment with aiconfigurator 0.12.0; without it the peer's column is left out. Every time
is wall-clock of a whole process from a warm disk (one run is thrown away), every memory the operating system's
peak resident set. Medians are printed with the range.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

QUESTIONS = {
    "DeepSeek-R1 on CloudMatrix 384, full search": (
        ["deepseek-r1", "--on", "cloudmatrix384", "--prompt", "4096", "--output", "256", "--tpot", "50ms"],
        None,
        0,
    ),
    "Qwen3-32B on 8 x H200": (
        [
            "qwen3-32b",
            "--on",
            "hgx-h200",
            "--prompt",
            "4096",
            "--output",
            "512",
            "--ttft",
            "2s",
            "--tpot",
            "50ms",
        ],
        ["Qwen/Qwen3-32B", "8", "trtllm"],
        50,
    ),
    "DeepSeek-V3 on 32 x H200": (
        [
            "deepseek-v3",
            "--on",
            "32x nvidia-h200-sxm",
            "--prompt",
            "4096",
            "--output",
            "512",
            "--ttft",
            "2s",
            "--tpot",
            "50ms",
        ],
        ["deepseek-ai/DeepSeek-V3", "32", "trtllm"],
        50,
    ),
}


# Python keeps what it compiled, as it does by default: an installed program is not compiled at each start.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def timed(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak resident bytes of a whole process; raises if it fails."""
    started = time.perf_counter()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as message:
        process = subprocess.Popen(command, stdout=output, stderr=message, env=_ENVIRONMENT)
        _, status, usage = os.wait4(process.pid, 0)
        spent = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        printed = output.tell()
        message.seek(0)
        words = message.read().decode()[-400:]
    if process.returncode != 0 or not printed:
        raise RuntimeError(f"{' '.join(command)} left with {process.returncode}: {words}")
    scale = 1 if sys.platform == "darwin" else 1024
    return spent, usage.ru_maxrss * scale


def series(command: list[str], runs: int) -> dict[str, float]:
    """Median, least and most of ``runs`` runs after one warm-up."""
    timed(command)
    measured = [timed(command) for _ in range(runs)]
    walls = [wall for wall, _ in measured]
    return {
        "median_s": statistics.median(walls),
        "least_s": min(walls),
        "most_s": max(walls),
        "peak_bytes": max(peak for _, peak in measured),
    }


def core_rate() -> dict[str, float]:
    """(layout, batch) candidates that the array program prices in a second, DeepSeek-R1 on CloudMatrix 384."""
    from dougong.catalog.store import Catalog
    from dougong.cost.machine import machine_of
    from dougong.plan.make import pricer_of
    from dougong.plan.serving import colocated, decode_pool
    from dougong.plan.space import build
    from dougong.workload import Workload

    catalog = Catalog.open()
    system, model = catalog.system("cloudmatrix384"), catalog.model("deepseek-r1")
    pricer = pricer_of(
        model,
        machine_of(system),
        system,
        precision="auto",
        kv_dtype=None,
        engine="vendor-tuned",
        imbalance=None,
        draft_tokens=0,
    )
    workload = Workload(prompt_tokens=4096.0, output_tokens=256.0)
    space = build(pricer, workload, 768, step_tokens=pricer.engine.prefill_step_tokens)
    batch = np.arange(1.0, 1025.0)[None, :]
    out: dict[str, float] = {}
    for name, run in (("decode", decode_pool), ("colocated", colocated)):
        best = np.inf
        for _ in range(3):
            started = time.perf_counter()
            served = run(pricer, space.ranks, space.pp, workload, batch, 0.7)
            best = min(best, time.perf_counter() - started)
        count = np.asarray(served.tpot_s).size
        out[f"{name}_candidates"], out[f"{name}_candidates_per_s"] = count, count / best
    return out


def main() -> None:
    """Run and print the table."""
    reader = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    reader.add_argument("--peer", type=Path)
    reader.add_argument("--runs", type=int, default=5)
    reader.add_argument("--json", type=Path)
    words = reader.parse_args()
    own = [sys.executable, "-m", "dougong"]
    results: dict[str, object] = {}
    print(f"{'question':46} {'dougong':>9} {'range':>15} {'peak':>8} {'peer':>9} {'ratio':>7}")
    for name, (ours, peers, _) in QUESTIONS.items():
        mine = series([*own, "plan", *ours, "--json"], words.runs)
        row: dict[str, object] = {"dougong": mine}
        tail = f"{'-':>9} {'-':>7}"
        if words.peer and peers:
            model, chips, backend = peers
            command = [
                str(words.peer / "bin" / "aiconfigurator"),
                "cli",
                "default",
                "--model-path",
                model,
                "--total-gpus",
                chips,
                "--system",
                "h200_sxm",
                "--backend",
                backend,
                "--isl",
                "4096",
                "--osl",
                "512",
                "--ttft",
                "2000",
                "--tpot",
                "50",
            ]
            wall, peak = timed(command)
            row["peer"] = {"wall_s": wall, "peak_bytes": peak}
            tail = f"{wall:>7.1f} s {wall / mine['median_s']:>6.0f}x"
        span = f"{mine['least_s']:.2f}-{mine['most_s']:.2f} s"
        print(f"{name:46} {mine['median_s']:>7.2f} s {span:>15} {mine['peak_bytes'] / 1e6:>5.0f} MB {tail}")
        results[name] = row
    whole = series([*own, "fit", "--json"], max(1, words.runs // 3))
    name = "fit, every model on every system"
    print(f"{name:46} {whole['median_s']:>7.2f} s {'':>15} {whole['peak_bytes'] / 1e6:>5.0f} MB")
    rates = core_rate()
    print(
        f"core: {rates['decode_candidates_per_s'] / 1e6:.1f} million decode and "
        f"{rates['colocated_candidates_per_s'] / 1e6:.1f} million co-located candidates per second"
    )
    if words.json:
        words.json.write_text(
            json.dumps({"schema": 1, **results, "fit": whole, "core": rates}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
