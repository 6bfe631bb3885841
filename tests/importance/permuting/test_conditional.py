"""Conditional permutation: what the other columns tell of a feature stays; what it tells beyond them is lost."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

import permgrad as pg
from permgrad.backend import keras
from permgrad.importance.donors import shuffled_within
from permgrad.importance.permuting import _independence
from permgrad.importance.permuting.conditional import ROWS_PER_BIN, AlikeRows
from tests.importance.permuting.test_permutation import linear_model


@pytest.fixture
def scores_only(monkeypatch):
    """Spare the second test, whose p-values nobody looks at."""
    monkeypatch.setattr(_independence, "DOUBTFUL", -1)


def test_order_stays_within_bins(rng):
    bins = rng.integers(0, 4, 50)
    order = shuffled_within(bins, rng)
    assert sorted(order) == list(range(50))
    assert (bins[order] == bins).all()
    assert (order != np.arange(50)).mean() > 0.7


def test_a_copy_has_nothing_to_tell_and_an_independent_column_all(rng, scores_only):
    X = rng.normal(size=(600, 3)).astype(np.float32)
    X[:, 1] = X[:, 0]
    model = linear_model([1.0, 1.0, 2.0])
    y = X @ [1, 1, 2]
    marginal = pg.permutation_importance(model, X, y)
    conditional = pg.permutation_importance(model, X, y, conditional=True)
    assert marginal.scores[0] > 1.5
    assert (conditional.scores[:2] < 0.02).all()
    assert conditional.scores[2] == pytest.approx(marginal.scores[2], rel=0.2)


@pytest.mark.parametrize("kind", ["linear", "nonlinear", "category"])
def test_rows_alike_share_what_the_others_predict(kind, rng):
    """Within bins the predictable part must hardly vary; the rest must vary as in the whole table."""
    others = rng.normal(size=(1000, 3))
    if kind == "category":
        known = np.eye(3)[np.digitize(others[:, 0], [-0.5, 0.5])]
        columns, members = known, np.array([3, 4, 5])
        rest = np.zeros((1000, 1))
    else:
        known = (others @ [1.0, -1, 0.5] if kind == "linear" else 3 * np.cos(2 * others[:, 0]))[:, None]
        rest = rng.normal(size=(1000, 1))
        columns, members = known + 0.5 * rest, np.array([3])
    bins = AlikeRows(np.hstack([others, columns]), random_state=0).bins(members)
    assert np.bincount(bins).max() <= ROWS_PER_BIN or kind == "category"

    def inside(values):
        means = np.stack([np.bincount(bins, v) for v in values.T], axis=1) / np.bincount(bins)[:, None]
        return ((values - means[bins]) ** 2).sum() / ((values - values.mean(axis=0)) ** 2).sum()

    assert inside(known) < {"linear": 0.01, "nonlinear": 0.15, "category": 0.1}[kind]
    if kind != "category":
        assert inside(rest) > 0.7


def test_a_group_may_trade_what_its_members_share(rng, scores_only):
    """Two copies are predicted by each other alone: as a group nothing else knows them, so any rows may trade."""
    X = rng.normal(size=(400, 3)).astype(np.float32)
    X[:, 1] = X[:, 0]
    model, y = linear_model([1.0, 1.0, 0.0]), X @ [1, 1, 0]
    ranking = pg.permutation_importance(model, X, y, groups={"pair": [0, 1], "rest": [2]}, conditional=True)
    assert ranking.scores[0] == pytest.approx(8 * X[:, 0].var(), rel=0.2)


def test_degenerate_columns(rng):
    X = np.hstack([np.ones((30, 1)), rng.normal(size=(30, 1)), rng.normal(size=(30, 1))])
    constant, single = np.array([0]), np.array([0])
    assert (AlikeRows(X, random_state=0).bins(constant) == 0).all()
    assert (AlikeRows(X[:, 1:2], random_state=0).bins(single) == 0).all()
    with pytest.raises(pg.PermGradError, match="at least 20 rows.* got 19"):
        AlikeRows(X[:19], random_state=0)


def test_rows_alike_share_the_spread_too(rng):
    """A feature of which the others tell only how far it strays: rows that trade must stray alike."""
    z = rng.normal(size=1000)
    X = np.stack([z * rng.normal(size=1000), z], axis=1)
    bins = AlikeRows(X, random_state=0).bins(np.array([0]))
    size = np.abs(z)
    means = np.bincount(bins, size) / np.bincount(bins)
    assert ((size - means[bins]) ** 2).mean() < 0.3 * size.var()


def test_columns_outside_the_groups_predict_too(rng, scores_only):
    X = rng.normal(size=(400, 2)).astype(np.float32)
    X[:, 1] = X[:, 0] + 0.1 * X[:, 1]
    model, y = linear_model([1.0, 1.0]), X @ [1, 1]
    alone = pg.permutation_importance(model, X, y, groups={"second": [1]}, conditional=True)
    both = pg.permutation_importance(model, X, y, conditional=True)
    assert alone.scores[0] == pytest.approx(both.scores[1], rel=0.3)
    assert alone.scores[0] < 0.1 * pg.permutation_importance(model, X, y, groups={"second": [1]}).scores[0]


def trained_network(X, y, random_state):
    """A network of 32 and 16 units that scikit-learn trained, as Keras's: without TensorFlow's tracing of each."""
    fitted = MLPRegressor(
        hidden_layer_sizes=(32, 16),
        learning_rate_init=0.01,
        batch_size=64,
        max_iter=30,
        early_stopping=True,
        random_state=random_state,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(X, y)
    layers = [keras.layers.Dense(units, activation) for units, activation in ((32, "relu"), (16, "relu"), (1, None))]
    model = keras.Sequential([keras.Input((X.shape[1],)), *layers])
    model.set_weights([array for pair in zip(fitted.coefs_, fitted.intercepts_, strict=True) for array in pair])
    return model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the other columns tell more")  # said of what chance finds at first
@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_null_features_are_flagged_in_one_of_twenty_at_most(correlation):
    """15 columns that tell nothing beyond the five relevant ones, each correlated with all others.

    PERMGRAD_NULL_TABLES=14 gives the figures of docs/evidence.md.

    Permuting among all rows flags far more of them where correlation is high: the network leans on them.
    """
    conditional, marginal, relevant = [], [], []
    n_tables = int(os.environ.get("PERMGRAD_NULL_TABLES", "2"))
    for random_state in range(n_tables):
        rng = np.random.default_rng([random_state, 1])
        common = rng.normal(size=(1000, 1))
        X = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.normal(size=(1000, 20))
        y = X[:, :5] @ [1.5, 1.5, 1.2, 1.2, 1.0] + rng.normal(size=1000)
        X, model = X.astype(np.float32), trained_network(X[:600], y[:600], random_state)
        ranking = pg.permutation_importance(model, X[600:], y[600:], conditional=True, random_state=random_state)
        conditional += ranking.p_values[5:].tolist()
        relevant += ranking.p_values[:5].tolist()
        marginal += pg.permutation_importance(model, X[600:], y[600:], random_state=random_state).p_values[5:].tolist()
    flagged = np.mean(np.array(conditional) <= 0.05)
    print(
        f"correlation {correlation}: of {len(conditional)} null features {flagged:.1%} flagged, permuted among all rows"
        f" {np.mean(np.array(marginal) <= 0.05):.1%}; of {len(relevant)} relevant ones"
        f" {np.mean(np.array(relevant) <= 0.05):.0%}"
    )
    assert len(conditional) == 15 * n_tables
    assert flagged <= 0.14  # of 30, 0.05 being expected: more come with probability 0.02
    assert np.mean(np.array(relevant) <= 0.05) > {0.0: 0.95, 0.8: 0.7}[correlation]
    assert correlation < 0.8 or np.mean(np.array(marginal) <= 0.05) > 0.2
