"""How much each row counts in the loss: weights of classes and of rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils import check_array, compute_class_weight

from permgrad.errors import PermGradError, as_permgrad_error, listing


def check_sample_weight(sample_weight: Any, n_rows: int) -> np.ndarray:
    """Return the weight of each row, shape (n_rows,), float64.

    Raises
    ------
    PermGradError
        If it is not one number of at least 0 for each row, or all are 0.
    """
    with as_permgrad_error():
        weight = check_array(
            sample_weight, ensure_2d=False, allow_nd=True, dtype=np.float64, input_name="sample_weight"
        )
    if weight.shape != (n_rows,) or weight.min() < 0 or not weight.any():
        raise PermGradError(
            f"sample_weight must hold one number of at least 0 for each of {n_rows} rows, not all of them zero;"
            f" got numbers of shape {weight.shape}, the least {weight.min():g}"
        )
    return weight


def weigh_classes(
    class_weight: str | Mapping[Any, float] | None,
    classes: np.ndarray,
    target: np.ndarray,
    sample_weight: np.ndarray | None = None,
) -> np.ndarray | None:
    """Return the weight of each class in the loss, shape (n_classes,), float32; None for none.

    Parameters
    ----------
    class_weight : "balanced", mapping of label to float, or None
    classes : ndarray
        All labels, sorted.
    target : ndarray of shape (n_rows,)
        Class numbers of the training rows.
    sample_weight : ndarray of shape (n_rows,), optional
        What each row counts where classes are balanced.

    Raises
    ------
    PermGradError
        If a mapping does not name just the classes, or the text is another one.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, Mapping):
        if set(class_weight) != set(classes.tolist()):
            raise PermGradError(f"class_weight must name the classes {listing(classes)}, got {listing(class_weight)}")
        return np.array([class_weight[label] for label in classes.tolist()], np.float32)
    with as_permgrad_error():
        numbers = np.arange(len(classes))
        weights = compute_class_weight(class_weight, classes=numbers, y=target, sample_weight=sample_weight)
    return weights.astype(np.float32)
