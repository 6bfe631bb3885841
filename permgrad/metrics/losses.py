"""Loss of each row, in float64: what importance is measured in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from permgrad.errors import PermGradError

Loss = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(y of shape (n,) or (n, outputs); predictions of shape (..., n, outputs)) → losses of shape (..., n)."""

EPSILON = 1e-7
"""Probabilities are clipped to [EPSILON, 1 - EPSILON], as Keras's losses do."""


def squared_error(y: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return the squared error of each row, averaged over outputs."""
    target = np.asarray(y, float).reshape(len(y), -1)
    return np.mean((np.asarray(predictions, float) - target) ** 2, axis=-1)


def cross_entropy(y: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """Return ``-log p`` of the true class; `y` holds class numbers, predictions are probabilities.

    A single output is the probability of class 1.

    Raises
    ------
    PermGradError
        If predictions are no probabilities.
    """
    p = np.asarray(predictions, float)
    _check_probabilities(p)
    p = np.concatenate([1 - p, p], axis=-1) if p.shape[-1] == 1 else p
    true = np.take_along_axis(p, np.broadcast_to(np.asarray(y, int)[:, None], (*p.shape[:-1], 1)), axis=-1)
    return log_loss(true[..., 0])


def log_loss(probability: np.ndarray) -> np.ndarray:
    """Return ``-log p`` of the true class's probability, clipped; float64."""
    _check_probabilities(probability)
    return -np.log(np.clip(np.asarray(probability, float), EPSILON, 1 - EPSILON))


def _check_probabilities(p: np.ndarray) -> None:
    if p.min() < -EPSILON or p.max() > 1 + 1e-3:
        raise PermGradError(
            f"expected probabilities, the model's output ranges from {p.min():.3g} to {p.max():.3g};"
            " let it end in a softmax or sigmoid"
        )


def choose_target(y: np.ndarray, n_outputs: int, classification: bool) -> tuple[np.ndarray, Loss, int]:
    """Bring `y` into the form that fits a model's output.

    Parameters
    ----------
    y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        Class numbers (or one-hot rows) for classification, target values for regression.
    n_outputs : int
        Width of the model's output.
    classification : bool

    Returns
    -------
    y : ndarray
    loss : callable
    n_classes : int
        0 for regression.

    Raises
    ------
    PermGradError
        If `y` holds missing values, or does not fit the output.
    """
    if y.dtype.kind not in "iubf" or not np.isfinite(y).all():
        raise PermGradError("y must hold finite numbers: class numbers or target values, none missing")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if not classification:
        if y.size != len(y) * n_outputs:
            raise PermGradError(f"y of shape {y.shape} does not fit a model with {n_outputs} outputs")
        return y, squared_error, 0
    if y.ndim == 2 and y.shape[1] == n_outputs and np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all():
        y = y.argmax(axis=1)
    n_classes = max(n_outputs, 2)
    if y.ndim != 1 or not np.isin(y, np.arange(n_classes)).all():
        raise PermGradError(f"y must hold class numbers from 0 to {n_classes - 1} or one-hot rows of {n_outputs}")
    return y.astype(int), cross_entropy, n_classes
