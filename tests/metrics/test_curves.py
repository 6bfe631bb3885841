"""Curves against counting, row by row; of several classes, every row counts once for each class."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import auc, roc_auc_score

from permgrad.metrics.curves import POINTS, curves_of, precision_recall_points, roc_points


def counted(happened, p, weights) -> dict[float, tuple[float, float, float]]:
    """Return true and false positive rate and precision by threshold, counted row by row."""
    found = {}
    for threshold in sorted(set(p)):
        hit = sum(w for h, q, w in zip(happened, p, weights, strict=True) if q >= threshold and h)
        false = sum(w for h, q, w in zip(happened, p, weights, strict=True) if q >= threshold and not h)
        positive = sum(w for h, w in zip(happened, weights, strict=True) if h)
        found[threshold] = (hit / positive, false / (sum(weights) - positive), hit / (hit + false))
    return found


def test_points_are_those_that_are_counted(rng):
    p = np.round(rng.random(60), 1)
    happened, weights = rng.random(60) < p, rng.integers(1, 4, 60).astype(float)
    known = counted(happened, p, weights)
    roc, both = roc_points(happened, p, weights), precision_recall_points(happened, p, weights)
    rates = {(round(false, 4), round(true, 4)) for true, false, _ in known.values()} | {(0.0, 0.0)}
    assert set(zip(roc["x"], roc["y"], strict=True)) <= rates
    assert auc(roc["x"], roc["y"]) == pytest.approx(roc_auc_score(happened, p, sample_weight=weights), abs=1e-3)
    told = {(round(true, 4), round(precision, 4)) for true, _, precision in known.values()} | {(0.0, 1.0)}
    assert set(zip(both["x"], both["y"], strict=True)) == told


def test_a_curve_of_many_rows_has_few_points_and_both_ends(rng):
    happened = rng.random(5000) < 0.5
    roc = roc_points(happened, happened + rng.normal(size=5000))
    assert len(roc["x"]) == len(roc["y"]) == POINTS
    assert (roc["x"][0], roc["y"][0], roc["x"][-1], roc["y"][-1]) == (0, 0, 1, 1)


def test_of_three_classes_pairs_of_row_and_class_are_curved(rng):
    p = rng.dirichlet(np.ones(3), 50)
    y = np.array([rng.choice(3, p=row) for row in p])
    found = curves_of(y, p, np.arange(50) % 3)
    happened, told, weights = [], [], []
    for row in range(50):
        for label in range(3):
            happened.append(y[row] == label)
            told.append(p[row, label])
            weights.append(row % 3)
    assert found["roc"] == roc_points(happened, told, weights)
    assert found["precision_recall"] == precision_recall_points(happened, told, weights)
    two = np.column_stack([1 - p[:, 0], p[:, 0]])
    assert curves_of(y == 0, two)["roc"] == roc_points(y == 0, p[:, 0])
    assert len(found["reliability"]["x"]) == len(found["reliability"]["y"]) > 1
    assert curves_of(np.zeros(50, int), p) == {}
