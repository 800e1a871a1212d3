"""The shipped records: counted, lawful, in our words, and equal to what the readers make of the same rows."""

from collections import Counter
from pathlib import Path

import pytest

from dougong.backtest import read_cases
from dougong.backtest.case import METRICS, OPERATOR_METRICS
from dougong.calibration.engines import engine_classes
from dougong.catalog.models import DTYPE_BITS
from shared_data import shared_data

FOLDER = Path(__file__).parent / "cases"
RECORDS = read_cases(FOLDER)
VALIDATED = 214  # rows of the serving data that are stated well enough to model
ADDED = {
    "cm384-table-4-2048-256", "llama-cpp-3084-f16", "llama-cpp-3084-q8", "llama-cpp-3084-q4-k-m", "normiebench-40",
    "ai-benchmarks-48",
}  # fmt: skip  # read elsewhere
ADDED |= {
    case.id
    for case in RECORDS.serving
    if case.id.startswith(("rocm-", "oracle-", "tpu-", "sglang-", "gpustack-"))
}


def test_every_record_is_read_without_a_fault():
    assert RECORDS.faults == ()


def test_nothing_is_lost():
    validate = [case for case in RECORDS.serving if case.use == "validate" and case.id not in ADDED]
    assert len(validate) == VALIDATED
    refused = [case.id for case in validate if case.refused]
    assert sorted(refused) == ["A056", "A058", "A061", "A062", "A373", "A375", "A380"]
    counts = Counter(case.source.document for case in RECORDS.serving if case.refused is None)
    assert len(counts) == 24
    assert len(ADDED) == 6 + 44
    assert len(RECORDS.operators) == 38


def test_ids_stand_once_over_all_files():
    counts = Counter(case.id for case in RECORDS.cases)
    assert [name for name, count in counts.items() if count > 1] == []


@pytest.mark.parametrize(
    "case", [case for case in RECORDS.serving if not case.refused], ids=lambda case: case.id
)
def test_a_serving_record_is_lawful(case):
    assert list(case.faults()) == []
    assert case.engine_class in engine_classes()
    for phase, placed in case.layouts.items():
        cut = placed.layout
        assert cut.tp * cut.attn_dp * cut.cp == cut.ep * cut.expert_tp
        assert case.chips[phase] == placed.devices / case.devices_per_chip
    for word in (
        case.precision.weights,
        case.precision.experts,
        case.precision.activations,
        case.precision.kv,
    ):
        assert word is None or word in DTYPE_BITS
    assert set(case.measured) <= set(METRICS)
    assert case.source.document
    assert case.source.section
    assert case.prompt_tokens or case.context_tokens
    rates = [value for metric, value in case.measured.items() if metric.endswith("per_chip")]
    assert all(0.1 < rate < 1e6 for rate in rates)
    assert all(1e-4 < case.measured[m] < 600 for m in ("ttft_s", "tpot_s") if m in case.measured)


def test_a_decode_rate_agrees_with_its_batch_and_tpot():
    # Little's law within one phase: rate = sequences in flight / TPOT.
    checked = 0
    for case in RECORDS.serving:
        rate, tpot = case.measured.get("decode_tokens_per_s_per_chip"), case.measured.get("tpot_s")
        if rate and tpot and case.batch_per_device and case.use == "validate":
            assert case.batch_per_device * case.devices_per_chip / tpot == pytest.approx(rate, rel=0.01)
            checked += 1
    assert checked == 5


def test_operator_records_measure_what_we_name():
    for case in RECORDS.operators:
        assert set(case.measured) <= set(OPERATOR_METRICS)
        assert all(value > 0 for value in case.measured.values())


def test_dispatch_latency_and_bandwidth_agree():
    # 128 tokens of 7168 FP8 values with scales to 8 experts: the printed pairs imply one message size.
    sizes = [
        case.measured["latency_s"] * case.measured["bandwidth_bytes_per_s"]
        for case in RECORDS.operators
        if case.op == "moe_dispatch" and case.chip == "huawei-910c"
    ]
    assert len(sizes) == 4
    assert max(sizes) / min(sizes) < 1.02


def test_the_readers_make_the_same_of_the_same_rows():
    ours = {case.id: case for case in RECORDS.serving if case.id not in ADDED}
    theirs = {case.id: case for case in read_cases(shared_data("serving-truth.jsonl")).serving}
    for name, case in ours.items():
        other = theirs[name]
        for field in (
            "model", "system", "chip", "engine_class", "precision", "layouts", "chips", "prompt_tokens",
            "output_tokens", "context_tokens", "concurrency", "requests", "saturated", "batch_per_device",
            "prefill_batch_tokens", "draft_tokens", "acceptance", "limits", "refused", "use", "kind",
        ):  # fmt: skip
            assert getattr(case, field) == getattr(other, field), (name, field)
        assert case.measured == pytest.approx(other.measured, rel=1e-5)
    left_out = set(theirs) - set(ours)
    assert all(theirs[name].use == "sanity" and theirs[name].refused for name in left_out)
    assert len(left_out) == 135


def test_the_example_of_the_guide_is_a_record(tmp_path):
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "backtest.md").read_text(encoding="utf-8")
    example = tmp_path / "example.toml"
    example.write_text(guide.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    found = read_cases(example)
    assert found.faults == ()
    assert [case.id for case in found.serving] == ["ours-1"]
