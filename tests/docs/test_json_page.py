"""The page on JSON names every key that is printed, and no key that is not."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from dougong.cli import main
from dougong.engines.models.store import StoredFile, folder_of, make_record
from dougong.testing.fake_engine import FakeEngine

pytest.importorskip("aiohttp")

PAGE = Path(__file__).parent.parent.parent / "docs" / "reference" / "json.md"
CASES = Path(__file__).parents[1] / "published" / "cases"
COMMANDS = {
    "a plan": "plan deepseek-v2-lite --on 2*hgx-h100 --tpot 50ms --usd-per-kwh 0.1",
    "a no": "plan qwen3-8b --on hgx-h100 --tpot 1us",
    "a comparison": "compare qwen3-8b --on hgx-h100,hgx-h200",
    "a fit": "fit --models qwen3-8b,deepseek-r1 --systems hgx-h100",
    "a difference": "catalog diff huawei-910c nvidia-h100-sxm",
    "a source": "catalog show cm384-paper",
    "a backtest": f"backtest {CASES}",
    "a case": f"explain-error A305 --in {CASES}/infersim.toml",
}
OPEN = {
    "groups", "metric", "vendor", "family", "engine_class", "regime", "operator", "quantiles", "by_status",
    "errors", "counted_by", "peaks", "engine", "error", "before", "after", "unseen", "env", "workload",
}  # fmt: skip
"""Keys whose own keys are names of things, or fields of a record."""
RECORDS = {"a case": {"case"}, "a probe": {"error_frac"}, "a calibration": {"measured"}}
"""More such keys, where another answer has a key of that name with keys of its own."""


def keys_of(value: object, closed: frozenset[str]) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in closed:
                yield from keys_of(inner, closed)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner, closed)


def answer(words: Sequence[object]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        assert main([str(word) for word in words]) in (0, 1)
    return out.getvalue()


def of_this_machine(folder: Path) -> Iterator[tuple[str, str]]:
    """What the commands print that measure, serve and look."""
    lengths = ["--prompt", 40, "--output", 8, "--json"]
    chip = ["--on", "intel-xeon-8380", "--precision", "w4a16", "--engine", "llama-cpp"]
    plan = folder / "plan.json"
    plan.write_text(answer(["plan", "smollm2-135m", *chip, *lengths]))
    with FakeEngine(itl_s=0.002) as engine:
        measure = ["measure", engine.url, "--requests", 12, "--plan", plan, "--tpot", "1s", *lengths]
        runs = [folder / f"run-{users}.jsonl" for users in (1, 2, 4)]
        for users, run in zip((1, 2, 4), runs, strict=True):
            measured = answer([*measure, "--users", users, "--out", run])
    yield "a measured run", measured
    on = ["--model", "smollm2-135m", *chip, "--dry-run", "--json"]
    yield "a calibration", answer(["calibrate", *runs, *on])
    yield "a probe", answer(["probe", "--quick", "--threads", 1, "--out", folder / "probe", "--json"])
    yield "a machine", answer(["devices", "--no-torch", "--json"])
    yield "engines", answer(["engines", "--json"])
    model = folder / "tiny.gguf"
    model.write_bytes(b"GGUF\x03\x00\x00\x00" + b"\x00" * 16)
    yield "a model", answer(["models", "pull", model, "--json"])
    cached = folder_of("pypi", "x--1")
    cached.mkdir(parents=True)
    make_record("pypi:x", "1", [StoredFile(path="a.gguf", size=1, sha256="0" * 64)], cached)
    yield "models", answer(["models", "list", "--json"])
    events, _, launch = answer(
        ["serve", "--plan", plan, "--engine", "vllm", "--dry-run", "--json"]
    ).partition('{\n  "schema"')
    yield "a launch", f'{{"schema"{launch}'
    yield "events", json.dumps([json.loads(line) for line in events.splitlines()])


TOOL = """#!/bin/sh
echo "0, NVIDIA H200, 143771, 570.124.06"
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    folder = tmp_path_factory.mktemp("json")
    tool = folder / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text(TOOL)
    tool.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOUGONG_CACHE", str(folder / "cache"))
        patch.setenv("DOUGONG_STATE", str(folder / "state"))
        patch.setenv("PATH", str(tool.parent), prepend=os.pathsep)
        answers = [(name, answer([*split(words)])) for name, words in COMMANDS.items()]
        answers += of_this_machine(folder)
    return {
        name: set(keys_of(json.loads(text), frozenset(OPEN | RECORDS.get(name, set()))))
        for name, text in answers
    }


def split(words: str) -> list[str]:
    return [word.replace("*", " x ") for word in words.split()] + ["--json"]


def named() -> set[str]:
    # Words of the command line and verdicts stand in backticks too; a key is what looks like one.
    return set(re.findall(r"`([a-z][a-z0-9_]*)`", PAGE.read_text(encoding="utf-8")))


def test_every_key_is_on_the_page(printed: dict[str, set[str]]) -> None:
    known = named()
    missing = {name: sorted(keys - known) for name, keys in printed.items() if keys - known}
    assert not missing, f"docs/reference/json.md lacks {missing}"
    assert {"via", "driver", "usable"} <= printed["a machine"], "a device and its tool are shown"
    assert {"quantiles", "inside", "kept_up"} <= printed["a measured run"]


def test_every_key_of_the_tables_is_printed(printed: dict[str, set[str]]) -> None:
    rows = re.findall(r"^\| (`[^|]*) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    tabled = {key for row in rows for key in re.findall(r"`([a-z0-9_]+)`", row)}
    assert len(tabled) > 50
    assert not tabled - set().union(*printed.values())
