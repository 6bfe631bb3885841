"""Whose values rows take: as often as they would, were a row of weight w so many rows."""

from __future__ import annotations

import numpy as np
import pytest

from permgrad.importance.donors import shuffled, shuffled_within

WEIGHTS = np.array([0.0, 1.0, 1.0, 3.0, 0.5, 2.5])


def test_rows_that_weigh_alike_are_permuted():
    plain = np.random.default_rng(3).permutation(50)
    assert (shuffled(50, np.random.default_rng(3)) == plain).all()
    assert sorted(shuffled(50, np.random.default_rng(3), np.full(50, 0.3))) == list(range(50))


@pytest.mark.slow
def test_each_row_takes_each_value_as_often_as_that_weighs():
    """Over many orders: n w / W times a row gives its value, to any row alike; in one order, that rounded."""
    taken = np.zeros((6, 6))
    expected = 6 * WEIGHTS / WEIGHTS.sum()
    for seed in range(20_000):
        order = shuffled(6, np.random.default_rng(seed), WEIGHTS)
        taken[np.arange(6), order] += 1 / 20_000
        given = np.bincount(order, minlength=6)
        assert (np.abs(given - expected) < 1).all()
    np.testing.assert_allclose(taken, np.tile(WEIGHTS / WEIGHTS.sum(), (6, 1)), atol=0.012)


def test_within_bins():
    bins = np.array([1, 0, 1, 0, 1, 2])
    taken = np.zeros((6, 6))
    for seed in range(5_000):
        order = shuffled_within(bins, np.random.default_rng(seed), WEIGHTS)
        assert (bins[order] == bins).all()
        taken[np.arange(6), order] += 1 / 5_000
    together = WEIGHTS * (bins == bins[:, None])
    np.testing.assert_allclose(taken, together / together.sum(axis=1, keepdims=True), atol=0.025)


def test_a_bin_in_which_nothing_weighs_stays_as_it_is():
    order = shuffled_within(np.array([0, 0, 1, 1]), np.random.default_rng(0), np.array([0.0, 0.0, 1.0, 1.0]))
    assert sorted(order[:2]) == [0, 1]
    assert sorted(order[2:]) == [2, 3]
