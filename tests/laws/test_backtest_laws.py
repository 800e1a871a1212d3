"""Whatever a file says, reading it ends in cases, refusals or faults, and a layout that is read is lawful."""

import json

from hypothesis import example, given
from hypothesis import strategies as st

from dougong.backtest.layouts import read_parallel
from dougong.backtest.rows import Faults, Row
from dougong.backtest.serving import case_of
from dougong.backtest.words import engine_class_of, model_id, precision_of
from dougong.calibration.engines import engine_classes

degree = st.tuples(st.sampled_from(["TP", "DP", "EP", "PP", "CP", "DEP", "ZP", ""]), st.integers(0, 600)).map(
    lambda pair: f"{pair[0]}{pair[1]}"
)
phrase = st.lists(
    st.one_of(
        degree, st.sampled_from(["EP", "(2 nodes)", "2 x (", ")", "+ DP attention", "1P1D", "unstated"])
    ),
    max_size=6,
).map(" ".join)
said = st.dictionaries(
    st.sampled_from(["all", "prefill", "decode", "node0", "node1", "prefill_nodes"]), phrase
)


@example({"all": "+ DP attention EP2"}, None, True, "vLLM")
@given(said, st.one_of(st.none(), st.integers(1, 2000)), st.booleans(), st.sampled_from(["vLLM", "SGLang"]))
def test_a_layout_that_is_read_is_lawful_and_fits_its_devices(words, devices, moe, engine):
    read = read_parallel(words, devices=devices, moe=moe, engine=engine)
    assert (read.refused is None) == bool(read.layouts)
    for placed in read.layouts.values():
        assert not list(placed.faults())
    if read.layouts and devices is not None:
        assert sum(placed.devices for placed in read.layouts.values()) <= devices


junk = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
ROW = {
    "id": "T1", "model": "Qwen3-32B", "model_type": "dense", "chip_id": "nvidia-h200-sxm", "n_chips": 2,
    "n_dies_or_devices": None, "engine": "vLLM", "precision": "FP8", "parallel": {"all": "TP2"},
    "disaggregated": False, "input_len": 1000, "output_len": 100, "context_len": None, "batch_per_chip": None,
    "concurrency": 8, "prefix_cache_hit": None, "slo": None, "mtp": {"on": False}, "workload": None,
    "measured": {"tpot_ms": 10.0}, "use": "validate", "kind": "measured", "source": {"document": "d"},
    "notes": None, "system": None,
}  # fmt: skip


@given(st.dictionaries(st.sampled_from([*ROW, "measured", "parallel"]), junk, max_size=5))
def test_no_row_breaks_the_reader(changes):
    faults = Faults()
    case = case_of(Row({**ROW, **changes}, "line 1", faults))
    assert (case is None) == bool(faults.count)
    if case is not None:
        assert not list(case.faults())
        json.dumps(dict(case.measured), allow_nan=False)


@given(st.text(max_size=60))
def test_any_label_has_an_answer(label):
    assert isinstance(model_id(label), str)
    assert engine_class_of(label) in engine_classes()
    precision, _ = precision_of(label, model="m", engine=label)
    assert not list(precision.faults())
