from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

import permgrad as pg


def test_shared_features_by_hand():
    names = tuple("abcdefgh")
    first = pg.FeatureRanking(names, np.arange(8, 0, -1.0))  # a b c d ...
    second = pg.FeatureRanking(names, np.array([7, 1, 8, 2, 3, 4, 5, 6.0]))  # c a h g ...
    third = pg.FeatureRanking(names, -np.arange(8.0))
    shared = pg.compare_rankings({"one": first, "two": second, "three": third}, [2, 4])
    assert shared[["first", "second"]].to_numpy().tolist() == [["one", "two"], ["one", "three"], ["two", "three"]]
    assert shared["shared_2"].tolist() == [1, 2, 1]  # a; a b; a
    assert shared["shared_4"].tolist() == [2, 4, 2]  # a c
    assert shared["by_chance_4"].tolist() == [2.0] * 3
    assert shared["spearman"][0] == pytest.approx(spearmanr(first.scores, second.scores).statistic)
    assert shared["spearman"][1] == pytest.approx(1)


def test_random_orders_share_as_many_as_chance_says(rng):
    names = tuple(f"x{i}" for i in range(50))
    counts = [
        pg.compare_rankings({i: pg.FeatureRanking(names, rng.random(50)) for i in "ab"}, [10])["shared_10"][0]
        for _ in range(150)
    ]
    assert np.mean(counts) == pytest.approx(2, abs=0.3)


def test_what_cannot_be_compared():
    one = pg.FeatureRanking(("a", "b"), np.array([1.0, 2.0]))
    with pytest.raises(pg.PermGradError, match="at least two rankings"):
        pg.compare_rankings({"one": one}, [1])
    with pytest.raises(pg.PermGradError, match="of the same features"):
        pg.compare_rankings({"one": one, "two": pg.FeatureRanking(("a", "c"), np.array([1.0, 2.0]))}, [1])
    with pytest.raises(pg.PermGradError, match="between 1 and 2"):
        pg.compare_rankings({"one": one, "two": one}, [3])
