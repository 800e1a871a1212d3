import json
import math

import pytest

from dougong.backtest import read_cases
from dougong.backtest.inferencex import from_inferencex
from dougong.backtest.rows import MAX_FILE_BYTES, as_number
from dougong.backtest.serving import from_serving_truth
from dougong.errors import InputError

ROW = {
    "id": "T1", "model": "DeepSeek-R1", "model_type": "moe", "chip": "Huawei Ascend 910C",
    "chip_id": "huawei-910c", "system": "CloudMatrix384", "n_chips": 160, "n_dies_or_devices": 320,
    "engine": "CloudMatrix-Infer", "precision": "INT8", "parallel": {"decode": "EP320 DP320"},
    "disaggregated": False, "input_len": 4096,
    "output_len": 256, "batch_per_chip": 96, "mtp": {"on": True, "spec_tokens": 1, "acceptance": 0.7},
    "measured": {"decode_tok_s_per_chip": 1943, "tpot_ms": 49.4}, "slo": {"tpot_ms": 50}, "kind": "measured",
    "use": "validate", "source": {"document": "a paper", "section": "Table 4"}, "notes": None,
}  # fmt: skip

DEGREES = ("tp_size", "pp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
HEADER = ",".join(
    ["id", "backend", "backend_versions", "model_path", "system", "precision", "mode", "isl", "osl"]
    + ["concurrency", "batch_size", "gemm_quant_mode", "moe_quant_mode", *DEGREES, "prefill_num_workers"]
    + [f"prefill_{name}" for name in DEGREES]
    + [
        "decode_batch_size",
        "decode_num_workers",
        *(f"decode_{name}" for name in DEGREES),
        "ttft_ms",
        "tpot_ms",
    ]
)
AGGREGATED = {
    "id": "X1", "backend": "trtllm", "backend_versions": "1.1", "model_path": "deepseek-ai/DeepSeek-V3",
    "system": "b200_sxm", "precision": "fp8", "mode": "agg", "isl": "4000", "osl": "1000",
    "concurrency": "64", "batch_size": "64", "tp_size": "8", "pp_size": "1", "attention_dp_size": "1",
    "moe_tp_size": "8", "moe_ep_size": "1", "ttft_ms": "400", "tpot_ms": "20",
}  # fmt: skip


def serving(tmp_path, *rows):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8"
    )
    return from_serving_truth(path)


def one(tmp_path, **changes):
    found = serving(tmp_path, {**ROW, **changes})
    assert not found.faults, found.faults
    (case,) = found.serving
    assert not list(case.faults())
    return case


def table(tmp_path, **changes):
    row = {**AGGREGATED, **changes}
    path = tmp_path / "rows.csv"
    path.write_text(
        HEADER + "\n" + ",".join(row.get(name, "") for name in HEADER.split(",")), encoding="utf-8"
    )
    return from_inferencex(path)


def test_a_row_becomes_a_case_in_base_units_per_device_and_per_chip(tmp_path):
    case = one(tmp_path)
    assert (case.system, case.model, case.engine_class) == ("cloudmatrix384", "deepseek-r1", "vendor-tuned")
    assert str(case.layouts["decode"]) == "TP1 DP320 EP320"
    assert case.chips == {"decode": 160.0}
    assert case.batch_per_device == 48.0  # 96 per package of two dies
    assert case.measured == {"tpot_s": 0.0494, "decode_tokens_per_s_per_chip": 1943.0}
    assert case.limits == {"tpot_s": 0.05}
    assert (case.draft_tokens, case.acceptance) == (1, 0.7)
    assert case.printed == {"decode_tok_s_per_chip": 1943.0, "tpot_ms": 49.4}
    assert case.regime == "decode"


def test_totals_are_divided_by_chips_and_per_die_rates_are_doubled(tmp_path):
    base = {"n_chips": 32, "n_dies_or_devices": 64, "parallel": {"all": "TP64 EP"}, "batch_per_chip": None}
    total = one(tmp_path, **base, measured={"output_tok_s_total": 3200.0}, concurrency=8)
    assert total.measured == {"output_tokens_per_s_per_chip": 100.0}
    die = one(tmp_path, **base, measured={"output_tok_s_per_die": 50.0}, concurrency=8)
    assert die.measured == {"output_tokens_per_s_per_chip": 100.0}


