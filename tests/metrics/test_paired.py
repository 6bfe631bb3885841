from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from permgrad.metrics.paired import compare_losses, mean_and_error, mean_p_value


def test_it_is_the_paired_t_test(rng):
    first, second = rng.normal(1, 1, 30), rng.normal(1.2, 1, 30)
    compared, known = compare_losses(first, second), stats.ttest_rel(first, second, alternative="less")
    assert compared.p == pytest.approx(known.pvalue)
    both = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert (compared.low, compared.high) == pytest.approx((both.low, both.high))
    assert compared.difference == pytest.approx(first.mean() - second.mean())


def test_equal_losses_a_constant_lead_and_one_row():
    ones = np.ones(5)
    assert compare_losses(ones, ones).p == 1
    assert compare_losses(0.5 * ones, ones).p == 0
    assert compare_losses(2 * ones, ones).p == 1
    one = compare_losses(np.array([0.1]), np.array([3.0]))
    assert (one.p, one.low, one.high) == (1, -np.inf, np.inf)


def test_mean_p_value_is_a_t_test(rng):
    values = rng.normal(0.1, size=50)
    assert mean_p_value(values) == pytest.approx(stats.ttest_1samp(values, 0, alternative="greater").pvalue)
    assert (mean_p_value(np.zeros(5)), mean_p_value(np.ones(5)), mean_p_value(np.ones(1))) == (1, 0, 1)


def test_a_value_of_weight_k_is_k_values_drawn_together(rng):
    values, weights = rng.normal(0.2, 1, 40), rng.integers(0, 4, 40)
    repeated, groups = np.repeat(values, weights), np.repeat(np.arange(40), weights)
    mean, error, n = mean_and_error(values, weights)
    np.testing.assert_allclose((mean, error), mean_and_error(repeated, groups=groups)[:2])
    assert n == pytest.approx(weights.sum() ** 2 / (weights**2).sum())  # as many as count alike
    assert mean == pytest.approx(repeated.mean())
    assert mean_p_value(values, weights) == pytest.approx(mean_p_value(repeated, groups=groups))


def test_a_repeated_value_tells_nothing_more_as_a_group(rng):
    values = rng.normal(0.2, 1, 40)
    plain, together = mean_and_error(values), mean_and_error(np.repeat(values, 9), groups=np.repeat(np.arange(40), 9))
    np.testing.assert_allclose(together, plain)
    assert plain[1] == pytest.approx(values.std(ddof=1) / np.sqrt(40))
    assert mean_and_error(np.repeat(values, 9))[1] == pytest.approx(plain[1] / 3, rel=0.02)


def test_p_values_of_groups_hold(rng):
    """Rows of a group share half of their variance: by rows a test flags far too many, by groups one in twenty."""
    groups = np.repeat(np.arange(30), 10)
    drawn = rng.normal(size=(1000, 30))[:, groups] + rng.normal(size=(1000, 300))
    by_rows = np.mean([mean_p_value(values) < 0.05 for values in drawn])
    by_groups = np.mean([mean_p_value(values, groups=groups) < 0.05 for values in drawn])
    assert by_rows > 0.15
    assert 0.03 < by_groups < 0.075


def test_losses_are_compared_as_they_weigh(rng):
    first, second, weights = rng.random(30), rng.random(30), rng.integers(1, 4, 30)
    compared = compare_losses(first, second, weights)
    groups = np.repeat(np.arange(30), weights)
    repeated = compare_losses(np.repeat(first, weights), np.repeat(second, weights), groups=groups)
    np.testing.assert_allclose(list(vars(compared).values()), list(vars(repeated).values()))
    assert compared.difference == pytest.approx(np.average(first - second, weights=weights))
    one = compare_losses(first, second, groups=np.zeros(30, int))
    assert (one.low, one.high, one.p) == (-np.inf, np.inf, 1.0)
