"""The page on JSON names every key that is printed, and no key that is not."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dougong.cli import main

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
    "groups", "metric", "vendor", "family", "engine_class", "regime", "operator", "case",
}  # fmt: skip
"""Keys whose own keys are names of things, or fields of a record."""


def keys_of(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            if key not in OPEN:
                yield from keys_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from keys_of(inner)


@pytest.fixture(scope="module")
def printed() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, words in COMMANDS.items():
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            assert main(split(words)) in (0, 1)
        found[name] = set(keys_of(json.loads(out.getvalue())))
    return found


def split(words: str) -> list[str]:
    return [word.replace("*", " x ") for word in words.split()] + ["--json"]


def named() -> set[str]:
    # Words of the command line and verdicts stand in backticks too; a key is what looks like one.
    return set(re.findall(r"`([a-z][a-z0-9_]*)`", PAGE.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_key_is_on_the_page(name: str, printed: dict[str, set[str]]) -> None:
    missing = printed[name] - named()
    assert not missing, f"docs/reference/json.md lacks {sorted(missing)}"


def test_every_key_of_the_tables_is_printed(printed: dict[str, set[str]]) -> None:
    rows = re.findall(r"^\| (`[^|]*) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    tabled = {key for row in rows for key in re.findall(r"`([a-z0-9_]+)`", row)}
    assert len(tabled) > 50
    assert not tabled - set().union(*printed.values())
