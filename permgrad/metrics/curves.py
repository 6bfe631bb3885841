"""Curves of how well probabilities tell classes apart and hold what they say, thinned to what a picture shows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from permgrad.metrics.calibration import judged, reliability_curve

POINTS = 150
"""Of a curve, at most."""
DECIMALS = 4
Curve = dict[str, list[float]]
"""``x`` and ``y`` of its points, in order."""


def roc_points(happened: Any, probability: Any, sample_weight: Any = None) -> Curve:
    """Return the ROC curve of rows that are of a class, (n_rows,) bool: true against false positive rate."""
    false, true, _ = roc_curve(happened, probability, sample_weight=sample_weight)
    return thinned(false, true)


def precision_recall_points(happened: Any, probability: Any, sample_weight: Any = None) -> Curve:
    """Return precision against recall, by rising recall."""
    precision, recall, _ = precision_recall_curve(happened, probability, sample_weight=sample_weight)
    return thinned(recall[::-1], precision[::-1])


def thinned(x: np.ndarray, y: np.ndarray) -> Curve:
    """Return at most `POINTS` points of a curve, both ends among them, rounded to four decimals."""
    at = np.unique(np.linspace(0, len(x) - 1, POINTS).astype(int))
    return {"x": np.round(x[at], DECIMALS).tolist(), "y": np.round(y[at], DECIMALS).tolist()}


def curves_of(y_number: Any, probabilities: np.ndarray, sample_weight: Any = None) -> dict[str, Curve]:
    """Return a model's curves: ``roc``, ``precision_recall`` and ``reliability``.

    Parameters
    ----------
    y_number : array of shape (n_rows,)
        Class numbers.
    probabilities : ndarray of shape (n_rows, n_classes)
    sample_weight : array of shape (n_rows,), optional
        How many rows each stands for.

    Returns
    -------
    dict
        Of two classes the curves of the second. Of more, those of all pairs of a row and a class at once (the
        micro-average), and the reliability of the likeliest class. Empty where all rows that weigh are of one class.
    """
    y, p = np.asarray(y_number), np.asarray(probabilities, float)
    weights = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)
    if len(np.unique(y[weights > 0])) < 2:
        return {}
    if p.shape[1] == 2:
        happened, told, of_pairs = y == 1, p[:, 1], weights
    else:
        happened, told = (y[:, None] == np.arange(p.shape[1])).ravel(), p.ravel()
        of_pairs = np.repeat(weights, p.shape[1])
    probability, right = judged(y, p)
    bins = reliability_curve(right, probability, sample_weight=sample_weight)
    return {
        "roc": roc_points(happened, told, of_pairs),
        "precision_recall": precision_recall_points(happened, told, of_pairs),
        "reliability": thinned(bins["predicted"].to_numpy(), bins["share"].to_numpy()),
    }
