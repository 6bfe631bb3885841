"""A Keras model of a file in the place of an estimator: what its page asks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from permgrad.data.table import Table
from permgrad.importance.effects import Effects
from permgrad.importance.network.opaque import Opaque
from permgrad.importance.responding.curves import effects


class SavedModel:
    """A model that this package did not train: it predicts, and has neither image nor history.

    Parameters
    ----------
    opaque : Opaque
        The model, and rows like those that it will be asked about.
    name : str
        Of its file.
    """

    layout_ = None

    def __init__(self, opaque: Opaque, name: str) -> None:
        self.opaque, self.name = opaque, name

    def _said(self, X: Any) -> np.ndarray:
        """Return probabilities of classes, or values: (n_rows, n_classes or 1)."""
        return self.opaque.target.task.probabilities(self.opaque.predict(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return the values, (n_rows,)."""
        return self._said(X)[:, 0]

    def effects(self, test: Table, features: Sequence[str], **settings: Any) -> Effects:
        """Measure `effects` of some columns."""
        return effects(self, test, features, **settings)


class SavedClassifier(SavedModel):
    """The same, of classes.

    Parameters
    ----------
    opaque : Opaque
    name : str
    classes : array-like of shape (n_classes,)
        In the order of the model's outputs, which is ascending.
    """

    def __init__(self, opaque: Opaque, name: str, classes: Any) -> None:
        super().__init__(opaque, name)
        self.classes_ = np.asarray(classes)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the classes' probabilities, (n_rows, n_classes)."""
        return self._said(X)

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest classes, (n_rows,)."""
        return self.classes_[self._said(X).argmax(axis=1)]


def saved_model(opaque: Opaque, name: str, y: Any) -> SavedModel | None:
    """Return the model as the page asks it; None where it has no page: it says several values, or shares, of a row.

    Parameters
    ----------
    opaque : Opaque
    name : str
    y : Series of shape (n_rows,)
        The table's target: labels, where the model tells classes apart.
    """
    target = opaque.target
    if target.classes:
        labels = np.unique(y)
        numbered = len(labels) != len(target.classes)  # some class has no row here: labels are class numbers
        return SavedClassifier(opaque, name, np.arange(len(target.classes)) if numbered else labels)
    return SavedModel(opaque, name) if target.task.link == "identity" and target.task.width == 1 else None
