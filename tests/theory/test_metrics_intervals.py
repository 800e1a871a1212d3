"""Confidence intervals of runs against what theory promises of them."""

import math

import numpy as np
import pytest

from dougong.metrics import mean, proportion, quantile


@pytest.mark.parametrize(("q", "size"), [(0.5, 30), (0.9, 120), (0.99, 900)])
def test_the_true_quantile_lies_inside_as_often_as_promised(q, size):
    # An exponential's quantile is known; order statistics promise their coverage for any continuous law.
    random, truth, trials = np.random.default_rng(size), -math.log(1 - q), 800
    inside = 0
    for _ in range(trials):
        found = quantile(random.exponential(1.0, size).tolist(), q)
        inside += found.low <= truth <= found.high
    assert inside / trials >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / trials)
    assert inside / trials <= 0.995


def test_the_true_mean_lies_inside_as_often_as_promised():
    random, trials = np.random.default_rng(3), 1000
    inside = sum(
        (found := mean(random.normal(5.0, 2.0, 6).tolist())).low <= 5.0 <= found.high for _ in range(trials)
    )
    assert abs(inside / trials - 0.95) < 3.5 * math.sqrt(0.95 * 0.05 / trials)


def test_the_true_share_lies_inside_about_as_often_as_promised():
    random, trials = np.random.default_rng(4), 1000
    inside = sum(
        (found := proportion(int(random.binomial(80, 0.9)), 80)).low <= 0.9 <= found.high
        for _ in range(trials)
    )
    assert inside / trials > 0.92
