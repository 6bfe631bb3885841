"""The true values in the form that a model's output asks for, and the loss between the two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.errors import PermGradError
from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network._outputs import final_activation
from permgrad.metrics.losses import Loss, choose_target, log_loss, squared_error


@dataclass(frozen=True, eq=False)
class Target:
    """The true values in the form that the model's output asks for, and the loss between them."""

    y: np.ndarray
    loss: Loss
    classes: tuple[str, ...] | None

    @classmethod
    def of(cls, y: Any, inputs: Inputs, classes: Sequence[Any] | None = None) -> Target:
        """Choose loss and class names; see `choose_target`.

        A model classifies if it ends in a softmax or sigmoid, if classes are given, or if it has several
        outputs and `y` one column of class numbers.
        """
        n_outputs = math.prod(inputs.cut.model.outputs[0].shape[1:])
        values = np.asarray(y)
        several = n_outputs > 1 and values.size == len(values)
        classification = bool(final_activation(inputs.cut.model)[1]) or classes is not None or several
        values, loss, n_classes = choose_target(values, n_outputs, classification)
        if len(values) != len(inputs):
            raise PermGradError(f"X and y must have the same number of rows, got {len(inputs)} and {len(values)}")
        if not n_classes:
            return cls(values, loss, None)
        names = tuple(map(str, range(n_classes) if classes is None else classes))
        if len(names) != n_classes:
            raise PermGradError(f"the model tells {n_classes} classes apart, got {len(names)} names")
        return cls(values, loss, names)

    def truth(self, rows: np.ndarray) -> Any:
        """Return what `select` needs to know of these rows: their class; int32."""
        return keras.ops.convert_to_tensor((self.y[rows] if self.classes else rows).astype(np.int32))

    def losses(self, rows: np.ndarray, selected: np.ndarray) -> np.ndarray:
        """Return the loss of these rows from what `select` left of their predictions; float64."""
        return log_loss(selected[:, 0]) if self.classes else squared_error(self.y[rows], selected)

    def selected(self, rows: np.ndarray, outputs: np.ndarray) -> np.ndarray:
        """Reduce all outputs of these rows to what `losses` needs, as `select` does for a tensor."""
        if not self.classes:
            return outputs
        if outputs.shape[1] == 1:
            return np.where(self.y[rows, None] == 1, outputs, 1 - outputs)
        return np.take_along_axis(outputs, self.y[rows, None].astype(int), axis=1)

    def indicators(self) -> np.ndarray:
        """Return the true values as outputs would be: 0/1 for each class, or target values; (n_rows, n_outputs)."""
        if self.classes:
            return np.eye(len(self.classes))[self.y]
        return np.asarray(self.y, float).reshape(len(self.y), -1)

    def sums(self, rows: np.ndarray, job: np.ndarray, losses: np.ndarray, n_jobs: int) -> np.ndarray:
        """Add up losses by job, over all rows and over each class's rows: (n_jobs, 1 + n_classes)."""
        totals = np.bincount(job, losses, n_jobs)[:, None]
        if not self.classes:
            return totals
        n_classes = len(self.classes)
        by_class = np.bincount(job * n_classes + self.y[rows], losses, n_jobs * n_classes)
        return np.hstack([totals, by_class.reshape(n_jobs, n_classes)])

    def bootstrap(self, random_state: int) -> Bootstrap:
        """Draw rows anew, within classes where there are classes."""
        return Bootstrap.of(len(self.y), random_state, self.y if self.classes else None)

    def counts(self) -> np.ndarray:
        """Return how many rows there are, and how many of each class (1 for none): shape (1 + n_classes,)."""
        of_class = np.bincount(self.y, minlength=len(self.classes)) if self.classes else np.array([], int)
        return np.maximum(np.concatenate([[len(self.y)], of_class]), 1)


def select(predictions: Any, truth: Any, classification: bool) -> Any:
    """Reduce predictions, a tensor, to what the loss needs of them, shape (n, k), float32.

    The probability of the true class, or all outputs: far less to bring back from the device than all
    probabilities.
    """
    ops = keras.ops
    outputs = ops.reshape(ops.cast(predictions, "float32"), (truth.shape[0], -1))
    if not classification:
        return outputs
    if outputs.shape[1] == 1:
        return ops.where(truth[:, None] == 1, outputs, 1 - outputs)
    return ops.sum(outputs * ops.one_hot(truth, outputs.shape[1], dtype="float32"), axis=1, keepdims=True)