def test_a_rate_of_one_die_of_two_is_per_half_a_chip(tmp_path):
    case = one(
        tmp_path, model="Qwen3-8B", model_type="dense", n_chips=1, n_dies_or_devices=2,
        parallel={"all": "TP1 (one die)"}, measured={"output_tok_s_total": 1586.0}, concurrency=64,
        batch_per_chip=None,
    )  # fmt: skip
    assert case.chips == {"all": 0.5}
    assert case.measured == {"output_tokens_per_s_per_chip": 3172.0}


def test_a_token_batch_is_a_prefill_step(tmp_path):
    case = one(
        tmp_path, n_chips=16, n_dies_or_devices=32, parallel={"prefill": "EP32"}, batch_per_chip=16384,
        measured={"prefill_tok_s_per_chip": 5655}, notes="batch is 16384 tokens per chip; real routing",
    )  # fmt: skip
    assert case.prefill_batch_tokens == 8192
    assert case.batch_per_device is None
    assert case.balanced_experts is False
    assert case.regime == "prefill"


def test_load_that_is_not_stated_follows_from_rate_and_latency(tmp_path):
    case = one(
        tmp_path, n_chips=2, n_dies_or_devices=4, parallel={"all": "TP4"}, batch_per_chip=None, slo=None,
        output_len=101, measured={"output_tok_s_total": 1010.0, "tpot_ms": 50.0, "ttft_ms": 1000.0},
    )  # fmt: skip
    assert case.concurrency == 60  # 10 requests/s for 1 s + 100 * 50 ms
    assert any("Little" in note for note in case.assumed)


def test_a_user_rate_is_a_tpot(tmp_path):
    case = one(tmp_path, measured={"tok_s_per_user": 40.0})
    assert case.measured == {"tpot_s": 0.025}


def test_a_depth_that_is_not_stated_is_the_engines_own(tmp_path):
    said = {"on": True, "spec_tokens": None, "acceptance": None}
    rows = [{**ROW, "id": engine, "engine": engine, "mtp": said} for engine in ("SGLang", "vLLM")]
    theirs, others = serving(tmp_path, *rows).serving
    assert (theirs.draft_tokens, others.draft_tokens) == (3, 1)
    assert any("not stated" in note for note in theirs.assumed)


def test_experts_of_gpt_oss_meet_16_bit_activations_on_hopper(tmp_path):
    row = {
        **ROW, "model": "gpt-oss-120b", "n_chips": 1, "n_dies_or_devices": None, "engine": "TensorRT-LLM", "mtp": None,
        "parallel": {"all": "TP1"}, "precision": "MXFP4/FP8", "batch_per_chip": None, "workload": "max load",
        "input_len": 1000, "output_len": 1000, "measured": {"output_tok_s_per_chip": 6868}, "slo": None,
        "source": {"document": "NVIDIA/TensorRT-LLM docs/source/developer-guide/perf-overview.md", "section": "all"},
    }  # fmt: skip
    chips = ("nvidia-h200-sxm", "nvidia-b200-sxm")
    hopper, blackwell = serving(tmp_path, *({**row, "id": chip, "chip_id": chip} for chip in chips)).serving
    assert (hopper.precision.activations, hopper.precision.kv) == (None, None)
    assert (blackwell.precision.activations, blackwell.precision.kv) == ("fp8_e4m3", "fp8_e4m3")
    assert hopper.requests == 3000


