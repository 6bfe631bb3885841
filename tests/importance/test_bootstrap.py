from __future__ import annotations

import numpy as np

from permgrad.importance.bootstrap import MOST_BUNDLES, Bootstrap, interval


def test_means_are_of_the_rows_drawn(rng):
    values, classes = rng.normal(size=(3, 70)), rng.integers(0, 3, 70)
    drawn = Bootstrap.of(70, 1, classes)
    sums = np.stack([drawn.sums(np.arange(70), row)[0] for row in values])
    for replicate, weights in enumerate(drawn.weights[:20]):
        rows = np.repeat(np.arange(70), weights[drawn.bundle].astype(int))
        assert [(classes[rows] == c).sum() for c in range(3)] == [(classes == c).sum() for c in range(3)]
        np.testing.assert_allclose(drawn.means(sums)[replicate], values[:, rows].mean(axis=1), rtol=1e-5, atol=1e-6)
        of_class = values[:, rows[classes[rows] == 1]].mean(axis=1)
        np.testing.assert_allclose(drawn.means(sums, 1)[replicate], of_class, rtol=1e-5, atol=1e-6)


def test_bundles_of_a_large_table_tell_the_same_spread(rng):
    """The mean of n values has the standard error sd / √n, bundled or not; a rare class keeps bundles of its own."""
    classes = (np.arange(20_000) < 50).astype(int)
    values = rng.normal(3, 2, 20_000)
    drawn = Bootstrap.of(20_000, 0, classes)
    assert drawn.n_bundles < MOST_BUNDLES + 25
    sums = drawn.sums(np.arange(20_000), values)
    assert 0.85 < drawn.means(sums)[:, 0].std() / (2 / np.sqrt(20_000)) < 1.15
    assert 0.6 < drawn.means(sums, 1)[:, 0].std() / (2 / np.sqrt(50)) < 1.4
    np.testing.assert_allclose(drawn.means(sums)[:, 0].mean(), values.mean(), atol=0.005)


def test_jobs_are_added_up_apart(rng):
    drawn = Bootstrap.of(9, 0)
    rows, job, values = np.array([3, 3, 8]), np.array([0, 1, 1]), np.array([1.0, 2.0, 4.0])
    sums = drawn.sums(rows, values, job, 2)
    assert sums[0, drawn.bundle[3]] == 1
    assert sums[1, drawn.bundle[3]] == 2
    assert sums[1, drawn.bundle[8]] == 4
    assert sums.sum() == 7


def test_one_seed_draws_the_same_rows():
    assert (Bootstrap.of(30, 4).weights == Bootstrap.of(30, 4).weights).all()
    assert (Bootstrap.of(30, 4).weights != Bootstrap.of(30, 5).weights).any()


def test_ranks_have_intervals():
    replicates = np.array([[3.0, 2.0, 1.0]] * 190 + [[2.0, 3.0, 1.0]] * 10)
    ends = interval(np.array([3.0, 2.0, 1.0]), replicates)
    assert ends["rank_low"].tolist() == [1, 1, 3]
    assert ends["rank_high"].tolist() == [2, 2, 3]
    assert ends["low"].tolist() == [2, 2, 1]


def test_what_is_not_measured_takes_no_place():
    """Its replicates are 0, above those of a feature that was measured and does harm."""
    replicates = np.tile([1.0, 0.0, -0.1, 0.0], (50, 1))
    ends = interval(replicates[0], replicates, np.array([True, False, True, False]))
    assert ends["rank_low"].tolist() == ends["rank_high"].tolist() == [1, 4, 2, 4]


def test_many_classes_take_no_more_bundles_than_they_must():
    classes = np.repeat(np.arange(100), 30)
    assert Bootstrap.of(3000, 0, classes).n_bundles == 500
