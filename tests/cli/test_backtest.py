"""``backtest`` and ``explain-error``: published cases of the repository, and files that are half broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CASES = Path(__file__).parents[1] / "published" / "cases"
SMALL = str(CASES / "infersim.toml")
Run = Callable[..., Any]
GOOD = """
[[case]]
id = "ours-1"
model = "qwen3-32b"
system = "8x nvidia-h100-sxm"
chip = "nvidia-h100-sxm"
engine = "vLLM"
layouts = { all = { tp = 8 } }
chips = { all = 8 }
prompt_tokens = 1024
output_tokens = 512
concurrency = 32
measured = { ttft_s = 0.2, tpot_s = 0.011 }
at = "log"
"""
HEAD = 'schema = 1\n[source]\ndocument = "a run of a test"\n'


@pytest.fixture
def records(tmp_path: Path) -> Path:
    folder = tmp_path / "records"
    folder.mkdir()
    sanity = GOOD.replace("ours-1", "ours-2").replace("at =", 'use = "sanity"\nat =')
    refused = GOOD.replace("ours-1", "ours-3").replace("at =", 'refused = "nobody says how"\nat =')
    (folder / "a.toml").write_text(HEAD + GOOD + sanity + refused, encoding="utf-8")
    return folder


def test_errors_are_told_in_one_sentence_and_in_tables(run: Run) -> None:
    said = run("backtest", str(CASES))
    assert said.code == 0, said.err
    assert said.out.splitlines()[0].endswith("within their 80 % interval.")
    for part in (
        "Errors by metric",
        "By maker of the chip",
        "By engine class",
        "Worst misses",
        "Refused",
        "Operators",
    ):
        assert part in said.out
    assert "cases priced in" in said.err


def test_json_has_one_row_per_figure_and_a_summary(run: Run, records: Path) -> None:
    answer = run("backtest", str(records), "--json", "--by", "chip").json
    assert set(answer) == {"schema", "cases", "summary"}
    assert answer["schema"] == 1
    rows = {(row["id"], row["metric"]): row for row in answer["cases"]}
    assert len(rows) == 6
    row = rows["ours-1", "tpot_s"]
    assert set(row) == {"id", "metric", "measured", "predicted", "low", "high", "error_frac", "refused"}
    assert row["measured"] == 0.011
    assert row["low"] < row["predicted"] < row["high"]
    assert row["error_frac"] == pytest.approx(row["predicted"] / 0.011 - 1)
    assert rows["ours-3", "tpot_s"]["refused"] == "nobody says how"
    assert rows["ours-3", "tpot_s"]["predicted"] is None
    assert set(answer["summary"]) == {"overall", "metric", "chip"}
    found = answer["summary"]["chip"]["nvidia-h100-sxm"]
    assert (found["predicted"], found["refused"]) == (4, 2)
    assert found["width_ratio"] > 1


def test_only_validate_leaves_out_orders_of_magnitude(run: Run, records: Path) -> None:
    everything = run("backtest", str(records), "--json").json["cases"]
    stated = run("backtest", str(records), "--json", "--only-validate").json["cases"]
    assert {row["id"] for row in everything} - {row["id"] for row in stated} == {"ours-2"}


def test_the_worst_come_first_and_as_many_as_asked(run: Run) -> None:
    rows = run("backtest", str(CASES), "--json").json["cases"]
    ratios = {
        (row["id"], row["metric"]): max(
            row["predicted"] / row["measured"], row["measured"] / row["predicted"]
        )
        for row in rows
        if row["predicted"]
    }
    said = run("backtest", str(CASES), "--worst", "1")
    block = said.out.split("Worst misses")[1].split("Refused")[0].splitlines()
    assert max(ratios, key=lambda name: ratios[name])[0] in block[2]
    assert "Worst misses" not in run("backtest", str(CASES), "--worst", "0").out


def test_broken_rows_are_warned_of_with_their_line_and_the_rest_counts(run: Run, records: Path) -> None:
    broken = records / "b.jsonl"
    broken.write_text('{"id": 1}\nnot json\n', encoding="utf-8")
    said = run("backtest", str(records), str(records / "none.csv"), "--json")
    assert said.code == 0
    assert len(said.json["cases"]) == 6
    for place in ("b.jsonl: line 1", "b.jsonl: line 2", "none.csv: no such file"):
        assert f"{place}" in said.err
    assert said.err.count("warning:") >= 3


def test_an_id_counts_once(run: Run, records: Path) -> None:
    said = run("backtest", str(records), str(records / "a.toml"), "--json")
    assert len(said.json["cases"]) == 6
    assert "3 cases stand in an earlier file" in said.err


@pytest.mark.parametrize("content", ['{"id": 1}\n', "", "[[case", "\0\0"])
def test_nothing_that_can_be_read_is_an_error_with_the_faults(run: Run, tmp_path: Path, content: str) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text(content, encoding="utf-8")
    said = run("backtest", str(broken))
    assert said.code == 2
    assert said.out == ""
    assert "broken.jsonl" in said.err
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("backtest", str(empty)).code == 2


def test_all_faults_of_the_words_are_told(run: Run) -> None:
    said = run("backtest", SMALL, "--by", "maker", "--worst", "x", "--plot", "p.gif")
    assert said.code == 2
    for word in ("--by", "vendor", "--worst", "--plot"):
        assert word in said.err


def test_nothing_predicted_is_a_no(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "refused.toml"
    path.write_text(HEAD + GOOD.replace("at =", 'refused = "nobody says how"\nat ='), encoding="utf-8")
    said = run("backtest", str(path))
    assert said.code == 1
    assert said.out.startswith("No figure could be predicted")
    assert "nobody says how" in said.out


def test_a_picture_is_drawn(run: Run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for name in ("p.png", "p.svg"):
        assert run("backtest", SMALL, "--plot", str(tmp_path / name)).code == 0
        assert (tmp_path / name).stat().st_size > 5_000


def test_a_case_is_taken_apart(run: Run) -> None:
    said = run("explain-error", "A011", "--in", str(CASES / "cloudmatrix384.toml"))
    assert said.code == 0, said.err
    assert said.out.startswith("A011: ")
    for part in (
        "Conditions", "Measured and predicted", "What would match", "What limits", "Memory", "Time of a step",
        "Operators", "decode_attention", "DP320", "acceptance 70 %",
    ):  # fmt: skip
        assert part in said.out


def test_the_parts_of_a_case_as_json(run: Run) -> None:
    answer = run("explain-error", "A305", "--in", SMALL, "--json").json
    assert answer["kind"] == "case"
    assert {row["metric"] for row in answer["figures"]} == {
        "prefill_tokens_per_s_per_chip",
        "decode_tokens_per_s_per_chip",
    }
    assert [pool["phase"] for pool in answer["pools"]] == ["prefill", "decode"]
    assert all(pool["steps"][0]["operators"] for pool in answer["pools"])
    assert answer["case"]["id"] == "A305"
    for match in answer["matches"]:
        assert 0 < match["floor_s"] < match["step_s"]


def test_near_ids_on_a_miss_and_the_cases_of_a_checkout(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES.parents[2])
    said = run("explain-error", "A0011")
    assert said.code == 2
    assert "A011" in said.err
    far = run("explain-error", "%%%")
    assert "the files hold" in far.err
    assert run("explain-error", "A011").code == 0
    monkeypatch.chdir(CASES)
    assert "--in FILE" in run("explain-error", "A011").err


def test_a_refused_case_says_why(run: Run, records: Path) -> None:
    said = run("explain-error", "ours-3", "--in", str(records))
    assert said.code == 1
    assert "no prediction, nobody says how" in said.out


def test_an_operator_has_conditions_and_figures(run: Run) -> None:
    said = run("explain-error", "O021", "--in", str(CASES))
    assert said.code == 0, said.err
    assert "operator" in said.out
    assert "Measured and predicted" in said.out
    assert "Time of a step" not in said.out
