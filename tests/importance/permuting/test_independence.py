"""Conditional p-values: of a column that tells nothing beyond ties that are not linear, and of one that does."""

from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.importance.permuting import _independence
from permgrad.importance.permuting._independence import anchor_rows, independence_p_value
from permgrad.importance.permuting.conditional import AlikeRows
from tests.importance.permuting.test_permutation import linear_model


def planted(rng, n, tie):
    """A null z tied to two relevant columns, a network that leans on it, and a weak column that tells something."""
    X = rng.normal(size=(n, 6))
    known = X[:, 0] * X[:, 1] if tie == "product" else np.sin(2 * X[:, 0])
    z = known + 0.4 * rng.normal(size=n)
    y = known + X[:, 2] + 0.15 * X[:, 3] + rng.normal(size=n)
    network = lambda column: 0.7 * column + X[:, 2]  # noqa: E731
    weak = lambda column: known + X[:, 2] + 0.15 * column  # noqa: E731
    return {"null": (X, z, network, y), "weak": (np.column_stack([np.delete(X, 3, axis=1), z]), X[:, 3], weak, y)}


def p_value(others, own, network, y):
    return asked(others, own, network, y)[0]


def asked(others, own, network, y):
    anchored = np.stack([network(np.full_like(own, own[row])) for row in anchor_rows(own[:, None])])
    expected = AlikeRows(np.column_stack([others, own]), 0).expected(np.array([others.shape[1]]))
    output, anchored = network(own)[:, None], anchored[:, :, None]
    return independence_p_value(others, own[:, None], expected, output, anchored, y[:, None], False, 0)


def times_flagged(tie, n_tables):
    """Return how many times of `n_tables` the null column and the weak one have p ≤ 0.05."""
    tables = [planted(np.random.default_rng(random_state), 600, tie) for random_state in range(n_tables)]
    return tuple(sum(p_value(*table[kind]) <= 0.05 for table in tables) for kind in ("null", "weak"))


@pytest.mark.slow
@pytest.mark.parametrize("tie", ["product", "sine"])
def test_a_null_tied_to_relevant_columns_is_not_flagged_and_a_weak_column_is(tie):
    null, weak = times_flagged(tie, 3)
    assert null <= 1  # two of three come with probability 0.007 at a level of 0.05
    assert weak >= 1


@pytest.mark.slow
def test_a_null_tied_by_a_product_is_not_flagged_where_classes_bend_it():
    """Probabilities of classes depend on the product and a third column together: learned by what the tie predicts."""
    flagged = 0
    for random_state in range(4):
        rng = np.random.default_rng(random_state)
        X = rng.normal(size=(800, 5))
        known = X[:, 0] * X[:, 1]
        z = known + 0.4 * rng.normal(size=800)
        said = lambda tie: 1 / (1 + np.exp(-2 * tie - X[:, 2]))  # noqa: B023, E731
        y = (rng.random(800) < said(known)).astype(float)
        flagged += p_value(X, z, lambda column: said(0.9 * column), y) <= 0.05  # noqa: B023
    assert flagged <= 1


def test_what_the_others_expect_of_a_column_is_what_it_is_made_of(rng):
    X = rng.normal(size=(600, 4))
    X[:, 3] = X[:, 0] * X[:, 1] + 0.3 * rng.normal(size=600)
    expected = AlikeRows(X, 0).expected(np.array([3]))
    assert np.corrcoef(expected[:, 0], X[:, 0] * X[:, 1])[0, 1] > 0.95
    assert AlikeRows(X[:, :1], 0).expected(np.array([0])).shape == (600, 0)


def test_a_null_tied_by_what_is_learned_badly_is_not_found_and_said_to_be_so(monkeypatch):
    """A product of three columns: 150 rows teach a part of it, and of the target, and the parts left agree."""
    rng = np.random.default_rng(0)
    X = rng.uniform(-1.7, 1.7, size=(150, 6))
    known = X[:, :3].prod(axis=1)
    own = known + 0.3 * rng.normal(size=150)
    y = 2 * known + 0.5 * rng.normal(size=150)
    p, untold = asked(X, own, lambda column: 0.7 * column, y)
    assert p > 0.2
    assert untold == 1
    monkeypatch.setattr(_independence, "BEYOND", 0)
    assert p_value(X, own, lambda column: 0.7 * column, y) < 0.001


def test_a_column_that_tells_is_found_where_ties_are_learned():
    rng = np.random.default_rng(0)
    X, own = rng.normal(size=(200, 4)), rng.normal(size=200)
    p, untold = asked(X, own, lambda column: X[:, 0] + 0.5 * column, X[:, 0] + 0.5 * own + rng.normal(size=200))
    assert p < 0.001
    assert untold < 0.5


def test_a_column_that_the_network_ignores_has_p_one(rng):
    X, y = rng.normal(size=(60, 3)), rng.normal(size=60)
    assert p_value(X, y, lambda column: X[:, 0], y) == 1


def test_anchors_are_a_low_a_middle_and_a_high_value(rng):
    own = rng.permutation(np.arange(101.0))[:, None]
    assert own[anchor_rows(own), 0].tolist() == [10, 50, 90]
    classes = np.repeat(np.eye(3), [50, 30, 20], axis=0)
    assert len(np.unique(classes[anchor_rows(classes)], axis=0)) == 3


@pytest.mark.slow
def test_what_was_learned_badly_is_named(rng):
    X = rng.choice([-1.0, 1.0], size=(800, 4))
    X[:, 3] = X[:, 0] * X[:, 1] * X[:, 2] + 0.3 * rng.normal(size=800)
    with pytest.warns(UserWarning, match="more of these features.* than was learned from 800 rows.*x3"):
        ranking = pg.permutation_importance(
            linear_model([1.0, 0.0, 0.0, 1.0]),
            X,
            X[:, 0] + X[:, 3],
            conditional=True,
            features=["x0", "x1", "x2", "x3"],
        )
    assert ranking.settings["untold"]["x3"] > 0.5


@pytest.mark.slow
def test_repeats_change_scores_and_no_conditional_p_value(rng):
    X = rng.normal(size=(100, 3)).astype(np.float32)
    y, model = X[:, 0] + rng.normal(size=100), linear_model([1.0, 0.3, 0.0])
    once, more = (pg.permutation_importance(model, X, y, conditional=True, n_repeats=n) for n in (1, 4))
    assert (once.scores != more.scores).any()
    np.testing.assert_allclose(once.p_values[2], 1)
    assert (np.abs(once.p_values - more.p_values) < 0.2).all()
