"""A model that this package did not train, in the place of an estimator: what its page asks it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from permgrad.data.table import Table
from permgrad.importance.effects import Effects
from permgrad.importance.network.opaque import Opaque
from permgrad.importance.responding.curves import effects


class AnyModel:
    """A fitted model: it predicts, and has neither image nor history.

    Parameters
    ----------
    opaque : Opaque
        The model, and rows like those that it will be asked about.
    name : str
        What it is called: its file, or its kind.
    who : {"network", "model"}
        What the page calls it.
    """

    layout_ = None

    def __init__(self, opaque: Opaque, name: str, who: str = "model") -> None:
        self.opaque, self.name, self.who = opaque, name, who

    def _said(self, X: Any) -> np.ndarray:
        """Return probabilities of classes, or values: (n_rows, n_classes or 1)."""
        if isinstance(self.opaque.rows, np.ndarray):  # fitted without names, which some models warn of
            X = np.asarray(X)
        return self.opaque.target.task.probabilities(self.opaque.predict(X))

    def predict(self, X: Any) -> np.ndarray:
        """Return the values, (n_rows,)."""
        return self._said(X)[:, 0]

    def effects(self, test: Table, features: Sequence[str], **settings: Any) -> Effects:
        """Measure `effects` of some columns."""
        return effects(self, test, features, **settings)


class AnyClassifier(AnyModel):
    """The same, of classes.

    Parameters
    ----------
    opaque, name, who
        See `AnyModel`.
    classes : array-like of shape (n_classes,)
        Labels in the order of the model's outputs, which is ascending.
    """

    def __init__(self, opaque: Opaque, name: str, classes: Any, who: str = "model") -> None:
        super().__init__(opaque, name, who)
        self.classes_ = np.asarray(classes)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the classes' probabilities, (n_rows, n_classes)."""
        return self._said(X)

    def predict(self, X: Any) -> np.ndarray:
        """Return the likeliest classes, (n_rows,)."""
        return self.classes_[self._said(X).argmax(axis=1)]


def any_model(opaque: Opaque, name: str, labels: Any, who: str = "model") -> AnyModel | None:
    """Return the model as the page asks it; None where it has no page: it says several values, or shares, of a row.

    Parameters
    ----------
    opaque : Opaque
    name, who : str
        See `AnyModel`.
    labels : array-like
        The classes' labels, or the table's target, where the model tells classes apart.
    """
    target = opaque.target
    if target.classes:
        known = np.unique(np.asarray(labels))
        numbered = len(known) != len(target.classes)  # some class has no row here: labels are class numbers
        return AnyClassifier(opaque, name, np.arange(len(target.classes)) if numbered else known, who)
    return AnyModel(opaque, name, who) if target.task.link == "identity" and target.task.width == 1 else None
