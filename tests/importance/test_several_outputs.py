"""Several values of a row: each counts in units of its variance, or one alone."""

from __future__ import annotations

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

import permgrad as pg
from permgrad.importance.network._target import Target
from permgrad.metrics.task import Task

COEFFICIENTS = np.array([[1.0, 0.0], [0.0, 100.0], [0.0, 0.0]])


@pytest.fixture(scope="module")
def rows():
    X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    return X, X @ COEFFICIENTS


def network():
    row = keras.Input((3,))
    model = keras.Model(row, keras.layers.Dense(2, use_bias=False)(row))
    model.set_weights([COEFFICIENTS])
    model.compile("sgd", "mse")
    return model


MODELS = {"estimator": lambda X, y: LinearRegression().fit(X, y), "network": lambda X, y: network()}


@pytest.mark.parametrize("kind", MODELS)
def test_no_output_hides_the_others(kind, rows):
    """y = (x0, 100 x1): each column tells one output, and is worth half of the total, which is 1."""
    X, y = rows
    ranking = pg.rank_features(MODELS[kind](X, y), X, y, n_repeats=1)
    assert ranking.settings["total"] == pytest.approx(1, rel=1e-4)
    assert ranking.settings["loss"] == "squared error over variance"
    np.testing.assert_allclose(ranking.scores, [0.5, 0.5, 0], atol=0.05)
    last = ranking.components["permutation"].scores  # twice the variance, of one output of two
    np.testing.assert_allclose(last, [1, 1, 0], atol=0.15)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize(("output", "expected"), [(0, [1, 0, 0]), (1, [0, 1e4, 0])])
def test_one_output_alone_counts_in_its_own_unit(kind, output, expected, rows):
    X, y = rows
    model = MODELS[kind](X, y)
    ranking = pg.rank_features(model, X, y, output=output, n_repeats=1)
    np.testing.assert_allclose(ranking.scores, expected, rtol=0.25, atol=1e-3)
    if kind == "estimator":
        named = pg.rank_features(model, X, pd.DataFrame(y, columns=["a", "b"]), output="ab"[output], n_repeats=1)
        np.testing.assert_allclose(named.scores, ranking.scores)


@pytest.mark.parametrize("kind", MODELS)
def test_outputs_that_are_not_there(kind, rows):
    X, y = rows
    with pytest.raises(pg.PermGradError, match="output must be from 0 to 1"):
        pg.rank_features(MODELS[kind](X, y), X, y, output=2)
    with pytest.raises(pg.PermGradError, match="does not fit a model with 2 outputs; give the values of all"):
        pg.rank_features(MODELS[kind](X, y), X, y[:, 0], output=0)


def test_a_single_value_and_classes_have_no_other_output(rows):
    X, y = rows
    with pytest.raises(pg.PermGradError, match="no output 1 to rank alone: the model has a single output"):
        pg.rank_features(LinearRegression().fit(X, y[:, 0]), X, y[:, 0], output=1)
    assert Task(3, "softmax", n_classes=3).weighing(np.arange(3)).output_weights is None


def test_slopes_are_those_of_the_losses(rng):
    y = rng.normal(size=(30, 2)) * [1, 50]
    target = Target(y, Task(2), None).counting(rng.random(30), None)
    at, said, step = np.arange(30), rng.normal(size=(30, 2)), 1e-5
    slopes = target.slopes(at, said)
    for k in range(2):
        moved = [said + sign * step * np.eye(2)[k] for sign in (1, -1)]
        above, below = (target.losses_said(at, each) for each in moved)
        np.testing.assert_allclose(slopes[:, k], (above - below) / (2 * step), rtol=1e-4, atol=1e-8)
