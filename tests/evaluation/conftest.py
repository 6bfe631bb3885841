"""A network whose every weight is known: the sum of its columns, each times a planted factor."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.evaluation.explained import ExplainedModel
from permgrad.layers.scaling import MinMaxScale
from tests.conftest import SMALL


def linear_network(X: np.ndarray, weights: np.ndarray):
    """Predicts ``X @ weights``."""
    rows = keras.Input((X.shape[1],))
    scale = MinMaxScale(name="scale")
    dense = keras.layers.Dense(1, name="sum")
    network = keras.Model(rows, dense(scale(rows)))
    scale.adapt(X)
    span = X.max(axis=0) - X.min(axis=0)
    dense.set_weights([(weights * span)[:, None], np.array([X.min(axis=0) @ weights])])
    return network


def planted_case(X: pd.DataFrame, weights: np.ndarray, n_train: int, random_state: int = 0) -> ExplainedModel:
    """A explained whose target is ``X @ weights``, and whose network knows it."""
    table = pg.Table(X, X.to_numpy() @ weights, task="regression")
    train, test = table.take(np.arange(n_train)), table.take(np.arange(n_train, len(X)))
    estimator = pg.HybridRegressor(**SMALL, branches=("tabular",), epochs=1).fit(train.X, train.y)
    estimator.network_ = linear_network(train.X.to_numpy(np.float32), weights)
    return ExplainedModel(estimator, pg.FeatureRanking(tuple(X), np.abs(weights)), train, test, None, random_state)


@pytest.fixture(scope="session")
def planted() -> SimpleNamespace:
    """Six independent columns, of which the last has no weight; 400 training rows, 200 test rows."""
    weights = np.array([1.0, -4.0, 0.5, 3.0, 2.0, 0.0])
    X = pd.DataFrame(np.random.default_rng(1).uniform(-2, 5, (600, 6)), columns=list("abcdef"))
    return SimpleNamespace(explained=planted_case(X, weights, 400), weights=weights)


@pytest.fixture(scope="session")
def mixed_fit() -> ExplainedModel:
    """A regressor on a category, numbers with gaps and a constant; ``dose`` and ``colour`` decide the target."""
    rng = np.random.default_rng(5)
    n = 500
    X = pd.DataFrame(
        {
            "same": 1.0,
            "colour": rng.choice(["red", "green", "blue"], n),
            "age": np.where(rng.random(n) < 0.1, np.nan, rng.normal(50, 9, n)),
            "smoker": rng.random(n) < 0.5,
            "dose": rng.random(n),
            "noise": rng.random(n),
        }
    )
    table = pg.Table(X, 3 * X["dose"] + 2 * (X["colour"] == "red"), task="regression")
    train, test = table.take(np.arange(350)), table.take(np.arange(350, n))
    estimator = pg.HybridRegressor(**SMALL, epochs=15, learning_rate=2e-2)
    with pytest.warns(UserWarning, match="no information in 'same'"):
        estimator.fit(train.X, train.y)
    return ExplainedModel(estimator, estimator.rank_features(test.X, test.y), train, test)
