"""Does `dougong measure` agree with an independent load tool on the same endpoint?

``python benchmarks/measure_peer.py --peer VENV [--endpoint URL --model NAME] [--rounds 3] [--page FILE]``

VENV is an environment with NVIDIA's aiperf (``pip install aiperf``). The two tools take turns at one endpoint, by
default the fake engine of ``dougong.testing`` at a set pace, with the same closed loop; the spread over the rounds is
the noise that a difference between the tools is held against.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dougong.measure.prompts import WORDS

USERS, REQUESTS, PROMPT, OUTPUT = 8, 120, 64, 64
PACE = {"ttft_s": 0.08, "itl_s": 0.02}


@contextlib.contextmanager
def endpoint(given: str | None) -> Iterator[str]:
    if given:
        yield given
        return
    from dougong.testing.fake_engine import FakeEngine

    with FakeEngine(**PACE) as engine:
        yield engine.url


def ours(url: str, model: str) -> dict[str, float]:
    words = ["measure", url, "--model", model, "--users", USERS, "--requests", REQUESTS]
    words += ["--prompt", PROMPT, "--output", OUTPUT, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "dougong", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    found = json.loads(done.stdout)["summary"]
    return {
        "TTFT, median": found["ttft_s"]["quantiles"]["0.5"]["value"],
        "ITL, median of requests' means": found["tpot_s"]["quantiles"]["0.5"]["value"],
        "output tokens/s": found["output_tokens_per_s"]["value"],
    }


def tokenizer(folder: Path, venv: Path) -> Path:
    """A tokenizer of one token per word: the peer wants one, and nothing is fetched."""
    code = (
        "import json, sys; from tokenizers import Tokenizer, models, pre_tokenizers;"
        "from transformers import PreTrainedTokenizerFast as Fast; words = json.load(sys.stdin);"
        "t = Tokenizer(models.WordLevel({w: i for i, w in enumerate(['[UNK]', *words])}, unk_token='[UNK]'));"
        "t.pre_tokenizer = pre_tokenizers.Whitespace();"
        "Fast(tokenizer_object=t, unk_token='[UNK]', bos_token='[UNK]', eos_token='[UNK]').save_pretrained(sys.argv[1])"
    )
    words = json.dumps(list(dict.fromkeys(WORDS)))
    subprocess.run([venv / "bin" / "python", "-c", code, str(folder)], input=words, text=True, check=True)
    return folder


def theirs(url: str, model: str, venv: Path, folder: Path, words: Path) -> dict[str, float]:
    command = [
        venv / "bin" / "aiperf", "profile", "--model", model, "--url", url, "--endpoint-type", "chat", "--streaming",
        "--concurrency", USERS, "--request-count", REQUESTS, "--tokenizer", words,
        "--synthetic-input-tokens-mean", PROMPT, "--synthetic-input-tokens-stddev", 0,
        "--output-tokens-mean", OUTPUT, "--output-tokens-stddev", 0, "--extra-inputs", "ignore_eos:true",
        "--extra-inputs", f"min_tokens:{OUTPUT}", "--artifact-dir", folder, "--ui", "none", "--use-server-token-count",
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, check=False)
    found = sorted(folder.rglob("profile_export_aiperf.json"))
    if done.returncode or not found:
        raise SystemExit(f"aiperf: exit {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    report = json.loads(found[-1].read_text())
    return {
        "TTFT, median": report["time_to_first_token"]["p50"] / 1e3,
        "ITL, median of requests' means": report["inter_token_latency"]["p50"] / 1e3,
        "output tokens/s": report["output_token_throughput"]["avg"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", type=Path, required=True, help="environment with aiperf")
    parser.add_argument("--endpoint", help="the fake engine by default")
    parser.add_argument("--model", default="fake")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page", type=Path, help="write the table to this page, between its marks")
    told = parser.parse_args()
    rounds: dict[str, list[dict[str, float]]] = {"dougong measure": [], "aiperf": []}
    with tempfile.TemporaryDirectory() as scratch, endpoint(told.endpoint) as url:
        words = tokenizer(Path(scratch) / "words", told.peer)
        for at in range(told.rounds):
            rounds["dougong measure"].append(ours(url, told.model))
            rounds["aiperf"].append(theirs(url, told.model, told.peer, Path(scratch) / f"round-{at}", words))
            print(f"round {at + 1}: {rounds['dougong measure'][-1]} | {rounds['aiperf'][-1]}", flush=True)
    table = page(rounds)
    print(table)
    if told.page:
        text = told.page.read_text(encoding="utf-8")
        head, _, rest = text.partition("<!-- peer -->\n")
        _, _, tail = rest.partition("<!-- end of peer -->")
        told.page.write_text(f"{head}<!-- peer -->\n{table}<!-- end of peer -->{tail}", encoding="utf-8")
    return 0


def page(rounds: dict[str, list[dict[str, float]]]) -> str:
    count = len(rounds["aiperf"])
    lines = [
        f"Beside aiperf at one endpoint, {USERS} users, {REQUESTS} requests of {PROMPT} + {OUTPUT} tokens,",
        f"{count} rounds each in turn (`python benchmarks/measure_peer.py --peer VENV`):",
        "means over the rounds, and the spread within a tool.",
        "",
        "| | dougong measure | aiperf | difference | spread of a tool over its rounds |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name in rounds["aiperf"][0]:
        sides = {tool: [one[name] for one in found] for tool, found in rounds.items()}
        means = {tool: statistics.fmean(values) for tool, values in sides.items()}
        spread = max((max(values) - min(values)) / means[tool] for tool, values in sides.items())
        mine, other = means["dougong measure"], means["aiperf"]
        scale, unit = (1.0, "") if "tokens" in name else (1e3, " ms")
        cells = [f"{value * scale:.1f}{unit}" for value in (mine, other)]
        lines.append(f"| {name} | {' | '.join(cells)} | {mine / other - 1:+.1%} | {spread:.1%} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
