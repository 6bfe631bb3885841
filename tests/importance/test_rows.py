"""Rows that weigh, and rows that were drawn together: a row of weight k against the row k times."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from benchmarks.coverage import First, groups_hits
from permgrad.importance.donors import shuffled
from permgrad.importance.network._target import Target
from permgrad.importance.network.opaque import Opaque
from permgrad.importance.permuting.opaque import permute_opaque
from permgrad.importance.rank_opaque import rank_opaque
from permgrad.importance.shapley import shapley_values
from permgrad.metrics.task import Task
from tests.oracle import plain_permutation, predicted, via

N = 30


@dataclass
class Product:
    """Predicts the first column times the second."""

    def predict(self, X):
        X = np.asarray(X, float)
        return X[:, 0] * X[:, 1] + X[:, 2]


@pytest.fixture
def problem(rng):
    """Rows that weigh more hold larger values."""
    weights = rng.integers(0, 5, N)
    X = rng.normal(size=(N, 3)) * (1 + weights[:, None] / 4)
    return X, Product().predict(X) + rng.normal(size=N), weights


def plain_increases(X, y, weights):
    """The mean over all pairs of a row and a donor, as both weigh: what permuting the repeated rows has as its mean."""
    model, total = Product(), weights.sum()
    own = (model.predict(X) - y) ** 2
    scores = np.zeros(3)
    for column in range(3):
        for i in range(N):
            for j in range(N):
                seen = X[i].copy()
                seen[column] = X[j, column]
                scores[column] += weights[i] * weights[j] * ((model.predict(seen[None])[0] - y[i]) ** 2 - own[i])
    return scores / total**2


@pytest.mark.slow
def test_permuted_rows_of_weight_k_are_k_rows(problem):
    X, y, weights = problem
    expected = plain_increases(X, y, weights)
    rows = np.repeat(np.arange(N), weights)
    weighed = permute_opaque(Opaque.of(Product(), X, y, sample_weight=weights), n_repeats=3000)
    repeated = permute_opaque(Opaque.of(Product(), X[rows], y[rows]), n_repeats=3000)
    for ranking in (weighed, repeated):
        off = np.abs(ranking.scores - expected) / (ranking.std / np.sqrt(3000))
        assert off.max() < 4
    grouped = permute_opaque(Opaque.of(Product(), X[rows], y[rows], row_groups=rows), n_repeats=300)
    np.testing.assert_allclose(weighed.high - weighed.low, grouped.high - grouped.low, rtol=0.3)
    np.testing.assert_allclose(weighed.replicates.mean(axis=0), expected, rtol=0.25)
    assert weighed.settings["baseline_loss"] == pytest.approx(repeated.settings["baseline_loss"])
    unweighed = permute_opaque(Opaque.of(Product(), X, y), n_repeats=300)
    assert np.abs(unweighed.scores / expected - 1).min() > 0.1


def test_the_game_of_rows_of_weight_k_is_that_of_k_rows(problem, monkeypatch):
    monkeypatch.setattr("permgrad.importance.game.play.OF_ROWS", 0)
    X, y, weights = problem
    rows = np.repeat(np.arange(N), weights)
    budget = pg.Budget(tolerance=0.004)
    weighed = pg.rank_features(Product(), X, y, sample_weight=weights, formula="game", budget=budget)
    repeated = pg.rank_features(Product(), X[rows], y[rows], formula="game", budget=budget)
    assert weighed.settings["total"] == pytest.approx(repeated.settings["total"])
    for name in ("loss", "prior_loss", "difference"):
        assert weighed.settings["learned"][name] == pytest.approx(repeated.settings["learned"][name])
    exact = shapley_values(plain_worths(X, y, weights), 3)
    assert exact.sum() == pytest.approx(weighed.settings["total"])
    for ranking in (weighed, repeated):
        np.testing.assert_allclose(ranking.scores, exact, atol=1.5 * ranking.settings["error"] * exact.sum())


def plain_worths(X, y, weights):
    """The loss that each coalition saves, by the mean prediction over all rows as donors, as they weigh."""
    worths = {}
    for on in (frozenset(some) for size in range(4) for some in combinations(range(3), size)):
        losses = np.zeros(N)
        for i in range(N):
            seen = X.copy()
            seen[:, list(on)] = X[i, list(on)]
            losses[i] = (np.average(Product().predict(seen), weights=weights) - y[i]) ** 2
        worths[on] = -float(np.average(losses, weights=weights))
    return worths


@pytest.mark.parametrize("formula", ["game", None])
def test_rows_repeated_as_groups_leave_intervals_as_they_were(rng, monkeypatch, formula):
    """Where without groups they shrink to half."""
    monkeypatch.setattr("permgrad.importance.rank_opaque.QUICK_CELLS", 0)
    monkeypatch.setattr("permgrad.importance.game.play.OF_ROWS", 0)
    X = rng.normal(size=(60, 3))
    y = X[:, 0] * X[:, 1] + X[:, 2] + rng.normal(size=60)
    rows = np.repeat(np.arange(60), 4)

    few_left = pg.Budget(tolerance=0.001)

    def width(*given, **groups):
        ranking = rank_opaque(Opaque.of(Product(), *given, **groups), formula=formula, n_repeats=40, budget=few_left)
        return ranking.high - ranking.low, ranking

    plain, of_rows = width(X, y)
    grouped, of_groups = width(X[rows], y[rows], row_groups=rows)
    alone, _ = width(X[rows], y[rows])
    np.testing.assert_allclose(grouped, plain, rtol=0.3 if formula else 0.15)
    assert (alone < 0.7 * plain).all()
    if formula is None:
        np.testing.assert_allclose(np.log(of_groups.p_values), np.log(of_rows.p_values), rtol=0.35)


def test_a_network_is_permuted_as_rows_weigh(random_hybrid, rng):
    """Against the plain loop, with the same donors."""
    model = random_hybrid("classification", 3)
    X = rng.normal(size=(40, model.inputs[0].shape[1])).astype(np.float32)
    y, weights = rng.integers(0, 3, 40), rng.random(40) * 3
    ranking = pg.permutation_importance(model, X, y, sample_weight=weights, n_repeats=2, random_state=5)
    increases = plain_permutation(
        via(model, X),
        X,
        y,
        groups=[[i] for i in range(X.shape[1])],
        n_repeats=2,
        random_state=5,
        order=lambda g, r: shuffled(40, np.random.default_rng([5, g, r]), weights / weights.mean()),
    )
    np.testing.assert_allclose(ranking.scores, np.average(increases.mean(axis=1), axis=1, weights=weights), atol=1e-5)
    for label in range(3):
        of_class = y == label
        expected = np.average(increases.mean(axis=1)[:, of_class], axis=1, weights=weights[of_class])
        np.testing.assert_allclose(ranking.class_scores[:, label], expected, atol=1e-5)
    p = predicted(model, X)[np.arange(40), y]
    assert ranking.settings["baseline_loss"] == pytest.approx(np.average(-np.log(p), weights=weights), rel=1e-5)


def test_branches_and_heat_weigh_rows(random_hybrid, layout, rng):
    """With integer weights, the loss of all branches, and heat, are those of repeated rows."""
    model = random_hybrid("classification", 3)
    X = rng.normal(size=(40, 6)).astype(np.float32)
    y, weights = rng.integers(0, 3, 40), rng.integers(1, 4, 40)
    rows = np.repeat(np.arange(40), weights)
    formula = pg.Formula(baseline="mean")
    known = {"formula": formula, "layout": layout, "end_to_end": False}
    weighed = pg.rank_features(model, X, y, sample_weight=weights, **known)
    repeated = pg.rank_features(model, X[rows], y[rows], **known)
    for name, loss in weighed.settings["losses"].items():
        assert loss == pytest.approx(repeated.settings["losses"][name], rel=1e-4)
    heat = weighed.components[formula.attribution]
    np.testing.assert_allclose(heat.scores, repeated.components[heat.method].scores, rtol=1e-4)


def test_a_checkpoint_of_other_weights_is_refused(problem, tmp_path):
    X, y, weights = problem
    budget = pg.Budget(checkpoint=tmp_path / "kept.npz")
    permute_opaque(Opaque.of(Product(), X, y, sample_weight=weights), budget=budget)
    with pytest.raises(pg.PermGradError, match="another weights"):
        permute_opaque(Opaque.of(Product(), X, y, sample_weight=weights + 1.0 * np.arange(N)), budget=budget)


def test_a_table_brings_weights_and_groups_along(problem):
    X, y, weights = problem
    table = pg.Table(X, y, "regression", weights=weights, groups=np.arange(N) // 2)
    of_table = Opaque.of(Product(), table, y).target
    given = Opaque.of(Product(), X, y, sample_weight=weights, row_groups=[f"g{i // 2}" for i in range(N)]).target
    assert (of_table.weights == given.weights).all()
    assert (of_table.groups == given.groups).all()


def test_what_rows_cannot_be():
    target = Target(np.zeros(4), Task(1), None)
    with pytest.raises(pg.PermGradError, match="one number of at least 0 for each of 4 rows"):
        target.counting([1, 1, 1], None)
    with pytest.raises(pg.PermGradError, match="need at least two groups, got one"):
        target.counting(None, pd.Series(["p"] * 4))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:intervals and p-values rest on", "ignore:this model")
@pytest.mark.parametrize("n_groups", [3, 5, 12])
def test_intervals_of_few_groups_hold_the_truth(n_groups):
    """The slope differs between groups; by the plain bootstrap, 70, 78 and 92 of 100 hold it."""
    assert groups_hits(250, n_groups, even=True).mean(axis=0).min() > 0.9


def test_few_groups_are_said(rng):
    X = rng.normal(size=(60, 2))
    y = X[:, 0] + rng.normal(size=60)
    for n_groups, said in ((9, True), (10, False)):
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            pg.rank_features(First(), X, y, row_groups=np.arange(60) % n_groups, n_repeats=1)
        assert any("rest on 9 groups of rows" in str(each.message) for each in warned) == said
