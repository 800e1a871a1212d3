"""What the commands answer: exit codes, where data and words go, JSON that tools can rely on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dougong.catalog.store import Catalog
from dougong.facts import Unknown

QUESTION = ("--prompt", "1024", "--output", "256")
ON = ("--on", "hgx-h100")
Run = Callable[..., Any]


def test_a_plan_answers_in_its_first_sentence(run: Run, model: str) -> None:
    said = run("plan", model, *ON, *QUESTION)
    assert said.code == 0, said.err
    assert said.out.startswith("Yes: ")
    for part in ("Winner", "Ranked", "Memory", "Time of a step", "Why", "Sources", "worst grade"):
        assert part in said.out
    assert "priced in" in said.err
    assert "priced in" not in said.out
    assert "\x1b" not in said.out


def test_a_no_has_exit_code_one_reasons_and_remedies(run: Run, model: str) -> None:
    said = run("plan", model, *ON, *QUESTION, "--tpot", "1us")
    assert said.code == 1
    assert said.out.startswith("No: ")
    assert "what would help" in said.out
    answer = run("plan", model, *ON, *QUESTION, "--tpot", "1us", "--json")
    assert answer.code == 1
    assert answer.json["kind"] == "infeasible"
    assert answer.json["refusals"]


def test_the_same_question_gives_the_same_bytes(run: Run, model: str) -> None:
    first = run("plan", model, *ON, *QUESTION, "--json")
    assert first.out == run("plan", model, *ON, *QUESTION, "--json").out


def test_plan_json_has_its_keys(run: Run, model: str) -> None:
    answer = run("plan", model, *ON, *QUESTION, "--json").json
    assert list(answer) == [
        "schema", "kind", "request", "options", "pareto", "refusals", "explanation", "candidates", "model_name",
        "precision_note", "notes", "figures", "worst_grade", "edition", "fingerprint", "best_of_each",
    ]  # fmt: skip
    assert answer["schema"] == 2
    option = answer["options"][0]
    assert list(option) == [
        "system", "mode", "pools", "chips", "chips_counted", "users", "ttft_s", "tpot_s",
        "output_tokens_per_s_per_chip", "output_tokens_per_s", "requests_per_s", "kv_transfer_s",
        "usd_per_million_output_tokens", "electricity_usd_per_million_output_tokens",
        "watts_per_chip", "joules_per_output_token", "grams_co2e_per_million_output_tokens", "meets", "tie",
    ]  # fmt: skip
    assert set(option["pools"][0]["layout"]) >= {
        "tp",
        "pp",
        "cp",
        "attn_dp",
        "ep",
        "expert_tp",
        "text",
        "devices",
    }
    figure = answer["figures"][0]["figure"]
    assert {"value", "dimension", "record", "key", "printed", "source", "grade"} <= set(figure)


def test_flags_reach_the_request(run: Run, model: str) -> None:
    request = run(
        "plan", model, *ON, "--prompt", "2k", "--output", "128", "--prefix-hit", "25%", "--users", "64", "--ttft", "3s",
        "--tpot", "80ms", "--objective", "cost", "--mode", "colocated", "--precision", "fp8", "--kv-dtype", "fp8_e4m3",
        "--engine", "vendor-tuned", "--chips", "4", "--imbalance", "1.1", "--top", "2", "--usd-per-chip-hour", "2",
        "--usd-per-kwh", "0.1 USD/kWh", "--grid", "300", "--watts-per-chip", "1.2kW", "--pue", "1.3",
        "--launchable", "vllm", "--json",
    ).json["request"]  # fmt: skip
    workload = request.pop("workload")
    assert (workload["prompt_tokens"], workload["output_tokens"], workload["users"]) == (2000, 128, 64)
    assert workload["prefix_hit_frac"] == 0.25
    assert request.pop("limit") == {"ttft_s": 3.0, "tpot_s": 0.08}
    assert request == {
        "model": model, "systems": ["hgx-h100"], "objective": "cost", "mode": "colocated", "precision": "fp8",
        "kv_dtype": "fp8_e4m3", "engine": "vendor-tuned", "chips": 4, "draft_tokens": 0, "acceptance": None,
        "max_context_tokens": None, "launchable": "vllm",
        "imbalance": 1.1, "top": 2, "usd_per_chip_hour": pytest.approx(2.0), "usd_per_kwh": pytest.approx(0.1),
        "grid_g_per_kwh": pytest.approx(300), "watts_per_chip": 1200.0, "pue": 1.3, "region": "world",
        "edition": request["edition"],
    }  # fmt: skip


def test_a_trace_brings_lengths_and_load(run: Run, model: str, tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    rows = [{"arrival_s": at / 2, "prompt_tokens": 100 + at, "output_tokens": 10} for at in range(11)]
    trace.write_text("\n".join(map(json.dumps, rows)))
    workload = run("plan", model, *ON, "--trace", str(trace), "--json").json["request"]["workload"]
    assert workload["prompt_tokens"] == 105
    assert workload["rate_requests_per_s"] == 2.0
    assert workload["source"] == "t.jsonl"
    without = run("plan", model, *ON, "--trace", str(trace), "--rate", "max", "--json").json["request"][
        "workload"
    ]
    assert without["rate_requests_per_s"] is None


def test_requests_of_a_trace_beyond_the_context_are_told(run: Run, model: str, tmp_path: Path) -> None:
    trace = tmp_path / "t.jsonl"
    rows = [{"prompt_tokens": tokens, "output_tokens": 10} for tokens in (200_000, *[100] * 9)]
    trace.write_text("\n".join(map(json.dumps, rows)))
    said = run("plan", model, *ON, "--trace", str(trace)).out
    assert (
        "10 % of the trace's 10 requests are longer than the model's context of 131,072 tokens"
        in " ".join(said.split())
    )


def test_assumed_lengths_are_said_and_cut_to_a_short_context(run: Run, model: str) -> None:
    assert "assumed" in run("plan", model, *ON).out
    short = run("plan", "llama-2-7b", "--on", "hgx-h100", "--json").json["request"]["workload"]
    assert short["prompt_tokens"] + short["output_tokens"] == 4096
    assert "cut to the model's context" in short["source"]
    assert run("plan", "llama-2-7b", "--on", "hgx-h100", "--prompt", "4096").code == 1
    assert (
        run("plan", "llama-2-7b", "--on", "hgx-h100", "--prompt", "4096", "--max-context", "8192").code == 0
    )


def test_one_wrong_cache_dtype_is_one_fault(run: Run, model: str) -> None:
    said = run("plan", model, *ON, "--kv-dtype", "q4_k_m")
    assert said.code == 2
    assert "faults" not in said.err


def test_compare_sets_systems_side_by_side(run: Run, model: str) -> None:
    said = run("compare", model, "--on", "hgx-h100", "--on", "hgx-a100,1 x nvidia-h100-sxm", *QUESTION)
    assert said.code == 0, said.err
    for wanted in ("hgx-h100", "hgx-a100", "tokens/s per kW", "gCO2e per million tokens", "×"):
        assert wanted in said.out
    answers = run("compare", model, "--on", "hgx-h100,hgx-a100", *QUESTION, "--json").json
    assert [answer["options"][0]["system"] for answer in answers["answers"]] == ["hgx-h100", "hgx-a100"]


def test_fit_shows_a_matrix(run: Run, model: str) -> None:
    words = ("fit", "--models", model, "--systems", "hgx-h100,hgx-a100", *QUESTION)
    said = run(*words)
    assert said.code == 0, said.err
    assert "2 of 2 pairs fit" in said.out
    cells = run(*words, "--json").json["cells"]
    assert [cell["system"] for cell in cells] == ["hgx-h100", "hgx-a100"]
    assert all(cell["verdict"] == "fits" and cell["tokens_per_s_per_chip"] > 0 for cell in cells)
    assert run(*words, "--tpot", "1us").code == 1


@pytest.mark.parametrize("suffix", ["png", "svg"])
@pytest.mark.parametrize("command", ["plan", "compare", "fit"])
def test_plot_writes_a_picture(run: Run, model: str, tmp_path: Path, command: str, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"picture.{suffix}"
    what = ("--models", model, "--systems", "hgx-h100") if command == "fit" else (model, *ON)
    said = run(command, *what, *QUESTION, "--plot", str(path))
    assert said.code == 0, said.err
    assert path.stat().st_size > 10_000
    assert f"drawn: {path}" in said.err


def test_a_no_is_not_drawn_and_says_so(run: Run, model: str, tmp_path: Path) -> None:
    path = tmp_path / "no.png"
    said = run("plan", model, *ON, *QUESTION, "--tpot", "1us", "--plot", str(path))
    assert said.code == 1
    assert "nothing is drawn" in said.err
    assert not path.exists()


def test_catalog_lists_shows_and_compares(run: Run) -> None:
    chips = run("catalog", "list", "chips", "--vendor", "huawei")
    assert chips.code == 0
    assert "huawei-910c" in chips.out
    assert "nvidia" not in chips.out
    shown = run("catalog", "show", "huawei-910c")
    for wanted in ("as printed", "rival", "Sources", "cm384-paper"):
        assert wanted in shown.out
    record = run("catalog", "show", "910c", "--json").json["record"]
    assert record["id"] == "huawei-910c"
    assert record["memory_bandwidth"]["printed"]
    difference = run("catalog", "diff", "huawei-910c", "nvidia-h100-sxm", "--json").json
    bandwidth = next(figure for figure in difference["figures"] if figure["key"] == "memory.bandwidth")
    assert bandwidth["ratio"] == pytest.approx(bandwidth["right"]["value"] / bandwidth["left"]["value"])
    assert run("catalog", "diff", "huawei-910c", "huawei-910c").out.strip().endswith("no difference")


def test_a_hole_is_shown_with_its_reason(run: Run) -> None:
    store = Catalog.open()
    holes = ((name, value) for name in store.ids("chip") for _, value in store.chip(name).figures())
    name, hole = next((name, value) for name, value in holes if isinstance(value, Unknown))
    row = next(
        line for line in run("catalog", "show", name).out.splitlines() if line.startswith(f"  {hole.key}")
    )
    assert "unknown" in row
    assert hole.reason.split()[0] in row


@pytest.mark.parametrize("kind", ["chips", "systems", "models", "prices", "sources"])
def test_every_kind_lists_as_text_and_json(run: Run, kind: str) -> None:
    said = run("catalog", "list", kind)
    assert said.code == 0, said.err
    ids = Catalog.open().ids(kind.removesuffix("s"))
    missing = [name for name in ids if name not in said.out]
    assert not missing
    listed = run("catalog", "list", kind, "--json").json
    assert (listed["kind"], len(listed["records"])) == (kind, len(ids))


def test_a_model_is_shown_with_its_count(run: Run, model: str) -> None:
    said = run("catalog", "show", model)
    assert said.code == 0, said.err
    # embeddings 128256*2048 (tied) + 16 * (q, o: 2*2048^2; k, v: 2*2048*512; ffn: 3*2048*8192; 2 norms) + norm
    count = 128256 * 2048 + 16 * (2 * 2048**2 + 2 * 2048 * 512 + 3 * 2048 * 8192 + 2 * 2048) + 2048
    assert f"{count:,} computed" in said.out


def test_your_own_records_come_first(run: Run, model: str, tmp_path: Path) -> None:
    from dougong.catalog.store import SHIPPED

    shipped = next((SHIPPED / "chips").rglob("huawei-910c.toml")).read_text(encoding="utf-8")
    own = tmp_path / "mine" / "chips" / "me" / "my-chip.toml"
    own.parent.mkdir(parents=True)
    aliases = next(line for line in shipped.splitlines() if line.startswith("aliases"))
    own.write_text(shipped.replace('"huawei-910c"', '"my-chip"').replace(aliases, ""), encoding="utf-8")
    said = run("plan", model, "--on", "2 x my-chip", *QUESTION, "--catalog", str(tmp_path / "mine"), "--json")
    assert said.code == 0, said.err
    assert {"my-chip"} <= {use["figure"]["record"] for use in said.json["figures"]}