def test_a_script_ran_whatever_the_hardware_line_says(tmp_path):
    row = {
        **ROW, "model": "Qwen3-30B-A3B", "n_chips": 1, "n_dies_or_devices": None, "chip_id": "huawei-910b3",
        "mtp": None,
        "parallel": {"all": "single NPU stated on the page"}, "precision": "BF16", "batch_per_chip": None,
        "engine": "MindIE", "workload": "max-throughput closed loop", "input_len": 4000, "output_len": 200, "slo": None,
        "measured": {"total_tok_s": 13000.0, "tpot_ms": 131.0}, "system": None,
        "source": {"document": "gpustack/gpustack docs/performance-lab", "section": "910B page"},
        "notes": "the script shows TP2 while the hardware line says one NPU",
    }  # fmt: skip
    two, one = serving(tmp_path, row, {**row, "id": "T2", "notes": ""}).serving
    assert (str(two.layouts["all"]), two.system, two.chips) == ("TP2", "2x huawei-910b3", {"all": 2.0})
    assert two.measured["total_tokens_per_s_per_chip"] == pytest.approx(6500.0)
    assert (str(one.layouts["all"]), one.measured["total_tokens_per_s_per_chip"]) == ("TP1", 13000.0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"input_len": None}, "prompt length"),
        ({"parallel": {"all": "1P1D"}}, "layouts are not stated"),
        ({"measured": {"power_w": 5.0}}, "nothing measured"),
        ({"batch_per_chip": None, "slo": None}, "neither the load"),
    ],
)
def test_what_cannot_be_modelled_is_refused_with_a_reason(tmp_path, changes, words):
    case = one(tmp_path, **changes)
    assert case.refused is not None
    assert words in case.refused


def test_every_bad_row_is_reported_with_its_line_and_the_good_ones_stay(tmp_path):
    found = serving(
        tmp_path,
        ROW,
        "{not json",
        "[1, 2]",
        {**ROW, "id": "T2", "n_chips": -3, "measured": {"tpot_ms": "fast", "ttft_ms": -1}},
        {**ROW, "id": "T3", "input_len": 1e30, "mtp": {"on": True, "spec_tokens": 1.5}},
        {**ROW, "id": None},
        {**ROW, "id": "T4", "parallel": ["TP8"]},
        '{"id": "T5", "model": NaN}',
        ROW,
        {**ROW, "id": "T6", "use": "train", "n_chips": True},
        "[" * 100_000,
    )
    assert [case.id for case in found.cases] == ["T1"]
    text = "\n".join(found.faults)
    for line in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11):
        assert f"line {line}:" in text
    assert "n_chips must be a number in 1..1e+06, is -3" in text
    assert "ttft_ms must be a positive finite number" in text
    assert "stands on line 1 already" in text
    assert "whole number, is 1.5" in text
    assert "NaN is no number" in text


def test_faults_are_bounded_and_counted(tmp_path):
    found = serving(tmp_path, *["{"] * 500)
    assert len(found.faults) == 201
    assert found.faults[-1] == "and 300 more"


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"hello\n", b'{"a": 1}\n' * 3])
def test_files_of_no_known_kind_are_input_errors_or_faults(tmp_path, content):
    path = tmp_path / "strange"
    path.write_bytes(content)
    if content.startswith(b"{"):
        found = read_cases(path)
        assert len(found.faults) >= 3
        assert not found.cases
    else:
        with pytest.raises(InputError, match="strange"):
            read_cases(path)


