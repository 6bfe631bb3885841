"""How much the rows of each class count in the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils import compute_class_weight

from permgrad.errors import PermGradError, as_permgrad_error, listing


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
