"""What the gateway costs, beside a direct connection and beside LiteLLM's proxy, in one run with one client.

    python benchmarks/gateway_overhead.py [--peer VENV] [--rounds N] [--streams N] [--json FILE]

A fake engine answers at once, so that all that is seen is the way. Every endpoint is asked in turn, round after round;
medians over rounds are printed. The gateway runs as users run it: one process, keys asked for, records and metrics
kept. ``--peer`` is a virtual environment with ``litellm[proxy]``; it runs one worker, as the gateway does, logging
errors alone, with its own key asked for and no database. The last part holds ``--streams`` streams at once at a pace
of ten tokens a second and counts every token of every stream.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from http_load import Result, allow_files, child, load, median, quantile

from dougong.gateway import loop_factory
from dougong.gateway.keys import add_key
from dougong.testing.fake_engine import FakeEngine

_GATEWAY = """
import sys
from pathlib import Path
from dougong.gateway import Replica, Settings, build_app, run_app
port, engine, keys, records = sys.argv[1:]
settings = Settings(keys_file=Path(keys), records=Path(records))
run_app(build_app(settings, [Replica(url=engine, max_concurrent=100_000)]), port=int(port))
"""
_PEER_KEY = "sk-benchmark-0123456789abcdefghijklmnopqrstuv"
_PEER = """model_list:
  - model_name: fake
    litellm_params: {{model: openai/fake, api_base: {engine}/v1, api_key: none}}
