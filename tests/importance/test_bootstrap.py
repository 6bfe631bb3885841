from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from permgrad.importance.bootstrap import MOST_BUNDLES, Bootstrap, interval, percentiles, widening_of


def test_means_are_of_the_rows_drawn(rng):
    values, classes = rng.normal(size=(3, 70)), rng.integers(0, 3, 70)
    drawn = replace(Bootstrap.of(70, 1, classes), widening=1.0)
    sums = np.stack([drawn.sums(np.arange(70), row)[0] for row in values])
    for replicate, weights in enumerate(drawn.weights[:20]):
        weights = weights[drawn.bundle]
        assert all(weights[classes == c].sum() == pytest.approx(round(weights[classes == c].sum())) for c in range(3))
        expected = np.average(values, axis=1, weights=weights)
        np.testing.assert_allclose(drawn.means(sums)[replicate], expected, rtol=1e-5, atol=1e-6)
        rows = np.repeat(np.arange(70), np.rint(weights / weights[(classes == 1) & (weights > 0)].min()).astype(int))
        of_class = values[:, rows[classes[rows] == 1]]  # drawn so often, however many rows the class has
        own = np.average(values[:, classes == 1], axis=1, weights=weights[classes == 1])
        assert of_class.shape[1] >= (classes == 1).sum() / 2
        np.testing.assert_allclose(drawn.means(sums, 1)[replicate], own, rtol=1e-5, atol=1e-6)


def test_a_class_has_as_many_rows_as_chance_gives_it():
    """The share of a class varies as in new samples, √(p (1 - p) / n), and no class is lost."""
    classes = (np.arange(400) < 8).astype(int)
    drawn = Bootstrap.of(400, 0, classes)
    shares = drawn.weights @ (drawn.counts * (drawn.classes == 1)) / (drawn.weights @ drawn.counts)
    assert shares.mean() == pytest.approx(0.02, abs=0.002)
    assert shares.std() == pytest.approx(np.sqrt(0.02 * 0.98 / 400), rel=0.15)
    assert shares.min() > 0


def test_a_new_value_is_between_the_percentiles_as_often_as_it_should():
    """Of uniform replicates the coverage of an interval is its length."""
    drawn = np.random.default_rng(0).random((200, 4000))
    assert np.diff(percentiles(drawn), axis=0).mean() == pytest.approx(0.95, abs=0.002)
    assert np.diff(np.quantile(drawn, [0.025, 0.975], axis=0), axis=0).mean() < 0.945


def test_bundles_of_a_large_table_tell_the_same_spread(rng):
    """The mean of n values has the standard error sd / √n, bundled or not; a rare class keeps bundles of its own."""
    classes = (np.arange(20_000) < 50).astype(int)
    values = rng.normal(3, 2, 20_000)
    drawn = Bootstrap.of(20_000, 0, classes)
    assert drawn.n_bundles < MOST_BUNDLES + 25
    sums = drawn.sums(np.arange(20_000), values)
    assert 0.8 < drawn.means(sums)[:, 0].std() / (2 / np.sqrt(20_000)) < 1.2
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


@pytest.mark.parametrize("with_classes", [True, False])
@pytest.mark.parametrize("n", [60, 900])
def test_rows_repeated_as_groups_leave_the_interval_as_it_was(rng, n, with_classes):
    """Where without groups it shrinks by the square root of how often."""
    values, classes = rng.normal(size=n), rng.integers(0, 2, n) if with_classes else None
    k, rows = 9, np.arange(n)
    repeated = {"classes": np.repeat(classes, k) if with_classes else None}

    def means(drawn, values):
        return drawn.means(drawn.sums(np.arange(len(values)), values))[:, 0]

    plain = means(Bootstrap.of(n, 3, classes), values)
    as_groups = means(Bootstrap.of(n * k, 3, **repeated, groups=np.repeat(rows, k)), np.repeat(values, k))
    np.testing.assert_allclose(as_groups, plain, rtol=1e-4, atol=1e-6)
    spread = means(Bootstrap.of(n * k, 3, **repeated), np.repeat(values, k)).std()
    assert 0.75 < spread * np.sqrt(k) / plain.std() < 1.3


def test_a_row_of_weight_k_is_a_group_of_k(rng):
    values, weights, classes = rng.normal(size=80), rng.integers(1, 4, 80), rng.integers(0, 3, 80)
    rows = np.repeat(np.arange(80), weights)
    weighed = Bootstrap.of(80, 1, classes, weights=weights)
    grouped = Bootstrap.of(len(rows), 1, classes[rows], groups=rows)
    for label in (None, 1):
        np.testing.assert_allclose(
            weighed.means(weighed.sums(np.arange(80), weights * values), label),
            grouped.means(grouped.sums(np.arange(len(rows)), values[rows]), label),
            rtol=1e-5,
            atol=1e-6,
        )


def test_a_group_of_several_classes_is_drawn_whole(rng):
    """Each replicate is the mean over the rows of the groups that it draws, and of a class over theirs alone."""
    values, groups, classes = rng.normal(size=120), rng.integers(0, 25, 120), rng.integers(0, 3, 120)
    drawn = replace(Bootstrap.of(120, 2, classes, groups=groups), widening=1.0)
    sums = drawn.sums(np.arange(120), values)
    for replicate, weights in enumerate(drawn.weights[:20]):
        times = weights[drawn.bundle].astype(int)
        assert all(len(set(times[groups == group])) == 1 for group in set(groups))
        rows = np.repeat(np.arange(120), times)
        np.testing.assert_allclose(drawn.means(sums)[replicate, 0], values[rows].mean(), rtol=1e-4, atol=1e-6)
        of_class = values[rows[classes[rows] == 1]]
        np.testing.assert_allclose(drawn.means(sums, 1)[replicate, 0], of_class.mean(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("n_groups", [3, 5, 20])
def test_few_groups_widen_the_interval_to_students(n_groups, rng):
    """Of normal values of groups, the interval is on average as wide as the t-test's; of many, the bootstrap's own."""
    widths = []
    for seed in range(200):
        values = rng.normal(size=n_groups)
        drawn = Bootstrap.of(10 * n_groups, seed, groups=np.repeat(np.arange(n_groups), 10))
        replicates = drawn.means(drawn.sums(np.arange(10 * n_groups), np.repeat(values, 10)))[:, 0]
        expected = 2 * student.ppf(0.975, n_groups - 1) * values.std(ddof=1) / np.sqrt(n_groups)
        widths.append(np.diff(percentiles(replicates))[0] / expected)
    assert np.mean(widths) == pytest.approx(1, abs=0.12)
    assert widening_of(np.ones(300), 2) < 1.01


def test_groups_that_count_differently_are_fewer():
    assert widening_of(np.array([50.0, 1, 1, 1, 1])) > 3 * widening_of(np.ones(5))
    assert widening_of(np.array([4.0, 4, 4, 0, 0])) == widening_of(np.ones(3))
