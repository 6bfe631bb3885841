"""Scores of a fitted estimator on rows that it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn import metrics

from permgrad.data.streamed import StreamedTable
from permgrad.data.table import Table
from permgrad.metrics.asking import ask

HIGHER_IS_BETTER = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "auc", "r2")
SCORES = {
    "classification": ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "log_loss", "auc"),
    "regression": ("r2", "rmse", "mae", "mape"),
}
"""Names that `scores` gives for each task."""


def scores(estimator: Any, table: Table | StreamedTable) -> dict[str, float]:
    """Score `estimator` on all rows of `table`, which count as they weigh.

    Returns
    -------
    dict
        Classification: ``accuracy``, ``balanced_accuracy``, ``precision``, ``recall`` and ``f1`` (means over
        classes), ``auc`` (area under the ROC curve; one against the rest, mean over classes; left out
        where a class has no rows) and ``log_loss``. Regression: ``r2``, ``rmse``, ``mae``, ``mape``.
    """
    weights = None if table.weights is None else np.asarray(table.weights, float)
    if table.task == "regression":
        return regression_scores(np.asarray(table.y, float), ask(estimator, "predict", table.X), weights)
    said = ask(estimator, "predict_proba", table.X)
    return classification_scores(np.asarray(table.y), said, estimator.classes_, weights)


def regression_scores(y: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> dict[str, float]:
    """Score numbers predicted of rows whose true ones are `y`, and that weigh `weights`; see `scores`."""
    known = {"sample_weight": weights}
    return {
        "r2": float(metrics.r2_score(y, predicted, **known)),
        "rmse": float(metrics.root_mean_squared_error(y, predicted, **known)),
        "mae": float(metrics.mean_absolute_error(y, predicted, **known)),
        "mape": float(metrics.mean_absolute_percentage_error(y, predicted, **known)),
    }


def classification_scores(
    y: np.ndarray, probabilities: np.ndarray, classes: np.ndarray, weights: np.ndarray | None = None
) -> dict[str, float]:
    """Score probabilities, (n_rows, n_classes), of rows whose labels are `y`; see `scores`."""
    probabilities = np.asarray(probabilities, float)
    probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)  # float32 adds up to 1 only nearly
    if weights is not None:  # a class of which nothing weighs is absent
        counted = weights > 0
        y, probabilities, weights = y[counted], probabilities[counted], weights[counted]
    known = {"sample_weight": weights}
    predicted = classes[probabilities.argmax(axis=1)]
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        y, predicted, labels=classes, average="macro", zero_division=0, **known
    )
    values = {
        "accuracy": metrics.accuracy_score(y, predicted, **known),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, predicted, **known),
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "log_loss": metrics.log_loss(y, probabilities, labels=classes, **known),
    }
    if len(np.unique(y)) == len(classes):
        p = probabilities[:, 1] if len(classes) == 2 else probabilities
        values["auc"] = metrics.roc_auc_score(y, p, multi_class="ovr", labels=classes, **known)
    return {name: float(value) for name, value in values.items()}


def mean_class_accuracy(y: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of each class's rows that are told right (recall), averaged over the classes in `y`."""
    right = np.asarray(y) == np.asarray(predicted)
    return float(np.mean([right[y == label].mean() for label in np.unique(y)]))
