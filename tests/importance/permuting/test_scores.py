from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge

import permgrad as pg
from permgrad.importance.permuting import _stacking


def plain_loop(estimator, X: pd.DataFrame, y, scoring, n_repeats, random_state) -> np.ndarray:
    """One prediction for each column and repeat."""
    scorer = pg.get_scorer(scoring)
    falls, baseline = np.zeros((X.shape[1], n_repeats)), scorer(estimator, X, y)
    for j, name in enumerate(X):
        for r in range(n_repeats):
            order = np.random.default_rng([random_state, j, r]).permutation(len(X))
            falls[j, r] = baseline - scorer(estimator, X.assign(**{name: X[name].to_numpy()[order]}), y)
    return falls


@pytest.fixture
def problem(rng):
    X = pd.DataFrame(rng.normal(size=(80, 4)), columns=list("abcd"))
    y = np.where(X["b"] + 0.3 * X["c"] > 0, "yes", "no")
    return X, y


@pytest.mark.parametrize("scoring", ["accuracy", "recall[yes]", "roc_auc", "neg_log_loss"])
@pytest.mark.parametrize("cells", [1, 2000, 10**9])
def test_equals_the_plain_loop(problem, scoring, cells, monkeypatch):
    monkeypatch.setattr(_stacking, "CELLS_PER_CALL", cells)
    X, y = problem
    model = RandomForestClassifier(20, random_state=0).fit(X, y)
    ranking = pg.score_importance(model, X, y, scoring=scoring, n_repeats=4, random_state=5)
    falls = plain_loop(model, X, y, scoring, 4, 5)
    np.testing.assert_allclose(ranking.scores, falls.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(ranking.std, falls.std(axis=1, ddof=1), atol=1e-12)
    assert ranking.features == ("a", "b", "c", "d")
    assert ranking.settings["baseline_score"] == pytest.approx(pg.get_scorer(scoring)(model, X, y))


def test_agrees_with_scikit_learn(problem):
    """Other permutations: the means agree to a few standard errors."""
    X, y = problem
    model = LogisticRegression().fit(X, y)
    ours = pg.score_importance(model, X, y, n_repeats=80)
    theirs = permutation_importance(model, X, y, n_repeats=80, random_state=0)
    error = np.hypot(ours.std, theirs.importances_std) / np.sqrt(80)
    assert (np.abs(ours.scores - theirs.importances_mean) <= 5 * error + 1e-12).all()
    assert ours.select(1) == ["b"]


def test_a_planted_case_by_hand():
    """A model that says y = x: permuting x costs what of the permutation moves a label; the other column nothing."""
    X = np.array([[0.0, 5.0], [1.0, 6.0], [0.0, 7.0], [1.0, 8.0]])
    y = X[:, 0] > 0.5
    model = LogisticRegression(C=1e6).fit(X * [1, 0], y)
    ranking = pg.score_importance(model, X, y, n_repeats=3, random_state=1)
    orders = [np.random.default_rng([1, 0, r]).permutation(4) for r in range(3)]
    assert ranking.scores[0] == pytest.approx(np.mean([(y[order] != y).mean() for order in orders]))
    assert ranking.scores[1] == 0


@pytest.mark.slow
def test_categories_stay_what_they_are_in_an_estimator_of_ours(mixed_frame, rng):
    y = np.where(mixed_frame["colour"] == "red", "red", "no")
    model = pg.MLPClassifier(hidden_units=(16,), dropout=0.0, epochs=12, learning_rate=1e-2)
    with pytest.warns(UserWarning, match="no information"):
        model.fit(mixed_frame, y)
    ranking = pg.score_importance(model, mixed_frame, y, scoring="recall[red]", n_repeats=2)
    np.testing.assert_allclose(ranking.scores, plain_loop(model, mixed_frame, y, "recall[red]", 2, 0).mean(axis=1))
    assert ranking.select(1) == ["colour"]


def test_regression_and_errors(rng):
    X = rng.normal(size=(40, 2))
    y = X[:, 1]
    model = Ridge().fit(X, y)
    assert pg.score_importance(model, X, y, scoring="r2").select(1) == ["x1"]
    with pytest.raises(pg.PermGradError, match="n_repeats must be between 1 and 100,000, a whole number, got 0"):
        pg.score_importance(model, X, y, scoring="r2", n_repeats=0)
    with pytest.raises(pg.PermGradError, match="got 40 and 39"):
        pg.score_importance(model, X, y[:39], scoring="r2")


def test_a_row_of_weight_k_is_the_row_k_times(problem):
    """The score as it is, exactly; the mean fall over many permutations, about."""
    X, y = problem
    model = LogisticRegression().fit(X, y)
    weights = np.where(y == "yes", 3, 1)
    rows = np.repeat(np.arange(80), weights)
    given = {"scoring": "recall[no]", "n_repeats": 50}
    weighed = pg.score_importance(model, X, y, sample_weight=weights, **given)
    repeated = pg.score_importance(model, X.iloc[rows], y[rows], **given)
    assert weighed.settings["baseline_score"] == pytest.approx(repeated.settings["baseline_score"])
    np.testing.assert_allclose(weighed.scores, repeated.scores, atol=0.03)
    alone = pg.score_importance(model, X, y, **given)
    assert abs(weighed.scores - alone.scores).max() > 0.05  # columns of the others' rows are other values
    of_table = pg.score_importance(model, pg.Table(X, y, weights=weights), y, **given)
    np.testing.assert_array_equal(of_table.scores, weighed.scores)


def test_a_score_without_weights(problem):
    X, y = problem
    model = LogisticRegression().fit(X, y)
    with pytest.raises(pg.PermGradError, match="takes no sample_weight; choose one that does"):
        pg.score_importance(model, X, y, scoring=lambda e, X, y: 1.0, sample_weight=np.ones(80))