general_settings: {{master_key: {key}}}
litellm_settings: {{telemetry: false, num_retries: 0, request_timeout: 600}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start_peer(stack: contextlib.ExitStack, venv: Path, engine: str, folder: Path) -> tuple[str, str]:
    port, config = free_port(), folder / "litellm.yaml"
    config.write_text(_PEER.format(engine=engine, key=_PEER_KEY))
    command = [
        str(venv / "bin" / "litellm"),
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    env = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "PYTHONPATH": ""}
    url = f"http://127.0.0.1:{port}"
    stack.enter_context(child([*command, "--num_workers", "1"], f"{url}/health/liveliness", env=env))
    return url, _PEER_KEY


def start_gateway(stack: contextlib.ExitStack, engine: str, folder: Path) -> tuple[str, str]:
    port, keys = free_port(), folder / "keys.toml"
    key = add_key(keys, "benchmark")
    url = f"http://127.0.0.1:{port}"
    words = [str(port), engine, str(keys), str(folder / "records.sqlite")]
    stack.enter_context(child([sys.executable, "-c", _GATEWAY, *words], f"{url}/health/ready"))
    return url, key


def summary(results: list[Result]) -> dict[str, float]:
    """Medians over rounds."""
    return {
        "requests_per_s": median([r.requests_per_s for r in results]),
        "tokens_per_s": median([r.tokens_per_s for r in results]),
        "p50_s": median([quantile(r.e2e_s, 0.5) for r in results]),
        "p99_s": median([quantile(r.e2e_s, 0.99) for r in results]),
        "ttft_p50_s": median([quantile(r.ttft_s, 0.5) for r in results]),
        "ttft_p99_s": median([quantile(r.ttft_s, 0.99) for r in results]),
        "lost": sum(r.lost for r in results),
    }


async def compare(
    endpoints: dict[str, tuple[str, str]], rounds: int, **words: Any
) -> dict[str, dict[str, float]]:
    """Ask every endpoint in turn, so that a busy minute of the machine is shared among them."""
    seen: dict[str, list[Result]] = {name: [] for name in endpoints}
    for turn in range(rounds + 1):
        for name, (url, key) in endpoints.items():
            slow = 10 if name == "litellm" else 1  # fewer requests of the slower, for as long a run
            requests = max(words["connections"], words["requests"] // slow)
            result = await load(url, key=key, **{**words, "requests": requests})
            if turn:  # the first one warms up
                seen[name].append(result)
    return {name: summary(results) for name, results in seen.items()}


async def hold(
    endpoints: dict[str, tuple[str, str]], streams: int, tokens: int
) -> dict[str, dict[str, float]]:
    """Hold so many streams at once, each paced by the engine."""
    rows: dict[str, dict[str, float]] = {}
    for name, (url, key) in endpoints.items():
        result = await load(
            url,
            key=key,
            connections=streams,
            requests=streams,
            tokens=tokens,
            stream=True,
            gaps=True,
            within_s=180,
        )
        rows[name] = {
            "answered": len(result.e2e_s),
            "lost": result.lost,
            "tokens": result.tokens,
            "tokens_per_s": result.tokens_per_s,
            "ttft_p50_s": quantile(result.ttft_s, 0.5),
            "ttft_p99_s": quantile(result.ttft_s, 0.99),
            "gap_p50_s": quantile(result.gap_s, 0.5),
            "gap_p99_s": quantile(result.gap_s, 0.99),
        }
    return rows


def show(title: str, rows: dict[str, dict[str, float]], names: list[str]) -> None:
    print(f"\n{title}\n\n| way | {' | '.join(names)} |\n| --- |{' ---: |' * len(names)}")
    for way, row in rows.items():
        cells = [
            f"{row[n] * 1e3:,.2f} ms" if n.endswith("_s") and "per" not in n else f"{row[n]:,.0f}"
            for n in names
        ]
        print(f"| {way} | {' | '.join(cells)} |")


async def main(words: argparse.Namespace) -> int:
    allow_files()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = stack.enter_context(FakeEngine())
        endpoints = {"direct": (engine.url, ""), "dougong": start_gateway(stack, engine.url, folder)}
        if words.peer:
            endpoints["litellm"] = start_peer(stack, words.peer, engine.url, folder)
        one = await compare(endpoints, words.rounds, connections=1, requests=500, tokens=8, stream=False)
        show("One request at a time, in one piece", one, ["p50_s", "p99_s"])
        first = await compare(endpoints, words.rounds, connections=1, requests=200, tokens=8, stream=True)
        show("One stream at a time", first, ["ttft_p50_s", "ttft_p99_s", "p50_s", "p99_s"])
        many = await compare(endpoints, words.rounds, connections=32, requests=4000, tokens=8, stream=False)
        show("32 clients, in one piece", many, ["requests_per_s", "p50_s", "p99_s", "lost"])
        flow = await compare(endpoints, words.rounds, connections=32, requests=400, tokens=100, stream=True)
        show("32 clients, streams of 100 tokens", flow, ["tokens_per_s", "p50_s", "p99_s", "lost"])
        engine.script(ttft_s=0.2, itl_s=0.1)
        held = await hold(endpoints, words.streams, tokens=100)
        names = ["answered", "lost", "tokens", "ttft_p50_s", "ttft_p99_s", "gap_p50_s", "gap_p99_s"]
        show(f"{words.streams:,} streams at once, a token every 100 ms after 200 ms", held, names)
    added = {q: one["dougong"][q] - one["direct"][q] for q in ("p50_s", "p99_s")}
    print(f"\nadded by the gateway: p50 {added['p50_s'] * 1e3:.2f} ms, p99 {added['p99_s'] * 1e3:.2f} ms")
    report: dict[str, Any] = {
        "schema": 1,
        "cores": os.cpu_count(),
        "added": added,
        "one": one,
        "stream": first,
    }
    report |= {"many": many, "flow": flow, "held": held}
    if words.peer:
        ratios = {
            "requests_per_s": many["dougong"]["requests_per_s"] / many["litellm"]["requests_per_s"],
            "tokens_per_s": flow["dougong"]["tokens_per_s"] / flow["litellm"]["tokens_per_s"],
        }
        report["ratios"] = ratios
        print(
            f"beside LiteLLM: {ratios['requests_per_s']:.1f} x requests/s, {ratios['tokens_per_s']:.1f} x tokens/s"
        )
    if words.json:
        words.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0 if held["dougong"]["lost"] == 0 else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peer", type=Path, metavar="VENV", help="environment with litellm[proxy]")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        sys.exit(runner.run(main(parser.parse_args())))
