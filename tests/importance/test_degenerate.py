"""Rows that tell nothing whatever the model: one error each, of any model."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

import permgrad as pg

X = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
TWO, VALUES = (X[:, 0] > 0).astype(int), X[:, 0].astype(float)


def network(activation, width=1):
    row = keras.Input((2,))
    model = keras.Model(row, keras.layers.Dense(width, activation)(row))
    model.compile("sgd", "mse" if activation is None else None)
    return model


CLASSIFIERS = {"estimator": lambda: LogisticRegression().fit(X, TWO), "network": lambda: network("sigmoid")}
REGRESSORS = {"estimator": lambda: LinearRegression().fit(X, VALUES), "network": lambda: network(None)}


def ways(model):
    """All that measures a loss of the rows."""
    yield lambda X, y, **known: pg.rank_features(model, X, y, **known)
    if isinstance(model, keras.Model):
        yield lambda X, y, **known: pg.permutation_importance(model, X, y, **known)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_single_class(kind):
    for rank in ways(CLASSIFIERS[kind]()):
        with pytest.raises(pg.PermGradError, match="^y holds a single class, '1'.*give rows of at least two classes"):
            rank(X, np.ones(40, int))
        with pytest.raises(pg.PermGradError, match="single class, '0'"):  # the other's rows weigh nothing
            rank(X, TWO, sample_weight=1.0 - TWO)


@pytest.mark.parametrize("kind", REGRESSORS)
def test_a_single_value(kind):
    for rank in ways(REGRESSORS[kind]()):
        with pytest.raises(pg.PermGradError, match="^all rows have the same target value; give rows whose target"):
            rank(X, np.full(40, 3.0))


@pytest.mark.parametrize("kind", REGRESSORS)
@pytest.mark.parametrize("n", [1, 2, 4])
def test_too_few_rows(kind, n):
    for rank in ways(REGRESSORS[kind]()):
        with pytest.raises(pg.PermGradError, match=f"^a ranking needs at least 5 rows .*, got {n}; give more"):
            rank(X[:n], VALUES[:n])


class Twice:
    """Probabilities whose rows add up to 2."""

    classes_ = np.array([0, 1])

    def predict_proba(self, X):
        return np.ones((len(X), 2))


def test_probabilities_that_do_not_add_up_to_1():
    with pytest.raises(pg.PermGradError, match="add up to 1 in each row; the model's add up to 2; divide them"):
        pg.rank_features(Twice(), X, TWO)
