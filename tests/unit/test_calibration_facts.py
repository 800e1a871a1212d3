"""Readers of facts and parameters: what they refuse, and that they name it."""

from pathlib import Path

import numpy as np
import pytest

from dougong.calibration import Parameters, load_residuals
from dougong.calibration.facts import NUMBERS, WORDS, load_facts
from dougong.calibration.parameters import data_file
from dougong.errors import CatalogError, InputError


def test_every_row_has_a_source_and_is_used_or_says_why_not() -> None:
    facts = load_facts()
    assert (facts.words["document"] != "").all()
    assert len(set(facts.words["id"].tolist())) == len(facts)
    measured = (
        ~np.isnan(facts["latency_s"]) | ~np.isnan(facts["flop_per_s"]) | ~np.isnan(facts["bytes_per_s"])
    )
    assert (measured | (facts.words["unused_because"] != "")).all()
    assert len(facts) == 610
    assert len(facts.used()) == 518


def test_printed_times_keep_their_place() -> None:
    facts = load_facts()
    row = facts.where(facts.words["id"] == "O049")  # the document prints 114 us for 128 tokens over 8 ranks
    assert row["latency_s"].tolist() == [114e-6]
    assert (row["ranks"], row["tokens_per_rank"], row["hidden"]) == (8.0, 128.0, 7168.0)
    assert row.words["place"].tolist() == ["docs/legacy.md low-latency table"]


def test_rates_of_a_package_are_told_per_device() -> None:
    facts = load_facts()
    die = facts.where((facts.words["chip"] == "huawei-910c") & (facts.words["op"] == "grouped_gemm"))
    assert set(die["bandwidth_bytes_per_s"].tolist()) == {1.6e12}  # half of the package's 3.2 TB/s
    assert set(die["peak_flop_per_s"].tolist()) == {752e12}


def write(folder: Path, **cells: str) -> Path:
    row = dict.fromkeys((*WORDS, *NUMBERS), "")
    row.update(id="a", op="gemm", document="d", latency_s="1e-6")
    row.update(cells)
    path = folder / "facts.csv"
    path.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n", encoding="utf-8")
    return path


def test_a_good_row_is_read(tmp_path: Path) -> None:
    assert load_facts(write(tmp_path, m="16"))["m"].tolist() == [16.0]


@pytest.mark.parametrize(
    ("cells", "fault"),
    [
        ({"m": "many"}, "line 2: m: 'many' is not a number"),
        ({"latency_s": "-1e-6"}, "line 2: latency_s: '-1e-6' is not positive and finite"),
        ({"n": "inf"}, "line 2: n: 'inf' is not positive and finite"),
        ({"latency_s": ""}, "line 2: neither a time nor a rate"),
        ({"document": ""}, "line 2: no document"),
    ],
)
def test_a_bad_cell_is_named(tmp_path: Path, cells: dict[str, str], fault: str) -> None:
    with pytest.raises(CatalogError) as caught:
        load_facts(write(tmp_path, **cells))
    assert fault in str(caught.value)


def test_all_faults_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(CatalogError) as caught:
        load_facts(write(tmp_path, m="x", n="y", document=""))
    assert len(caught.value.faults) == 3


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "facts.csv"
    path.write_text("id,op\na,gemm\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="no column latency_s"):
        load_facts(path)


def test_parameters_from_a_file_equal_the_shipped(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(data_file("parameters.toml"), encoding="utf-8")
    assert Parameters.load(path) == Parameters.load()


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("\ngemm_fixed_s", "\ngemm_fixd_s", "gemm_fixed_s is missing; gemm_fixd_s is no parameter"),
        ("schema = 1", "schema = 9", "schema is 9, this version reads 1"),
        ("schema = 1", "schema =", "not TOML"),
        ("gemm_tile_rows = 64.0", "gemm_tile_rows = 0.0", "gemm_tile_rows is 0.0, not a positive number"),
        ("gemm_tile_rows = 64.0", 'gemm_tile_rows = "64"', "gemm_tile_rows is '64', not a positive number"),
    ],
)
def test_parameters_refuse_a_broken_file(tmp_path: Path, old: str, new: str, fault: str) -> None:
    path = tmp_path / "mine.toml"
    text = data_file("parameters.toml")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError) as caught:
        Parameters.load(path)
    assert fault in str(caught.value)


def test_residuals_count_the_used_rows() -> None:
    residuals = load_residuals()
    assert sum(one.rows for one in residuals.values()) == len(load_facts().used())
    assert residuals["gemm"].chips == 15
    assert residuals["sparse_decode_attention"].leave_one_chip_out is None  # one chip: nothing was held out
