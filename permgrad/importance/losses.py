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
    """
    p = np.asarray(predictions, float)
    p = np.concatenate([1 - p, p], axis=-1) if p.shape[-1] == 1 else p
    true = np.take_along_axis(p, np.broadcast_to(np.asarray(y, int)[:, None], (*p.shape[:-1], 1)), axis=-1)
    return -np.log(np.clip(true[..., 0], EPSILON, 1 - EPSILON))


def choose_target(y: np.ndarray, n_outputs: int, classification: bool | None) -> tuple[np.ndarray, Loss, int]:
    """Bring `y` into the form that fits a model's output.

    Parameters
    ----------
    y : ndarray of shape (n_rows,) or (n_rows, n_outputs)
        Class numbers (or one-hot rows) for classification, target values for regression.
    n_outputs : int
        Width of the model's output.
    classification : bool, optional
        By default: whole numbers or booleans from 0 below the number of classes (2 for one output).

    Returns
    -------
    y : ndarray
    loss : callable
    n_classes : int
        0 for regression.

    Raises
    ------
    PermGradError
        If classification is asked for and `y` is no class number.
    """
    y = np.asarray(y)
    n_classes = max(n_outputs, 2)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2 and n_outputs > 1 and np.isin(y, (0, 1)).all() and (y.sum(axis=1) == 1).all():
        y = y.argmax(axis=1)
    numbers = y.ndim == 1 and y.dtype.kind in "iub"
    fits = bool(numbers and (y >= 0).all() and (y < n_classes).all())
    if classification and not fits:
        raise PermGradError(f"y must hold class numbers from 0 to {n_classes - 1} or one-hot rows of {n_outputs}")
    if fits and classification is not False:
        return y.astype(int), cross_entropy, n_classes
    if y.size != len(y) * n_outputs:
        raise PermGradError(f"y of shape {y.shape} does not fit a model with {n_outputs} outputs")
    return y, squared_error, 0
