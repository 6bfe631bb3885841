"""Do levels differ: intervals of differences, a planted difference, and how often chance is taken for one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

import permgrad as pg
from permgrad.evaluation._differing import difference_of
from permgrad.evaluation.by_level import ALL


def test_of_symmetric_intervals_it_is_the_normal_test_of_two_means():
    first, second = (5.0, 5 - 1.2, 5 + 1.2), (3.0, 3 - 0.9, 3 + 0.9)
    low, high, p = difference_of(first, second)
    assert (low, high) == pytest.approx((2 - 1.5, 2 + 1.5))  # 1.2² + 0.9² = 1.5²
    assert p == pytest.approx(2 * norm.sf(2 / (1.5 / 1.959964)), rel=1e-5)
    mirrored = difference_of(second, first)
    assert mirrored == pytest.approx((-high, -low, p))


def test_each_side_has_the_ends_that_lie_there():
    low, high, p = difference_of((2.0, 1.9, 4.0), (1.0, 0.0, 1.2))
    assert (low, high) == pytest.approx((1 - np.hypot(0.1, 0.2), 1 + np.hypot(2.0, 1.0)))
    assert p < 0.001  # the ends between the two values are near
    assert difference_of((1.0, 1.0, 1.0), (0.5, 0.5, 0.5))[2] == 1  # nothing is known of either's spread


def levels(losses: dict[str, tuple[float, float, float]], n: dict[str, int], scores=()) -> pg.ByLevel:
    """Return levels by hand; `scores` are (feature, level, score, low, high)."""
    names = [ALL, *losses]
    ends = {
        end: [1.0, *(loss[i] for loss in losses.values())] for i, end in enumerate(("rmse", "rmse_low", "rmse_high"))
    }
    rows = [sum(n.values()), *n.values()]
    known = {
        "level": names,
        "rows": rows,
        "few": [count < 30 for count in rows],
        "r2": 0.5,
        "r2_low": 0.4,
        "r2_high": 0.6,
    }
    importance = pd.DataFrame(scores, columns=["feature", "level", "score", "low", "high"]).assign(rank=1)
    return pg.ByLevel("by", pd.DataFrame({**known, **ends}), importance)


def test_pairs_of_the_loss_and_pairs_of_columns_are_adjusted_apart_and_small_levels_left_out():
    near = {"a": (1.0, 0.9, 1.1), "b": (1.3, 1.2, 1.4), "c": (9.0, 8.9, 9.1)}
    scores = [("x", level, score, score - 0.1, score + 0.1) for level, score in (("a", 0.0), ("b", 0.25), ("c", 9.0))]
    scores += [("y", level, np.nan, np.nan, np.nan) for level in "abc"]
    found = levels(near, {"a": 100, "b": 100, "c": 29}, scores).differences()
    assert found[["of", "level", "other"]].to_numpy().tolist() == [["rmse", "a", "b"], ["x", "a", "b"]]
    assert found["difference"].tolist() == pytest.approx([-0.3, -0.25])
    one = difference_of(near["a"], near["b"])[2]
    assert found["p"].iloc[0] == pytest.approx(one)
    three = levels(near, dict.fromkeys("abc", 100)).differences()
    assert three["p"].iloc[0] == pytest.approx(one)  # the largest of three p-values: Holm leaves it
    assert three["p"].max() == pytest.approx(one)
    assert levels({"a": near["a"]}, {"a": 100}).differences().empty


class Guess:
    """Predicts 0."""

    def predict(self, X):
        return np.zeros(len(X))


def test_a_planted_difference_is_found_and_chance_seldom_is():
    """Three levels of equal noise: a difference is told in about 5 % of tables; of twice the noise, in all."""
    rng, told = np.random.default_rng(0), []
    level = np.repeat(list("pqr"), 40)
    X = pd.DataFrame({"x": np.zeros(120)})
    for _ in range(40):
        found = measured(X, rng.normal(size=120), level)
        told.append((found["p"] < 0.05).any())
    assert np.mean(told) < 0.15
    planted = measured(X, rng.normal(size=120) * np.where(level == "p", 2.5, 1), level)
    assert planted.loc[planted["p"] < 0.01, ["level", "other"]].to_numpy().tolist() == [["p", "q"], ["p", "r"]]


def measured(X, y, level) -> pd.DataFrame:
    ranking = pg.FeatureRanking(("x",), [0.0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("permgrad.evaluation.by_level._ranked", lambda *given: ranking)
        return pg.by_level(Guess(), X, y, by=level).differences()
