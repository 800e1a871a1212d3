"""The surface of the command line, frozen: an option that goes away breaks somebody's script."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from dougong.cli.entry import COMMANDS, dougong

QUESTION = [
    "--on", "--prompt", "--output", "--trace", "--prefix-hit", "--rate", "--users", "--ttft", "--tpot", "--objective",
    "--mode", "--precision", "--kv-dtype", "--max-context", "--engine", "--launchable", "--chips", "--draft-tokens",
    "--acceptance", "--imbalance", "--top", "--usd-per-chip-hour", "--usd-per-kwh", "--grid",
    "--watts-per-chip", "--pue", "--region", "--catalog", "--plot", "--json",
]  # fmt: skip
FROZEN = {
    "dougong": ["--version"],
    "dougong plan": [*QUESTION, "--explain"],
    "dougong compare": QUESTION,
    "dougong fit": [
        "--models", "--systems", "--prompt", "--output", "--trace", "--ttft", "--tpot", "--precision", "--engine",
        "--catalog", "--plot", "--json",
    ],
    "dougong backtest": ["--by", "--worst", "--only-validate", "--catalog", "--plot", "--json"],
    "dougong probe": ["--threads", "--device", "--quick", "--out", "--json"],
    "dougong measure": [
        "--users", "--rate", "--trace", "--arrivals", "--prompt", "--output", "--duration", "--requests", "--warmup",
        "--timeout", "--ttft", "--tpot", "--seed", "--model", "--api", "--api-key-file", "--plan", "--out", "--plot",
        "--json",
    ],
    "dougong calibrate": [
        "--model", "--on", "--engine", "--precision", "--catalog", "--out", "--dry-run", "--json",
    ],
    "dougong explain-error": ["--in", "--catalog", "--json"],
    "dougong catalog": [],
    "dougong catalog list": ["--vendor", "--catalog", "--json"],
    "dougong catalog show": ["--kind", "--catalog", "--json"],
    "dougong catalog diff": ["--kind", "--catalog", "--json"],
    "dougong serve": [
        "--engine", "--device", "--name", "--engine-args", "--tp", "--pp", "--dp", "--ep", "--cp", "--context",
        "--sequences", "--chunk", "--draft-tokens", "--threads", "--dtype", "--quantization", "--kv-dtype",
        "--copies", "--option", "--host", "--port", "--concurrent", "--queue", "--queue-timeout", "--connections",
        "--attempts", "--request-timeout", "--first-byte-timeout", "--stall-timeout", "--connect-timeout",
        "--header-timeout", "--body-timeout", "--drain-timeout", "--body-limit", "--reply-limit", "--records-limit",
        "--health-every", "--health-timeout", "--checks-failed", "--start-timeout", "--end-timeout", "--deaths",
        "--deaths-within", "--restart-after", "--restart-at-most", "--records", "--log", "--embeddings", "--plan",
        "--replica", "--keys", "--allow-open", "--no-records", "--refresh", "--dry-run", "--script", "--json",
    ],
    "dougong devices": ["--no-torch", "--catalog", "--json"],
    "dougong models": [],
    "dougong models list": ["--json"],
    "dougong models pull": ["--refresh", "--json"],
    "dougong models remove": [],
    "dougong engines": ["--json"],
    "dougong completion": [],
    "dougong records": [],
    "dougong records usage": ["--file", "--json"],
    "dougong records export": ["--file", "--run", "--out"],
    "dougong keys": [],
    "dougong keys add": [
        "--file", "--rate", "--burst", "--concurrent", "--model", "--expires", "--json",
    ],
    "dougong keys remove": ["--file"],
    "dougong keys list": ["--file", "--json"],
    "dougong verify": [],
    "dougong verify ops": [
        "--backend", "--profile", "--semantics", "--only", "--seed", "--ledger", "--python", "--jobs", "--threads",
        "--timeout", "--memory", "--out", "--json", "--junit", "--html", "--no-mutants",
    ],
    "dougong verify list": ["--profile", "--only", "--json"],
    "dougong verify cases": ["--onnx", "--profile", "--only", "--seed", "--json"],
    "dougong verify keygen": [],
    "dougong verify certify": ["--key", "--out", "--grade", "--reproduces", "--days", "--python", "--ledger"],
    "dougong verify check": [
        "--trusted", "--evidence", "--stack-here", "--reproduce", "--seen", "--python", "--json", "--ledger",
    ],
    "dougong verify report": ["--html", "--junit", "--scripts", "--json", "--ledger"],
    "dougong verify mutants": ["--only", "--all", "--profile", "--seed", "--json"],
}  # fmt: skip


def walk(command: click.Command, path: str) -> dict[str, click.Command]:
    found = {path: command}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            found |= walk(child, f"{path} {name}")
    return found


TREE = walk(dougong, "dougong")


@pytest.mark.parametrize("path", FROZEN)
def test_options_are_frozen(path: str) -> None:
    options = [option.opts[0] for option in TREE[path].params if isinstance(option, click.Option)]
    assert options == FROZEN[path]


def test_later_commands_are_added_to_the_frozen_list() -> None:
    assert set(TREE) == set(FROZEN)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_the_command_says(name: str) -> None:
    assert TREE[f"dougong {name}"].get_short_help_str(200) == COMMANDS[name][1]


@pytest.mark.parametrize("path", FROZEN)
def test_every_command_and_option_is_explained(path: str) -> None:
    command = TREE[path]
    assert command.help
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{path} {option.opts[0]} has no help"
            assert option.help.endswith((".", "]")), (
                f"{path} {option.opts[0]}: a sentence ends with a full stop"
            )


def test_help_comes_without_what_a_plan_needs() -> None:
    code = """
import sys
from dougong.cli.entry import run
code = run(["--help"])
heavy = {"numpy", "rich", "matplotlib", "torch", "starlette", "aiohttp", "onnx", "cryptography"} & set(sys.modules)
sys.exit(code or (f"imported: {heavy}" if heavy else 0))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
