from __future__ import annotations

import numpy as np
import pandas as pd

from permgrad.importance.responding.similarity import order_by_similarity


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
