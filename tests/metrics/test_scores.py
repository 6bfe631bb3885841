from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.metrics.scores import classification_scores, regression_scores, scores


class Fixed:
    """An estimator whose answers are given."""

    def __init__(self, answers, classes=None):
        self.answers, self.classes_ = np.asarray(answers), np.asarray(classes)

    def predict(self, X):
        return self.answers

    def predict_proba(self, X):
        return self.answers


def test_regression_by_hand():
    table = pg.Table(np.zeros((3, 1)), [1.0, 2.0, 4.5], task="regression")
    values = scores(Fixed([2.0, 2.0, 4.0]), table)
    total = np.var([1, 2, 4.5]) * 3
    expected = {"r2": 1 - 1.25 / total, "rmse": np.sqrt(1.25 / 3), "mae": 0.5, "mape": (1 + 0 + 0.5 / 4.5) / 3}
    assert values == pytest.approx(expected)


def test_binary_by_hand():
    """Three of four right; both positives and one negative above the threshold."""
    table = pg.Table(np.zeros((4, 1)), ["no", "no", "yes", "yes"])
    p = np.array([0.1, 0.6, 0.7, 0.9])
    values = scores(Fixed(np.column_stack([1 - p, p]), ["no", "yes"]), table)
    assert values["accuracy"] == 0.75
    assert values["balanced_accuracy"] == 0.75
    assert values["precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert values["recall"] == pytest.approx((0.5 + 1) / 2)
    assert values["auc"] == 1
    assert values["log_loss"] == pytest.approx(-np.log([0.9, 0.4, 0.7, 0.9]).mean())


def test_class_without_test_rows():
    table = pg.Table(np.zeros((6, 1)), [0, 1, 2, 0, 1, 2]).take(np.array([0, 1]))
    values = scores(Fixed(np.eye(3)[[0, 1]], [0, 1, 2]), table)
    assert values["accuracy"] == 1
    assert "auc" not in values


@pytest.mark.parametrize("classes", [True, False])
def test_a_row_of_weight_k_is_k_rows(rng, classes):
    y = rng.integers(0, 3, 60) if classes else rng.normal(2, 1, 60)
    said = rng.dirichlet(np.ones(3), 60) if classes else y + rng.normal(size=60)
    weights = rng.integers(0, 4, 60)
    rows = np.repeat(np.arange(60), weights)
    score = (
        (lambda *given: classification_scores(*given[:2], np.arange(3), *given[2:])) if classes else regression_scores
    )
    weighed, repeated = score(y, said, weights), score(y[rows], said[rows])
    assert weighed == pytest.approx(repeated)
    assert weighed != pytest.approx(score(y, said))


@pytest.mark.filterwarnings("error")
def test_probabilities_in_float32_add_up_to_one_and_no_warning_says_otherwise(rng):
    logits = rng.normal(size=(200, 3)).astype(np.float32)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = np.arange(200) % 3
    expected = -np.log(p[np.arange(200), y]).mean()
    assert classification_scores(y, p.astype(float), np.arange(3))["log_loss"] == pytest.approx(expected, rel=1e-6)
