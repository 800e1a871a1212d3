"""Tests of random numbers pass honest generators and fail faulty ones."""

from __future__ import annotations

import numpy as np
import pytest

from dougong.verify.statistics import follows, normal_moments, normal_ranks, plausible, unrelated


@pytest.mark.parametrize("seed", range(10))
def test_honest_numbers_pass(seed: int) -> None:
    generator = np.random.default_rng(seed)
    ranks = generator.random(1 << 15)
    assert follows(ranks, 0.0, 1)
    assert all(unrelated(ranks, lag, 3) for lag in (1, 2, 1 << 14))
    normals = generator.standard_normal(1 << 15)
    assert normal_moments(normals, 0.0, 1)
    assert follows(normal_ranks(normals), 0.0, 1)
    counts = generator.multinomial(1 << 15, [0.5, 0.3, 0.2]).astype(float)
    assert plausible(counts, 1 << 15, np.array([0.5, 0.3, 0.2]), 3).all()


def test_faulty_numbers_fail() -> None:
    generator = np.random.default_rng(0)
    ranks = generator.random(1 << 15)
    assert not follows(ranks**1.2, 0.0, 1)
    assert not unrelated(np.repeat(ranks[::2], 2), 1, 1)
    assert not unrelated(np.tile(ranks[: 1 << 14], 2), 1 << 14, 1)
    assert not normal_moments(0.9 * generator.standard_normal(1 << 15), 0.0, 1)
    assert not plausible(np.array([9000.0]), 1 << 15, np.array([0.25]), 1).all()


def test_what_cannot_be_is_not_plausible() -> None:
    assert not plausible(np.array([1.0]), 10_000, np.array([1e-30]), 1).all()
    assert plausible(np.array([0.0]), 10_000, np.array([1e-6]), 1).all()
