"""Conformal intervals against what theory promises of them."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from dougong.backtest.calibrate import bands
from dougong.calibration.engines import engine_classes
from dougong.calibration.intervals import LEVEL, METRICS, SIGN_FOLDS, band, quantiles, symmetric, vendors


@pytest.mark.parametrize("size", [20, 60, 400])
@pytest.mark.parametrize("draw", ["normal", "laplace", "skewed"])
def test_new_cases_fall_inside_as_often_as_promised(size, draw):
    # Exchangeable residuals of any distribution: coverage is at least LEVEL, and at most a little more.
    random = np.random.default_rng(size)
    sample = {
        "normal": lambda n: random.normal(0.1, 0.3, n),
        "laplace": lambda n: random.laplace(0.0, 0.2, n),
        "skewed": lambda n: random.exponential(0.3, n),
    }[draw]
    inside, trials = 0, 1500
    for _ in range(trials):
        low, high = quantiles(sample(size).tolist())
        measured_over_predicted = math.exp(-sample(1)[0])
        inside += low <= measured_over_predicted <= high
    spread = 3 * math.sqrt(LEVEL * (1 - LEVEL) / trials)
    assert LEVEL - spread <= inside / trials <= LEVEL + 2 / (size + 1) + spread


@pytest.mark.parametrize("sizes", [[60] * 12, [400, 200, 40, 40, 20, 20, 10, 10, 5, 5, 5, 5]])
def test_a_case_of_a_document_never_seen_falls_inside_about_as_often(sizes):
    # Rows of one document share an offset; without weights the largest document would draw the interval alone.
    random = np.random.default_rng(3)
    inside, trials = 0, 800
    for _ in range(trials):
        residuals, weights = [], []
        for size in sizes:
            residuals += (random.normal(0, 0.25) + random.normal(0, 0.1, size)).tolist()
            weights += [size**-0.5] * size
        low, high = quantiles(residuals, weights)
        inside += low <= math.exp(-(random.normal(0, 0.25) + random.normal(0, 0.1))) <= high
    assert 0.68 <= inside / trials <= 0.86


def test_equal_weights_change_nothing_and_a_symmetric_interval_is_one():
    residuals = np.random.default_rng(5).normal(0.2, 0.3, 45).tolist()
    assert quantiles(residuals, [7.0] * 45) == pytest.approx(quantiles(residuals))
    low, high = symmetric(residuals)
    assert low * high == pytest.approx(1.0)
    assert sum(low <= math.exp(-r) <= high for r in residuals) >= LEVEL * 45


def test_a_chip_of_an_unseen_vendor_is_never_told_more_exactly():
    assert "metax" not in vendors()
    for metric in METRICS:
        for engine in engine_classes():
            seen, unseen = band(metric, engine, "nvidia-h100-sxm"), band(metric, engine, "metax-c550")
            assert unseen.low <= seen.low <= 1 <= seen.high
            assert unseen.high >= 1


def test_a_prediction_lies_in_its_own_interval():
    for metric in METRICS:
        for engine in engine_classes():
            for chip in ("huawei-910c", "biren-br106", "apple-m3-ultra"):
                ends = band(metric, engine, chip)
                assert 0 < ends.low <= 1 <= ends.high < math.inf


def a_bench(folds, offset=0.3):
    """Rows of a class in ``folds`` documents, all of which err to one side."""
    random = np.random.default_rng(folds)
    rows = [
        SimpleNamespace(
            metric="tpot_s",
            case=SimpleNamespace(
                engine_class="eager",
                vendor="invented",
                source=SimpleNamespace(document=f"document {i % folds}"),
            ),
        )
        for i in range(60)
    ]
    return SimpleNamespace(rows=tuple(rows)), offset + random.normal(0.0, 0.05, 60)


@pytest.mark.parametrize(("folds", "sided"), [(SIGN_FOLDS - 1, False), (SIGN_FOLDS, True)])
def test_only_a_group_of_many_documents_tells_which_way_it_errs(folds, sided):
    bench, residuals = a_bench(folds)
    ends = bands(bench, residuals, residuals, lambda row: row.case.source.document)["tpot_s"]["eager"]
    assert (ends["high"] < 1.0) == sided
    assert (ends["low"] * ends["high"] == pytest.approx(1.0)) == (not sided)


def test_with_few_documents_intervals_to_both_sides_hold_more_of_the_next():
    # Four documents of twenty rows, each with an offset of its own.
    random = np.random.default_rng(11)
    inside, trials = {quantiles: 0, symmetric: 0}, 600
    for _ in range(trials):
        residuals = [r for _ in range(4) for r in random.normal(random.normal(0, 0.3), 0.1, 20).tolist()]
        new = math.exp(-random.normal(random.normal(0, 0.3), 0.1))
        for how in inside:
            low, high = how(residuals, [20**-0.5] * 80)
            inside[how] += low <= new <= high
    assert inside[symmetric] / trials > inside[quantiles] / trials + 0.03
    assert inside[symmetric] / trials >= 0.7
