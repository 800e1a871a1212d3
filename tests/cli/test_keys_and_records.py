"""The words of ``dougong keys`` and ``dougong records``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dougong.cli import main
from dougong.gateway.records import Entry, Records
from dougong.metrics import RequestRecord, read_run


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "keys.toml")


def test_a_key_is_made_listed_and_removed(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--rate", "5", "--burst", "9", "--concurrent", "3", "--model", "m", "--expires", "2099-01-01"]
    assert main(["keys", "add", "alice", "--file", file, *words]) == 0
    key = capsys.readouterr().out.strip()
    assert key.startswith("dg-")
    assert key not in Path(file).read_text()
    assert main(["keys", "list", "--file", file]) == 0
    shown = capsys.readouterr().out
    for word in ("alice", "5 requests/s", "9 at once", "3 at a time", "2099-01-01"):
        assert word in shown
    assert main(["keys", "list", "--file", file, "--json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["schema"], value["kind"], value["keys"][0]["burst"]) == (1, "keys", 9)
    assert not {"salt", "sha256"} & set(value["keys"][0])
    assert main(["keys", "remove", "alice", "--file", file]) == 0
    assert main(["keys", "add", "bob", "--file", file, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "bob"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "a b"], "name 'a b'"),
        (["add", "a", "--rate", "-1"], "requests_per_s is -1"),
        (["add", "a", "--burst", "2"], "burst needs requests_per_s"),
        (["list"], "make one with: dougong keys add NAME"),
        (["remove", "a"], "there is no file"),
    ],
)
def test_wrong_words_are_told(
    file: str, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert main(["keys", *words, "--file", file]) == 2
    assert said in capsys.readouterr().err


def test_a_name_is_taken_once_and_a_missing_one_told(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "add", "alice", "--file", file]) == 0
    assert main(["keys", "add", "alice", "--file", file]) == 2
    assert main(["keys", "remove", "alicia", "--file", file]) == 2
    assert "there are: alice" in capsys.readouterr().err


def test_records_are_shown_and_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, out = tmp_path / "records.sqlite", tmp_path / "run.jsonl"
    records = Records(base, 1 << 20, on_fault=pytest.fail)
    one = RequestRecord(
        id="a", arrival_s=1.0, sent_s=1.1, end_s=2.0, prompt_tokens=5, output_tokens=7, replica="r"
    )
    records.put(Entry(one, "alice", "m", "/v1/completions", False, 200, 1))
    records.close()
    assert main(["records", "usage", "--file", str(base)]) == 0
    shown = capsys.readouterr().out
    assert "alice" in shown
    assert main(["records", "usage", "--file", str(base), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["usage"]
    assert (row["requests"], row["prompt_tokens"], row["output_tokens"]) == (1, 5, 7)
    assert main(["records", "export", "--file", str(base), "--out", str(out)]) == 0
    run = read_run(out)
    assert run.header["by"] == "dougong gateway"
    assert (run.requests[0].id, run.requests[0].output_tokens) == ("0:a", 7)
    assert main(["records", "export", "--file", str(base), "--run", "9", "--out", str(out)]) == 2
    assert main(["records", "usage", "--file", str(tmp_path / "none")]) == 2
    assert "no file of records" in capsys.readouterr().err
