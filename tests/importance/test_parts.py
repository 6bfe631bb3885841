"""Parts of the features, measured apart, are together what is measured at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

import permgrad as pg
from permgrad.importance.parts import join

GIVEN = {"formula": "last in", "n_repeats": 2}
ARRAYS = ("scores", "std", "low", "high", "rank_low", "rank_high", "p_values")


def same(one: pg.FeatureRanking, other: pg.FeatureRanking) -> None:
    assert (one.features, one.pending) == (other.features, other.pending)
    for name in ARRAYS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6, atol=1e-9)


def rank_in_parts(rank, tmp_path) -> tuple[list[pg.FeatureRanking], pg.FeatureRanking]:
    """Return the rankings of two parts, and the one of what both measured."""
    parts = []
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        parts.append(rank(pg.Budget(part=(number, 2), checkpoint=tmp_path / str(number) / "m.npz")))
    for path in (tmp_path / "1").iterdir():
        join([path, tmp_path / "2" / path.name], tmp_path / path.name)
    return parts, rank(pg.Budget(checkpoint=tmp_path / "m.npz"))


def test_parts_of_a_networks_columns_are_together_the_whole(random_hybrid, rng, tmp_path):
    X, y = rng.random((60, 6), np.float32), rng.integers(2, size=60)
    frame = pd.DataFrame(X, columns=[f"f{i}" for i in range(6)])
    model = random_hybrid("classification", 2, ("tabular",))

    def rank(budget: pg.Budget) -> pg.FeatureRanking:
        return pg.rank_features(model, frame, y, budget=budget, **GIVEN)

    whole = rank(pg.Budget())
    parts, joined = rank_in_parts(rank, tmp_path)
    assert [part.pending for part in parts] == [("f1", "f3", "f5"), ("f0", "f2", "f4")]
    same(joined, whole)
    np.testing.assert_allclose(parts[1].scores[[1, 3, 5]], whole.scores[[1, 3, 5]], rtol=1e-6)


def test_parts_of_an_estimators_columns(rng, tmp_path):
    X = rng.normal(size=(60, 2))
    y = X @ [1.0, 2.0]
    model = LinearRegression().fit(X, y)

    def rank(budget: pg.Budget) -> pg.FeatureRanking:
        return pg.rank_features(model, X, y, budget=budget, **GIVEN, conditional=True)

    parts, joined = rank_in_parts(rank, tmp_path)
    assert [part.pending for part in parts] == [("x1",), ("x0",)]
    whole = rank(pg.Budget())
    same(joined, whole)
    same(joined.components["conditional"], whole.components["conditional"])
    with pytest.raises(pg.PermGradError, match="the game of all features is one thing.*--formula last-in"):
        pg.rank_features(model, X, y, budget=pg.Budget(part=(1, 2)))
    pg.rank_features(
        model, X, y + 0.01, budget=pg.Budget(part=(2, 2), checkpoint=tmp_path / "o.npz"), formula="last in"
    )
    with pytest.raises(pg.PermGradError, match=r"o\.npz belongs to another .*data.* than"):
        join([tmp_path / "1" / "m.npz", tmp_path / "o.npz"], tmp_path / "both.npz")
    pg.rank_features(model, X, y, budget=pg.Budget(checkpoint=tmp_path / "game.npz"))
    with pytest.raises(pg.PermGradError, match="a game, which has no parts"):
        join([tmp_path / "game.npz"], tmp_path / "both.npz")


@pytest.mark.parametrize("part", [(0, 2), (3, 2)])
def test_no_part(part):
    with pytest.raises(pg.PermGradError, match="part must be a number and of how many"):
        pg.Budget(part=part)
