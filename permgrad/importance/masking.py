"""Cumulative masking: loss and accuracy as ever more of the best features are taken from a network together.

Where many features carry the same information, no single one is missed; that the network relies on them shows when they
go together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from permgrad.backend import keras
from permgrad.errors import PermGradError
from permgrad.importance.losses import cross_entropy

ROWS_PER_CALL = 1024


def masking_counts(n_features: int) -> list[int]:
    """Return 0, then 1, 2, 5, 10, 20, 50, ... and last all features."""
    steps = [digit * 10**power for power in range(len(str(n_features))) for digit in (1, 2, 5)]
    return [0, *(count for count in steps if count < n_features), n_features]


def masking_curve(
    model: Any, X: np.ndarray, y: np.ndarray, order: np.ndarray, values: np.ndarray, counts: Sequence[int] | None = None
) -> pd.DataFrame:
    """Replace the first features of an order by constants, more and more of them, and measure.

    Parameters
    ----------
    model : keras.Model
        (n_rows, n_features) → class probabilities.
    X : ndarray of shape (n_rows, n_features), float32
        Rows that the model was not trained on.
    y : ndarray of shape (n_rows,), int
        Class numbers.
    order : ndarray of shape (n_features,), int
        Positions, those to mask first at the front: best first asks what the network misses, worst first what suffices.
    values : ndarray of shape (n_features,)
        What stands in a masked column's place; the training rows' means.
    counts : sequence of int, optional
        How many to mask; by default `masking_counts`.

    Returns
    -------
    DataFrame
        ``masked``, ``loss`` (mean cross-entropy) and ``accuracy`` for each count.

    Raises
    ------
    PermGradError
        If the order is none of all features, or a count out of range.
    """
    if not np.array_equal(np.sort(order), np.arange(X.shape[1])):
        raise PermGradError(f"order must name each of the {X.shape[1]} columns once")
    counts = masking_counts(X.shape[1]) if counts is None else list(counts)
    if not counts or min(counts) < 0 or max(counts) > X.shape[1]:
        raise PermGradError(f"counts must be between 0 and {X.shape[1]}, at least one, got {counts}")
    found = []
    for count in counts:
        masked = X.copy()
        masked[:, order[:count]] = values[order[:count]]
        p = np.concatenate([_predict(model, masked[i : i + ROWS_PER_CALL]) for i in range(0, len(X), ROWS_PER_CALL)])
        right = p.argmax(axis=1) == y
        found.append({"masked": count, "loss": float(cross_entropy(y, p).mean()), "accuracy": float(right.mean())})
    return pd.DataFrame(found)


def _predict(model: Any, rows: np.ndarray) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(rows, training=False))
