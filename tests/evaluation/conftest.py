"""Networks whose every weight is known: nothing here is trained."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.evaluation.explained import ExplainedModel
from permgrad.layers.scaling import MinMaxScale
from tests.conftest import SMALL


def untrained(estimator: Any, train: pg.Table) -> Any:
    """Fit all of an estimator but the network, whose weights stay the initial ones."""
    modules = (sys.modules[each.__module__] for each in type(estimator).__mro__)
    trains = next(module for module in modules if hasattr(module, "fit_network"))
    with mock.patch.object(trains, "fit_network", return_value=({"loss": [1.0]}, 1)):
        return estimator.fit(train.X, train.y)


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


def teach(network: Any, weights: np.ndarray, offset: float = 0.0) -> Any:
    """Set a hybrid's weights so that its logit is about ``scaled columns @ weights + offset``, beside a weak image.

    One unit of the first layer has the positive part of it, a second one the negative part, and each goes on alone.
    """
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Dense):
            kernel, *bias = layer.get_weights()
            layer.set_weights([0.01 * rng.normal(size=kernel.shape), *(0 * each for each in bias)])

    def put(name: str, first_rows: np.ndarray, first_bias: Any = 0.0) -> None:
        kernel, bias = network.get_layer(name).get_weights()
        kernel[: len(first_rows), : first_rows.shape[1]] = first_rows
        kernel[len(first_rows) :, : first_rows.shape[1]] *= 0.1  # of the image's code, and of the other units
        bias[: first_rows.shape[1]] = first_bias
        network.get_layer(name).set_weights([kernel, bias])

    sign = np.array([[1.0, -1.0]])
    put("tabular_0", weights[:, None] * sign, offset * sign[0])
    put("head_0", np.eye(2))
    n_outputs = network.output.shape[-1]
    put("logits", sign.T if n_outputs == 1 else sign.T @ np.array([[-0.5, 0.5]]))
    return network


def planted_case(X: pd.DataFrame, weights: np.ndarray, n_train: int, random_state: int = 0) -> ExplainedModel:
    """Return an explained model whose target is ``X @ weights``, and whose network knows it."""
    table = pg.Table(X, X.to_numpy() @ weights, task="regression")
    train, test = table.take(np.arange(n_train)), table.take(np.arange(n_train, len(X)))
    estimator = untrained(pg.HybridRegressor(**SMALL, branches=("tabular",)), train)
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
    estimator = pg.HybridRegressor(**SMALL, epochs=2)
    with pytest.warns(UserWarning, match="no information in 'same'"):
        untrained(estimator, train)
    weights = {"dose": 3, "colour=red": 2}
    target = estimator.network_.get_layer("prediction")
    columns = np.array([weights.get(name, 0) for name in estimator.encoder_.get_feature_names_out()]) / target.scale
    teach(estimator.network_, columns)
    return ExplainedModel(estimator, estimator.rank_features(test.X, test.y, formula="fused"), train, test)
