"""Rows explained, against their definition: every coalition of (feature, branch), every background row."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.shapley import shapley_values
from tests.oracle import predicted, two_input_model

layers = keras.layers


def plain_values(model, X, background, answer, n_features):
    """Shapley values of ``answer(outputs, rows)`` by all coalitions of some features; (n_rows, n_features, 2)."""
    both, n, m = two_input_model(model), len(X), len(background)
    players = [(f, kind) for f in range(n_features) for kind in ("tabular", "image")]
    rows, donors = np.repeat(np.arange(n), m), np.tile(np.arange(m), n)
    worth = {}
    for size in range(len(players) + 1):
        for on in map(frozenset, combinations(range(len(players)), size)):
            seen = {kind: background[donors].copy() for kind in ("tabular", "image")}
            for feature, kind in (players[i] for i in on):
                seen[kind][:, feature] = X[rows, feature]
            said = answer(predicted(both, [seen["tabular"], seen["image"]]), rows)
            worth[on] = said.reshape(n, m).mean(axis=1)
    values = [shapley_values({on: out[i] for on, out in worth.items()}, len(players)) for i in range(n)]
    return np.array(values).reshape(n, n_features, 2)


@pytest.fixture
def rows(rng):
    """Six rows and eight of a background, of which three columns vary."""
    X, background = (rng.normal(size=(n, 6)).astype(np.float32) for n in (6, 8))
    X[:, 3:] = background[:, 3:] = 0.5
    return X, background


@pytest.mark.slow
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_values_are_those_of_all_coalitions(task, random_hybrid, layout, rows):
    X, background = rows
    model = random_hybrid(task, 3 if task == "classification" else 1)
    of = np.array([0, 1, 2, 0, 1, 2]) if task == "classification" else None
    found = pg.explain_rows(model, X, background, of=of, layout=layout, n_orders=200)

    def answer(outputs, at):
        return logit(outputs[np.arange(len(at)), of[at]].astype(float)) if of is not None else outputs[:, 0]

    known = plain_values(model, X, background, answer, 3)
    np.testing.assert_allclose(found.values[:, :3], known.sum(axis=2), atol=0.02 * np.ptp(found.values))
    for b, kind in enumerate(("tabular", "image")):
        np.testing.assert_allclose(found.by_branch[kind][:, :3], known[:, :, b], atol=0.02 * np.ptp(found.values))
    np.testing.assert_allclose(found.values[:, 3:], 0, atol=1e-6)
    off = np.abs(found.values[:, :3] - known.sum(axis=2)) / np.maximum(found.error[:, :3], 1e-6)
    assert np.mean(off < 3) > 0.9


@pytest.mark.backend
def test_a_rows_values_add_up_to_its_answer_less_the_backgrounds(random_hybrid, layout, rng):
    model, X, background = random_hybrid("classification", 3), rng.random((9, 6)), rng.random((20, 6))
    found = pg.explain_rows(model, X, background, layout=layout)
    p, of_background = (predicted(model, rows.astype(np.float32)).astype(float) for rows in (X, background))
    likeliest = p.argmax(axis=1)
    assert found.explained == tuple(str(c) for c in likeliest)
    np.testing.assert_allclose(found.outputs, logit(p[np.arange(9), likeliest]), atol=1e-4)
    np.testing.assert_allclose(found.base, logit(of_background)[:, likeliest].mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), found.outputs, atol=1e-5)
    parts = sum(found.by_branch.values())
    np.testing.assert_allclose(parts, found.values, atol=1e-9)


@pytest.mark.backend
@pytest.mark.parametrize("n_rows", [1, 7, 300])
def test_a_linear_networks_values_are_known(n_rows, rng):
    """Of w·x each column adds ``w_j (x_j - mean_j)``, whatever the order: no error."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1)])
    model.layers[-1].set_weights([np.array([[1.0], [-2], [0], [3]]), np.array([0.5])])
    X, background = rng.normal(size=(n_rows, 4)), rng.normal(size=(11, 4))
    found = pg.explain_rows(model, X, background)
    np.testing.assert_allclose(found.values, (X - background.mean(axis=0)) * [1, -2, 0, 3], atol=1e-4)
    assert found.error.max() < 1e-3
    assert found.explained is None


def test_the_error_that_is_told_is_that_of_other_orders_or_more(random_hybrid, layout, rng):
    """Also where each order has some of the background only: what that changes in all rows alike is no error."""
    model = random_hybrid("regression", 1, ("tabular",))
    X, background = rng.normal(size=(300, 6)).astype(np.float32), rng.normal(size=(64, 6)).astype(np.float32)
    runs = [pg.explain_rows(model, X, background, layout=layout, random_state=seed) for seed in range(3)]
    known = np.sqrt(np.mean(np.var([run.values for run in runs], axis=0, ddof=1)))
    told = np.sqrt(np.mean(runs[0].error ** 2))
    assert known <= told < 3 * known


@pytest.mark.slow
def test_columns_of_a_table_have_one_value_each_and_say_what_they_are(mixed_frame):
    y = np.where(mixed_frame["colour"] == "red", "red", "no")
    model = pg.HybridClassifier(preset="fast", branches="tabular", epochs=2)
    with pytest.warns(UserWarning, match="no information"):
        model.fit(mixed_frame, y)
    found = model.explain_rows(mixed_frame.iloc[:3], mixed_frame.iloc[:16], of="red")
    assert found.features == tuple(mixed_frame.columns)
    assert found.explained == ("red",) * 3
    p = model.predict_proba(mixed_frame.iloc[:3])[:, 1].astype(float)
    np.testing.assert_allclose(found.outputs, logit(p), atol=1e-3)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), found.outputs, atol=1e-5)
    table = found.row(1).set_index("feature")
    assert table.loc["colour", "is"] == mixed_frame["colour"].iloc[1]
    assert (table["adds"].abs().diff().dropna() <= 0).all()
    np.testing.assert_allclose(found.table["output"], found.outputs)
    figure = found.plot(1, top=2)
    assert len(figure.axes[0].patches) == 3
    with pytest.raises(pg.PermGradError, match="of must be one of the classes 'no', 'red', got 'blue'"):
        model.explain_rows(mixed_frame.iloc[:3], mixed_frame, of="blue")
    with pytest.raises(pg.PermGradError, match="row must be between 0 and 2, got 3"):
        found.row(3)


@pytest.mark.slow
def test_several_networks_are_averaged(rng):
    X = pd.DataFrame(rng.normal(size=(80, 3)), columns=["a", "b", "c"])
    model = pg.HybridRegressor(preset="fast", branches="tabular", epochs=1, n_networks=2).fit(X, X["a"] + X["b"])
    found = model.explain_rows(X.iloc[:4], X.iloc[:20])
    np.testing.assert_allclose(found.outputs, model.predict(X.iloc[:4]), atol=1e-4)
    np.testing.assert_allclose(found.base, model.predict(X.iloc[:20]).mean(), atol=1e-4)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), found.outputs, atol=1e-5)


def test_bad_input(random_hybrid, layout, rng):
    model, X = random_hybrid("classification", 3), rng.random((5, 6))
    with pytest.raises(pg.PermGradError, match="class numbers from 0 to 2, got 3"):
        pg.explain_rows(model, X, X, of=3, layout=layout)
    several = keras.Sequential([keras.Input((6,)), layers.Dense(2)])
    several.compile("sgd", "mse")
    with pytest.raises(pg.PermGradError, match="one output is explained, this model has 2"):
        pg.explain_rows(several, X, X)
