"""``dougong measure`` as a user has it, and a run beside its plan."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("aiohttp")

from dougong.cli import main
from dougong.errors import InputError
from dougong.measure.against import against
from dougong.metrics import RequestRecord, read_run, summarise


def run(*words):
    return main(["measure", *map(str, words)])


def test_the_answer_in_text_json_picture_and_file(stub, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    stub.first_s = stub.gap_s = 0.002
    out, picture = tmp_path / "run.jsonl", tmp_path / "run.png"
    words = [stub.url, "--users", 2, "--requests", 12, "--prompt", 30, "--output", 6, "--tpot", "1s"]
    assert run(*words, "--out", out, "--plot", picture) == 0
    told = capsys.readouterr()
    for said in (
        "2 users, closed loop",
        "TTFT",
        "TPOT",
        "ITL",
        "goodput",
        "100 % of requests",
        "12 ok",
        "30 tokens in, 6 out",
    ):
        assert said in told.out, said
    assert "tiny at" in told.err
    assert picture.stat().st_size > 10_000
    assert len(read_run(out).requests) == 12
    assert run(*words, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    assert found["kind"] == "measured"
    assert found["summary"]["by_status"] == {"ok": 12}
    assert found["summary"]["ttft_s"]["quantiles"]["0.5"]["value"] > 0
    assert found["counted_by"] == {"one token per piece, as the total says": 12}


def test_no_answer_at_all_is_a_no(stub, capsys, monkeypatch):
    monkeypatch.setattr("dougong.cli.measure.LiveLine.met", lambda *_: setattr(stub, "status", 429))
    assert run(stub.url, "--requests", 3) == 1
    assert "3 shed" in capsys.readouterr().out


def test_all_faults_are_told_at_once(capsys, tmp_path):
    words = [
        "http://127.0.0.1:9",
        "--users",
        "2",
        "--rate",
        "3",
        "--prompt",
        "x",
        "--output",
        "0",
        "--ttft",
        "5 apples",
    ]
    words += [
        "--api",
        "soap",
        "--out",
        str(tmp_path / "no" / "run.jsonl"),
        "--plan",
        str(tmp_path / "no.json"),
    ]
    assert run(*words, "--api-key-file", tmp_path / "nokey", "--duration", "0s", "--plot", "x.gif") == 2
    told = capsys.readouterr().err
    for about in (
        "--rate",
        "--prompt",
        "--output",
        "--ttft",
        "--api:",
        "--out",
        "--plan",
        "--api-key-file",
        "--duration",
        "--plot",
    ):
        assert about in told, about


def test_who_is_not_there_is_an_engine_error(capsys):
    assert run("http://127.0.0.1:9", "--requests", 1) == 5
    assert "does not answer" in capsys.readouterr().err


def test_a_key_is_sent_and_never_shown(stub, tmp_path, capsys):
    stub.key = "sk-very-secret"
    key, out = tmp_path / "key", tmp_path / "run.jsonl"
    key.write_text("sk-very-secret\n")
    assert run(stub.url, "--requests", 2, "--api-key-file", key, "--out", out, "--json") == 0
    told = capsys.readouterr()
    assert "secret" not in told.out + told.err + out.read_text()


def test_a_trace_drives_it(stub, tmp_path, capsys):
    trace = tmp_path / "trace.jsonl"
    rows = [{"arrival_s": 5 + n / 50, "prompt_tokens": 20 + n, "output_tokens": 3} for n in range(6)]
    trace.write_text("\n".join(map(json.dumps, rows)))
    assert run(stub.url, "--trace", trace, "--json") == 0
    assert json.loads(capsys.readouterr().out)["summary"]["by_status"] == {"ok": 6}
    lengths = trace.with_name("lengths.csv")
    lengths.write_text("num_prefill_tokens,num_decode_tokens\n10,3\n")
    assert run(stub.url, "--trace", lengths) == 2
    assert "no times" in capsys.readouterr().err


def plan_file(tmp_path, **change):
    interval = {"value": 0.5, "low": 0.4, "high": 0.6}
    option = {
        "system": "s",
        "users": 1.0,
        "ttft_s": interval,
        "tpot_s": interval,
        "output_tokens_per_s": interval,
    }
    workload = {"prompt_tokens": 10.0, "output_tokens": 3.0, "rate_requests_per_s": None}
    plan = {
        "schema": 1,
        "kind": "plan",
        "model_name": "M",
        "options": [option],
        "request": {"workload": workload},
    }
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(plan | change))
    return path


def test_a_real_plan_is_read(stub, tmp_path, capsys):
    words = ["plan", "smollm2-135m", "--on", "intel-xeon-8380", "--engine", "llama-cpp", "--prompt", "30"]
    assert main([*words, "--output", "6", "--users", "2", "--json"]) == 0
    plan = tmp_path / "plan.json"
    plan.write_text(capsys.readouterr().out)
    load = [stub.url, "--users", 2, "--requests", 12, "--prompt", 30, "--output", 6]
    assert run(*load, "--plan", plan, "--json") == 0
    beside = json.loads(capsys.readouterr().out)["beside_plan"]
    assert [row["name"] for row in beside["rows"]] == ["TTFT, mean", "TPOT, mean", "output"]
    assert beside["differences"] == []
    assert run(*load, "--plan", plan) == 0
    assert "Predicted and measured" in capsys.readouterr().out


def records(tpot=0.55):
    return [
        RequestRecord(
            id=str(n), arrival_s=3.0 * n, first_token_s=3.0 * n + 0.45, last_token_s=3.0 * n + 0.45 + 2 * tpot,
            end_s=3.0 * n + 2, prompt_tokens=10, output_tokens=3,
        )
        for n in range(8)
    ]  # fmt: skip


def test_a_run_beside_its_plan(tmp_path):
    found = against(plan_file(tmp_path), summarise(records()), users=1, rate=None)
    rows = {row.name: row for row in found.rows}
    assert rows["TPOT, mean"].error_frac == pytest.approx(0.5 / 0.55 - 1)
    assert rows["TPOT, mean"].inside
    assert rows["TTFT, mean"].inside
    assert not rows["output"].inside
    assert found.differences == ()
    other = against(plan_file(tmp_path), summarise(records()), users=4, rate=None)
    assert other.differences == ("users: the plan's 1, the run's 4",)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "infeasible"}, "a no predicts nothing"),
        ({"options": []}, "no plan"),
        ({"schema": 9}, "schema 9"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        against(plan_file(tmp_path, **change), summarise(records()), users=1, rate=None)
    (tmp_path / "plan.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        against(tmp_path / "plan.json", summarise(records()), users=1, rate=None)
