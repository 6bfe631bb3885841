"""Masking curves, against plain loops, for networks and for scikit-learn's estimators."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.svm import LinearSVC

import permgrad as pg
from permgrad.data.on_disk import RowsOnDisk
from permgrad.importance import masking
from permgrad.importance.masking import masking_curve, random_masking


@pytest.fixture(scope="module")
def problem():
    """Three classes, each told by a column of its own; five more columns tell nothing."""
    rng = np.random.default_rng(0)
    y = rng.choice(["a", "b", "c"], 240, p=[0.6, 0.3, 0.1])
    X = rng.normal(size=(240, 8)).astype(np.float32)
    for column, label in ((5, "a"), (2, "b"), (7, "c")):
        X[y == label, column] += 4
    return X, y


def plain_curve(predict, X, y, order, counts, values, first):
    rows = []
    for count in counts:
        changed = X.copy()
        for place, column in enumerate(order):
            if (place < count) != (first == "kept"):
                changed[:, column] = values[column]
        guess = predict(changed)
        rows.append([np.mean(guess == y), balanced_accuracy_score(y, guess)])
    return np.array(rows)


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("first", ["kept", "masked"])
def test_it_is_the_plain_loop(problem, first, rng, monkeypatch):
    monkeypatch.setattr(masking, "ROWS_PER_CALL", 100)
    X, y = problem
    order, values = rng.permutation(8), X.mean(axis=0)
    for model in (LinearSVC(), LogisticRegression()):
        model.fit(X, y)
        for given in (0.0, values):
            curve = masking_curve(model, X, y, order, 3, values=given, first=first)
            counts = [0, 3, 6, 8]
            constants = np.broadcast_to(given, 8)
            expected = plain_curve(model.predict, X, y, order, counts, constants, first)
            np.testing.assert_allclose(curve[["accuracy", "balanced_accuracy"]], expected)
            assert (curve["kept"] if first == "kept" else curve["masked"]).tolist() == counts
            assert (curve["kept"] + curve["masked"]).tolist() == [8] * 4
    whole = curve[curve["kept"] == 8].iloc[0]
    assert whole["loss"] == pytest.approx(log_loss(y, model.predict_proba(X)))


def test_estimators_without_probabilities_have_no_loss(problem):
    X, y = problem
    assert masking_curve(LinearSVC().fit(X, y), X, y, np.arange(8))["loss"].isna().all()


def test_the_best_suffice(problem):
    X, y = problem
    model = LogisticRegression().fit(X, y)
    ranking = pg.FeatureRanking(tuple("abcdefgh"), np.abs(model.coef_).sum(axis=0))
    curve = masking_curve(model, X, y, ranking, 1)
    assert set(ranking.order[:3]) == {5, 2, 7}
    assert curve["balanced_accuracy"][3] > 0.9
    worst = masking_curve(model, X, y, ranking.order[::-1], 1)
    assert worst["balanced_accuracy"][3] < 0.6
    chance = random_masking(model, X, y, 1, n_orders=4, random_state=1)
    assert worst["balanced_accuracy"][3] < chance["balanced_accuracy"][3] < curve["balanced_accuracy"][3]


def test_random_orders_are_averaged(problem):
    X, y = problem
    model = LogisticRegression().fit(X, y)
    chance = random_masking(model, X, y, 4, n_orders=3, random_state=7)
    rng = np.random.default_rng(7)
    curves = [masking_curve(model, X, y, rng.permutation(8), 4) for _ in range(3)]
    for name in ("loss", "accuracy", "balanced_accuracy"):
        values = np.array([curve[name] for curve in curves])
        np.testing.assert_allclose(chance[name], values.mean(axis=0))
        np.testing.assert_allclose(chance[f"{name}_sd"], values.std(axis=0, ddof=1), atol=1e-12)
    assert chance["kept"].tolist() == [0, 4, 8]


@pytest.mark.slow
def test_every_kind_of_rows_gives_one_curve(problem, rng):
    X, y = problem
    X = np.where(X > 0.5, X, 0).astype(np.float32)
    model = pg.SelectorClassifier(hidden_units=(8,), epochs=3, batch_size=32).fit(X, y)
    order = rng.permutation(8)
    expected = masking_curve(model, X, y, order, 2)
    by_row = sparse.csr_matrix(X)
    for rows in (pg.Cells(by_row, y, tuple("abcdefgh")), by_row, RowsOnDisk(by_row)):
        pd.testing.assert_frame_equal(masking_curve(model, rows, y, order, 2), expected)
    network = masking_curve(model.network_, X, np.searchsorted(model.classes_, y), order, 2)
    pd.testing.assert_frame_equal(network, expected, rtol=1e-5)
    frame = pd.DataFrame(X, columns=list("XYcdefgh"))  # a column may be called as an attribute of Cells is
    named = masking_curve(LogisticRegression().fit(frame, y), frame, y, order, 2)  # without a warning about names
    pd.testing.assert_frame_equal(named, masking_curve(LogisticRegression().fit(X, y), X, y, order, 2))
    chance = random_masking(LogisticRegression().fit(frame, y), frame, y, 4, n_orders=2)
    assert chance["kept"].tolist() == [0, 4, 8]


def test_a_class_that_is_not_there_does_not_count():
    """Recall by hand: 2 of 3 and 1 of 1; the guess "c" is of no class there is."""
    y, guess = np.array(["a", "a", "a", "b"]), np.array(["a", "a", "c", "b"])
    assert masking.mean_class_accuracy(y, guess) == pytest.approx((2 / 3 + 1) / 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"order": np.zeros(8, int)}, "each of the 8 columns once"),
        ({"step": 0}, "step must be at least 1"),
        ({"counts": [9]}, "between 0 and 8"),
        ({"counts": [1], "step": 2}, "either step or counts"),
        ({"first": "lost"}, "'kept' or 'masked'"),
        ({"y": ["z"] * 240}, "labels that the model does not know"),
        ({"y": ["a"] * 239}, "same number of rows"),
    ],
)
def test_what_cannot_be_measured(problem, wrong, message):
    X, y = problem
    model = LinearSVC().fit(X, y)
    given = {"y": y, "order": np.arange(8), **wrong}
    with pytest.raises(pg.PermGradError, match=message):
        masking_curve(model, X, **given)
    with pytest.raises(pg.PermGradError, match="n_orders must be at least 2"):
        random_masking(model, X, y, n_orders=1)
