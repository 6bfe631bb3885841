from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from permgrad.metrics.paired import compare_losses, mean_p_value


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