def test_missing_folder_and_oversized_files_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_cases(tmp_path / "none.jsonl")
    with pytest.raises(InputError, match=r"no file name|no such file|cannot be read"):
        read_cases("a\0b")
    big = tmp_path / "big.jsonl"
    with big.open("wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(InputError, match="larger than 64 MiB"):
        read_cases(big)


@pytest.mark.parametrize(
    ("tp", "dp", "moe_tp", "ep", "batch", "layout"),
    [
        ("8", "1", "8", "1", "64", "TP8"),
        ("64", "1", "8", "8", "64", "TP8 EP8"),  # the width multiplied by itself
        ("4", "1", "2", "2", "64", "TP2 EP2"),
        ("4", "", "2", "2", "64", "TP4 EP2 ETP2"),  # no such column filled: stated plainly
        ("1", "64", "8", "8", "1", "TP1 DP8 EP8"),
        ("4", "4", "1", "16", "16", "TP1 DP4 EP4"),
        ("8", "", "1", "8", "8", "TP1 DP8 EP8"),  # 64 requests in batches of 8 per rank
        ("1", "", "4", "1", "64", "TP1 DP4 ETP4"),
        ("8", "1", "1", "1", "64", "TP8"),
    ],
)
def test_inferencex_topologies(tmp_path, tp, dp, moe_tp, ep, batch, layout):
    found = table(
        tmp_path, model_path="Qwen/Qwen3-235B-A22B-FP8", tp_size=tp, attention_dp_size=dp, moe_tp_size=moe_tp,
        moe_ep_size=ep, batch_size=batch,
    )  # fmt: skip
    assert not found.faults
    (case,) = found.serving
    assert case.refused is None
    assert not list(case.faults())
    assert str(case.layouts["all"]) == layout
    assert case.concurrency == 64


def test_an_empty_concurrency_is_read_from_the_batch(tmp_path):
    (case,) = table(tmp_path, concurrency="", batch_size="16").serving
    assert case.concurrency == 16


def test_inferencex_disaggregated_rows_count_their_workers(tmp_path):
    row = {"mode": "disagg", "tp_size": "", "moe_tp_size": "", "moe_ep_size": ""}
    for phase, degrees in (("prefill", "21414"), ("decode", "38118")):
        names = ("num_workers", "tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
        row |= {f"{phase}_{name}": degree for name, degree in zip(names, degrees, strict=True)}
    (case,) = table(tmp_path, **row).serving
    assert {phase: str(placed) for phase, placed in case.layouts.items()} == {
        "prefill": "2 x (TP1 DP4 EP4)",
        "decode": "3 x (TP8 EP8)",
    }
    assert case.system == "32x nvidia-b200-sxm"


def test_inferencex_conditions(tmp_path):
    (case,) = table(tmp_path, isl="8192", osl="1024").serving
    assert case.model == "deepseek-r1"  # DeepSeek-V3 means R1 there
    assert (case.prompt_tokens, case.output_tokens) == (7373, 922)
    assert case.printed["isl"] == 8192
    assert case.requests == 640
    assert case.precision.kv == "fp8_e4m3"


@pytest.mark.parametrize(
    ("changes", "depth"),
    [
        ({}, 3),
        ({"model_path": "deepseek-ai/DeepSeek-V3"}, 0),  # the dump of runs without drafting
        ({"concurrency": "256", "batch_size": "256"}, 0),  # beyond the sweep with drafting at this layout
        ({"concurrency": "128", "batch_size": "16", "attention_dp_size": "8", "tp_size": "1"}, 1),
        ({"backend_versions": "1.2.0rc6.post2"}, 0),  # an image that ran without drafting only
        ({"backend_versions": "1.0.0/1.1.0rc2.post2"}, 3),  # repeats of two images, merged
        ({"isl": "2048"}, 0),
    ],
)
def test_drafted_tokens_follow_from_the_sweep_of_the_source(tmp_path, changes, depth):
    row = {
        "model_path": "deepseek-ai/DeepSeek-R1", "system": "h200_sxm", "precision": "fp8", "isl": "1024",
        "osl": "1024", "backend_versions": "1.1.0rc2.post2", "concurrency": "64", "batch_size": "64", "tp_size": "8",
        "attention_dp_size": "1", "moe_tp_size": "1", "moe_ep_size": "8", "gemm_quant_mode": "fp8",
        "moe_quant_mode": "fp8",
    }  # fmt: skip
    (case,) = table(tmp_path, **{**row, **changes}).serving
    assert case.draft_tokens == depth
    assert any("drafted tokens" in note for note in case.assumed) == bool(depth)


def test_a_load_that_no_sweep_ran_is_refused(tmp_path):
    row = {"model_path": "openai/gpt-oss-120b", "system": "h100_sxm", "precision": "fp4", "backend": "vllm"}
    row |= {"tp_size": "8", "moe_tp_size": "8", "moe_ep_size": "1", "attention_dp_size": "1"}
    within, beyond = (
        table(tmp_path, **row, concurrency=load, batch_size=load).serving[0] for load in ("64", "512")
    )
    assert within.refused is None
    assert beyond.refused == "load: 512 requests in flight are in no sweep of the source, which ends at 64"


@pytest.mark.parametrize("tp", ["36", "72", "28", "32"])
def test_flattened_disaggregated_runs_are_refused(tmp_path, tp):
    (case,) = table(tmp_path, tp_size=tp, moe_tp_size=tp).serving
    assert case.refused is not None
    assert "flattened" in case.refused


@pytest.mark.parametrize(
    "changes",
    [
        {"system": "quantum"},
        {"mode": "other"},
        {"ttft_ms": "nan"},
        {"tpot_ms": "-1"},
        {"isl": "1.5"},
        {"id": ""},
    ],
)
def test_broken_inferencex_rows_are_faults_with_lines(tmp_path, changes):
    found = table(tmp_path, **changes)
    assert not found.cases
    assert all(fault.startswith("line 2:") for fault in found.faults)


def test_a_csv_without_its_columns_or_with_ragged_rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("id,backend,ttft_ms,tpot_ms\n1,2,3,4\n", encoding="utf-8")
    with pytest.raises(InputError, match="columns missing: model_path"):
        read_cases(path)
    path.write_text(HEADER + "\n1,2,3\n", encoding="utf-8")
    assert "number of fields" in read_cases(path).faults[0]
    path.write_text(HEADER + "\n" + "x" * 200_000, encoding="utf-8")
    assert "not CSV" in read_cases(path).faults[0]


def test_operator_rows(tmp_path):
    rows = [
        {"id": "O1", "op": "moe_dispatch", "chip": "910C (per die)", "chip_id": "huawei-910c", "ep": 8,
         "tokens_per_rank": 128, "latency_us": 116, "bandwidth_GBps": 71, "kind": "measured"},
        {"id": "O2", "op": "grouped_gemm_decode", "chip_id": "nvidia-h20-sxm-96", "up_us": 10, "down_us": 5},
        {"id": "O3", "op": "x", "chip_id": "c", "ep": "EP 8x4", "dispatch_GBps": 61},
        {"id": "O4", "op": "x", "chip_id": "c", "kind": "theoretical", "latency_us": 1},
        {"id": "O5", "op": "x", "chip_id": "c", "latency_us": -1},
        {"id": "O6", "op": "ablation_mtp", "chip_id": "c", "throughput_gain_range": [0.06, 0.49]},
    ]  # fmt: skip
    path = tmp_path / "ops.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    found = read_cases(path)
    assert found.kind == "operator-truth"
    by_id = {case.id: case for case in found.operators}
    assert by_id["O1"].measured == {"latency_s": 116e-6, "bandwidth_bytes_per_s": 71e9}
    assert by_id["O1"].words == {"per": "die"}
    assert math.isclose(by_id["O2-down"].measured["latency_s"], 5e-6)
    assert by_id["O3"].shape["ep"] == 32
    assert by_id["O4"].refused == "theoretical, not measured"
    assert by_id["O6"].measured == {"gain_low_frac": 0.06, "gain_high_frac": 0.49}
    assert "O5" not in by_id
    assert found.faults == ("line 5: latency_us must be a number in 0..1e+15, is -1",)


def test_records_report_every_fault_of_a_file(tmp_path):
    path = tmp_path / "records.toml"
    path.write_text(
        """
        schema = 1
        surprise = true
        [[case]]
        id = "a"
        model = "m"
        system = "8x c"
        chip = "c"
        layouts = { all = { tp = 8, ep = 3 } }
        measured = { tpot_ms = 5 }
        [[case]]
        id = "a"
        model = "m"
        system = "s"
        chip = "c"
        engine_class = "magic"
        precision = { weights = "fp2" }
        layouts = { all = { tp = 2, width = 2 } }
        """,
        encoding="utf-8",
    )
    text = "\n".join(read_cases(path).faults)
    for words in (
        "unknown key 'surprise'",
        "tp*attn_dp*cp",
        "tpot_ms is no metric",
        "unknown degree 'width'",
    ):
        assert words in text


def test_numbers_are_numbers():
    assert as_number("1e3") == 1000
    assert as_number(3) == 3
    for junk in (True, "nan", "inf", "1_000", None, [], "x", 10**400, "1" * 50, float("nan")):
        assert as_number(junk) is None
