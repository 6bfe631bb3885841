from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

import permgrad as pg
from tests.conftest import SMALL


def test_probabilities_are_averaged_by_hand(rng):
    X, y = rng.random((60, 3)), np.repeat(["b", "a"], 30)
    kinds = [LogisticRegression(), DecisionTreeClassifier(max_depth=2, random_state=0)]
    model = pg.AveragedClassifier(kinds).fit(X, y)
    mean = sum(clone(kind).fit(X, y).predict_proba(X) for kind in kinds) / 2
    np.testing.assert_allclose(model.predict_proba(X), mean)
    assert model.classes_.tolist() == ["a", "b"]
    assert (model.predict(X) == np.where(mean[:, 0] >= 0.5, "a", "b")).all()
    assert not hasattr(kinds[0], "coef_")  # clones were fitted


def test_predictions_are_averaged_by_hand(rng):
    X, y = rng.random((60, 3)), rng.random(60)
    kinds = [LinearRegression(), DecisionTreeRegressor(random_state=0)]
    fitted = [clone(kind).fit(X, y) for kind in kinds]
    by_hand = (fitted[0].predict(X) + fitted[1].predict(X)) / 2
    np.testing.assert_allclose(pg.AveragedRegressor(kinds).fit(X, y).predict(X), by_hand)
    np.testing.assert_allclose(pg.AveragedRegressor.of(fitted).predict(X), by_hand)
    assert pg.AveragedRegressor.of(fitted).score(X, y) > fitted[0].score(X, y)


@pytest.mark.slow
def test_rankings_are_averaged_on_the_same_permutations(rng, tmp_path):
    X, y = rng.random((60, 3)), np.repeat(["b", "a"], 30)
    networks = [pg.MLPClassifier(hidden_units=(4,), epochs=1, random_state=s).fit(X, y) for s in (0, 1)]
    file = tmp_path / "kept.npz"
    mean = pg.AveragedClassifier.of(networks).rank_features(
        X, y, random_state=3, formula="fused", budget=pg.Budget(checkpoint=file)
    )
    alone = [network.rank_features(X, y, random_state=3, formula="fused") for network in networks]
    assert mean == pg.average_rankings(alone, 3)
    np.testing.assert_allclose(mean.scores, (alone[0].scores + alone[1].scores) / 2)
    assert {path.name for path in tmp_path.iterdir()} == {"kept-network1.npz", "kept-network2.npz"}
    with pytest.raises(pg.PermGradError, match="all of its estimators do, not so 'DummyClassifier'"):
        pg.AveragedClassifier.of([networks[0], DummyClassifier().fit(X, y)]).rank_features(X, y)
    with pytest.raises(pg.UnfittedError, match="call fit first"):
        pg.AveragedClassifier(networks).rank_features(X, y)


@pytest.mark.slow
def test_networks_of_several_seeds(rng):
    X, y = rng.random((60, 4)), rng.integers(0, 2, 60)
    seeds = [pg.HybridClassifier(**SMALL, epochs=1, random_state=random_state) for random_state in (0, 1)]
    model = pg.AveragedClassifier(seeds).fit(X, y, validation_data=(X, y))
    first, second = (network.predict_proba(X) for network in model.estimators_)
    assert not np.allclose(first, second)
    np.testing.assert_allclose(model.predict_proba(X), (first + second) / 2)
    assert pg.score_importance(model, X, y, n_repeats=1).features == ("x0", "x1", "x2", "x3")


def test_what_cannot_be_averaged(rng):
    X = rng.random((6, 2))
    with pytest.raises(pg.PermGradError, match="at least one estimator, got none"):
        pg.AveragedClassifier([]).fit(X, [0, 1] * 3)
    with pytest.raises(pg.UnfittedError):
        pg.AveragedRegressor([LinearRegression()]).predict(X)
    fitted = [DummyClassifier().fit(X, labels) for labels in ([0, 1] * 3, [0, 2] * 3)]
    with pytest.raises(pg.PermGradError, match="the same classes, got 0, 1 and 0, 2"):
        pg.AveragedClassifier.of(fitted)
