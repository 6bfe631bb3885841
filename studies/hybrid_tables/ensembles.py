"""Several networks of the study as one: the mean of what they predict. Nothing is trained here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import recall_score

from permgrad.metrics.scores import classification_scores, regression_scores

Unit = dict[str, Any]


def average_by_seed(data: Mapping[str, Any], members: Sequence[Mapping[int, Unit]]) -> dict[int, Unit]:
    """Average the networks of each seed that all members were trained with.

    Parameters
    ----------
    data : mapping
        ``task`` and ``truth``.
    members : sequence of mappings
        Seed → unit, of each network.
    """
    common = set.intersection(*(set(units) for units in members))
    return {random_state: average(data, [units[random_state] for units in members]) for random_state in sorted(common)}


def average(data: Mapping[str, Any], units: Sequence[Unit]) -> Unit:
    """Return the scores on test rows of the mean of several models' predictions, as `networks.judge` does of one's.

    Of the probabilities, for classification, (n_rows, n_classes).
    """
    truth = np.asarray(data["truth"])
    if data["task"] == "regression":
        predicted = np.mean([unit["predicted"] for unit in units], axis=0)
        return {"test": regression_scores(truth, predicted), "predicted": predicted}
    probabilities = np.mean([unit["probabilities"] for unit in units], axis=0)
    classes = np.arange(probabilities.shape[1])
    predicted = probabilities.argmax(axis=1)
    return {
        "test": classification_scores(truth, probabilities / probabilities.sum(axis=1, keepdims=True), classes),
        "recall": recall_score(truth, predicted, labels=classes, average=None, zero_division=0),
        "predicted": predicted,
        "probabilities": probabilities,
    }
