"""A network as a function of a few of its columns: the others have the values of given rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

from permgrad.backend import compiled, keras
from permgrad.errors import PermGradError
from permgrad.importance.network._inputs import even_size
from permgrad.importance.network.branches import cut_model
from permgrad.importance.network.first_layer import first_layer
from permgrad.metrics.outputs import task_of

ROWS_PER_CALL = 4096


class PartialModel(ClassifierMixin, BaseEstimator):
    """A Keras classifier of one wide table, as an estimator of some columns of given rows.

    `score_importance` takes it: any score of permuting a few columns out of many thousand, where the product of all
    columns with the first layer is computed once (`FirstLayer`).

    Parameters
    ----------
    model : keras.Model
        Functional, of classes, whose tabular branch begins with a Dense layer behind scaling.
    rows : ndarray of shape (n_rows, n_features)
    columns : ndarray of shape (n_columns,), int
        Which columns may change.
    classes : sequence, optional
        Labels of the outputs, by default 0, 1, ...

    Raises
    ------
    PermGradError
        If the model is another one.
    """

    def __init__(self, model: Any, rows: np.ndarray, columns: np.ndarray, classes: Any = None) -> None:
        self.model, self.rows, self.columns, self.classes = model, rows, columns, classes
        branches = cut_model(model).branches
        first = first_layer(model) if len(branches) == 1 else None
        if first is None or not first.linear:
            raise PermGradError("PartialModel needs a model of one table that begins with a Dense layer behind scaling")
        self.task, _, names = task_of(model, classes=classes, task="classification")
        self.classes_ = np.arange(len(names or ())) if classes is None else np.asarray(classes)
        self._sums = keras.ops.convert_to_numpy(first.sums(rows))  # (n_rows, units)
        kernel = keras.ops.convert_to_numpy(first.kernel_rows(columns))
        self._kernel = kernel * first.scale[columns][:, None]
        self._finish = compiled(lambda sums: first.finish(first.activate(sums)), *first.models)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return probabilities of the rows with these values in the columns.

        Parameters
        ----------
        X : ndarray of shape (n_copies * n_rows, n_columns)
            The rows may be repeated as a whole, each time with other values.
        """
        if len(X) % len(self.rows) or X.shape[1] != len(self.columns):
            raise PermGradError(
                f"expected {len(self.rows)} rows, or copies of all, of {len(self.columns)} columns, got {X.shape}"
            )
        own = self.rows[:, self.columns]
        step = even_size(len(X), ROWS_PER_CALL)
        outputs = []
        for start in range(0, len(X), step):
            at = np.arange(start, min(start + step, len(X))) % len(self.rows)
            sums = self._sums[at] + (X[start : start + step] - own[at]).astype(np.float32) @ self._kernel
            outputs.append(keras.ops.convert_to_numpy(self._finish(keras.ops.convert_to_tensor(sums))))
        return self.task.probabilities(np.concatenate(outputs))

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the likeliest labels."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]
