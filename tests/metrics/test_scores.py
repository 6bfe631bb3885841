from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.metrics.scores import scores


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
