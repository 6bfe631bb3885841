from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from permgrad.importance.responding.similarity import _apart, order_by_similarity


def test_levels_stand_next_to_those_that_they_are_like(rng):
    """Sizes whose names' order is another: the rows' heights, and shares of a colour, rise with them."""
    size = rng.integers(0, 5, 2000)
    level = np.array([3, 0, 4, 1, 2])[size].astype(float)
    level[:50] = np.nan
    others = pd.DataFrame({"height": size + 0.7 * rng.normal(size=2000), "red": rng.random(2000) < size / 5})
    order = order_by_similarity(level, 5, others)
    assert order.tolist() in ([3, 0, 4, 1, 2], [2, 1, 4, 0, 3])


def test_two_levels_stay_as_they_are():
    assert order_by_similarity(np.array([1.0, 0]), 2, pd.DataFrame({"a": [1, 2]})).tolist() == [0, 1]


def test_how_far_levels_are_apart_is_kolmogorovs_and_the_difference_of_shares(rng):
    level, number = rng.integers(0, 3, 200), pd.Series(rng.integers(0, 5, 200))
    shares = np.eye(3)[level] / np.bincount(level)
    kinds = number.map({0: "a", 1: "a", 2: "b", 3: None, 4: "c"})
    for first in range(3):
        for second in range(3):
            both = [number[level == i] for i in (first, second)]
            assert _apart(shares, number)[first, second] == pytest.approx(ks_2samp(*both).statistic)
            parts = [kinds[level == i].value_counts(normalize=True, dropna=False) for i in (first, second)]
            apart = parts[0].sub(parts[1], fill_value=0).abs().sum() / 2
            assert _apart(shares, kinds)[first, second] == pytest.approx(apart)
