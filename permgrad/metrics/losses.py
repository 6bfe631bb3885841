"""Loss of each row, in float64: what importance is measured in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import log_expit

from permgrad.errors import PermGradError

EPSILON = 1e-7
"""Probabilities are clipped to [EPSILON, 1 - EPSILON], as Keras's losses do; of logits nothing need be clipped."""

OFF = 0.01
"""By how much a row's probabilities may miss a sum of 1: computed in half precision, and rounded."""


def squared_error(y: np.ndarray, predictions: np.ndarray, weights: Sequence[float] | None = None) -> np.ndarray:
    """Return the squared error of each row, averaged over outputs; or their sum, each times its weight."""
    target = np.asarray(y, float).reshape(len(y), -1)
    squares = (np.asarray(predictions, float) - target) ** 2
    return np.mean(squares, axis=-1) if weights is None else squares @ np.asarray(weights)


def cross_entropy(y: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return ``-log p`` of the true class; `y` holds class numbers, predictions are probabilities.

    A single output is the probability of class 1.

    Raises
    ------
    PermGradError
        If predictions are no probabilities.
    """
    p = np.asarray(predictions, float)
    check_probabilities(p)
    p = np.concatenate([1 - p, p], axis=-1) if p.shape[-1] == 1 else p
    true = np.take_along_axis(p, np.broadcast_to(np.asarray(y, int)[:, None], (*p.shape[:-1], 1)), axis=-1)
    return log_loss(true[..., 0])


def log_loss(probability: np.ndarray) -> np.ndarray:
    """Return ``-log p`` of the true class's probability, clipped; float64."""
    check_probabilities(probability)
    return -np.log(clipped(probability))


def binary_cross_entropy(y: np.ndarray, predictions: np.ndarray, *, logits: bool = False) -> np.ndarray:
    """Return ``-y log p - (1 - y) log(1 - p)``, averaged over outputs; `y` holds shares from 0 to 1.

    Parameters
    ----------
    y : ndarray of shape (n,) or (n, outputs)
    predictions : ndarray of shape (..., n, outputs)
    logits : bool
        Predictions are ``log(p / (1 - p))``, not p.
    """
    target = np.asarray(y, float).reshape(len(y), -1)
    if logits:
        z = np.asarray(predictions, float)
        return np.mean(-target * log_expit(z) - (1 - target) * log_expit(-z), axis=-1)
    check_probabilities(predictions)
    p = clipped(predictions)
    return np.mean(-target * np.log(p) - (1 - target) * np.log(1 - p), axis=-1)


def clipped(p: np.ndarray) -> np.ndarray:
    """Return probabilities within [EPSILON, 1 - EPSILON]; float64."""
    return np.clip(np.asarray(p, float), EPSILON, 1 - EPSILON)


def check_probabilities(p: np.ndarray) -> None:
    """Raise unless all numbers are probabilities, up to rounding."""
    if p.min() < -EPSILON or p.max() > 1 + 1e-3:
        raise PermGradError(
            f"expected probabilities, the model's output ranges from {p.min():.3g} to {p.max():.3g};"
            " let it end in a softmax or sigmoid, or compile it with a loss that has from_logits=True"
        )


def check_sums(p: np.ndarray) -> None:
    """Raise unless the probabilities of each row, along the last axis, add up to 1, up to low precision."""
    off = np.abs(p.sum(axis=-1) - 1)
    if off.max(initial=0) > OFF:
        at = float(p.sum(axis=-1).reshape(-1)[off.argmax()])
        raise PermGradError(
            f"expected probabilities of classes, which add up to 1 in each row; the model's add up to {at:.3g}; divide"
            " them by their sum"
        )
