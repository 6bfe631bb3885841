"""The true values in the form that a model's output asks for, and the loss between the two."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from permgrad.backend import keras
from permgrad.data.rows import RowFacts, check_sample_weight
from permgrad.errors import PermGradError, listing
from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.network._inputs import Inputs
from permgrad.metrics.losses import EPSILON, log_loss
from permgrad.metrics.outputs import task_of
from permgrad.metrics.task import Task

LEAST_ROWS = 5
FEW_GROUPS = 10
"""Of rows, below which intervals are so wide that it is said."""


@dataclass(frozen=True, eq=False)
class Target:
    """The true values in the form that the model's output asks for, what that output means, and how rows count.

    Attributes
    ----------
    y : ndarray of shape (n_rows,) or (n_rows, width)
    task : Task
    classes : tuple of str or None
        The classes' names.
    weights : ndarray of shape (n_rows,) or None
        How much each row counts, 1 on average; None where all count alike.
    groups : ndarray of shape (n_rows,), int, or None
        Of rows that were drawn together.
    """

    y: np.ndarray
    task: Task
    classes: tuple[str, ...] | None
    weights: np.ndarray | None = None
    groups: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        y: Any,
        inputs: Inputs,
        classes: Sequence[Any] | None = None,
        task: str | None = None,
        sample_weight: Any = None,
        row_groups: Any = None,
        unit: int | None = None,
    ) -> Target:
        """Decide what the model's output means, see `permgrad.metrics.task.understand`."""
        given = np.atleast_1d(y)
        if len(given) != len(inputs):
            raise PermGradError(f"X and y must have the same number of rows, got {len(inputs)} and {len(given)}")
        known, values, names = task_of(inputs.cut.model, given, classes=classes, task=task)
        return cls(values, known, names).counting(sample_weight, row_groups, unit)  # type: ignore[arg-type]

    def counting(self, sample_weight: Any, row_groups: Any, unit: int | None = None) -> Target:
        """Return the same with weights and groups of the rows, checked, and several outputs as `Task.weighing` says.

        Raises
        ------
        PermGradError
            If they are not one for each row, weights are negative or all zero, or there is but one group.

        Warns
        -----
        UserWarning
            If there are fewer than ten groups.
        """
        weights, groups = None, None
        if sample_weight is not None:
            weights = check_sample_weight(sample_weight, len(self.y))
            weights = weights / weights.mean()
        if row_groups is not None:
            if getattr(row_groups, "name", None) is None:  # an error names the argument
                row_groups = pd.Series(np.asarray(row_groups), name="row_groups")
            groups = RowFacts.of(len(self.y), groups=row_groups).codes()
            if groups is not None:
                _check_number(groups if weights is None else groups[weights > 0])
        return replace(self, weights=weights, groups=groups, task=self.task.weighing(self.y, weights, unit))

    def check_tellable(self) -> None:
        """Raise where no ranking can be told of such rows: too few, or all of one class or value.

        Raises
        ------
        PermGradError
        """
        counted = slice(None) if self.weights is None else self.weights > 0
        y = self.y[counted]
        if len(y) < LEAST_ROWS:
            raise PermGradError(
                f"a ranking needs at least {LEAST_ROWS} rows that the model was not fitted on, got {len(y)}; give more"
            )
        counts = self.task.output_weights
        constant = np.flatnonzero(
            (np.ptp(y.reshape(len(y), -1), axis=0) == 0) & (True if counts is None else np.array(counts) > 0)
        )
        if len(constant) and self.classes:
            raise PermGradError(
                f"y holds a single class, {listing([self.classes[int(y[0])]])}: no column can tell it from others; give"
                " rows of at least two classes"
            )
        if len(constant):
            which = f" of output {listing(constant)}" if y.ndim > 1 and y.shape[1] > 1 else ""
            raise PermGradError(f"all rows have the same target value{which}; give rows whose target varies")

    def marks(self) -> dict[str, str]:
        """Return what tells these weights and groups from others, for a checkpoint; nothing where there are none."""
        known = {"weights": self.weights, "groups": self.groups}
        return {
            name: hashlib.sha256(values.tobytes()).hexdigest() for name, values in known.items() if values is not None
        }

    def weighed(self, rows: Any, values: np.ndarray) -> np.ndarray:
        """Return values of these rows, (n,), each times its row's weight."""
        return values if self.weights is None else values * self.weights[rows]

    def mean(self, values: np.ndarray, rows: Any = slice(None)) -> float:
        """Return the mean of values of these rows, (n,), as they weigh."""
        return float(np.average(values, weights=None if self.weights is None else self.weights[rows]))

    def losses(self, rows: Any, outputs: np.ndarray) -> np.ndarray:
        """Return the loss of these rows from the model's outputs, (n, ...); float64."""
        return self.task.losses(self.y[rows], outputs.reshape(len(outputs), -1))

    def truth(self, rows: np.ndarray) -> Any:
        """Return what `select` needs to know of these rows: their class; int32."""
        return keras.ops.convert_to_tensor((self.y[rows] if self.classes else rows).astype(np.int32))

    def selected_losses(self, rows: np.ndarray, selected: np.ndarray) -> np.ndarray:
        """Return the loss of these rows from what `select` left of their predictions; float64."""
        if not self.classes:
            return self.task.losses(self.y[rows], selected)
        return -selected[:, 0].astype(float) if self.task.logits else log_loss(selected[:, 0])

    def said(self, selected: np.ndarray) -> np.ndarray:
        """Return what may be averaged of what `select` left: probabilities, never logits, or values; (..., k), float64.

        Its loss is `losses_said`.
        """
        if self.classes:
            return np.exp(selected, dtype=float) if self.task.logits else np.asarray(selected, float)
        return self.task.probabilities(selected)

    def losses_said(self, rows: np.ndarray, said: np.ndarray) -> np.ndarray:
        """Return the loss of these rows from (means of) what `said` returned, (n, k); float64."""
        return log_loss(said[:, 0]) if self.classes else replace(self.task, logits=False).losses(self.y[rows], said)

    def slopes(self, rows: np.ndarray, said: np.ndarray) -> np.ndarray:
        """Return the derivative of `losses_said` by what is said, (n, k); float64."""
        if self.classes:
            return -1 / np.clip(said, EPSILON, 1)
        y = np.asarray(self.y[rows], float).reshape(said.shape)
        if self.task.link == "identity":
            return 2 * (said - y) * np.asarray(self.task.output_weights or 1 / said.shape[1])
        if self.task.link == "softmax":
            return -y / np.clip(said, EPSILON, 1)
        return (said - y) / np.clip(said * (1 - said), EPSILON, 1) / said.shape[1]

    def indicators(self) -> np.ndarray:
        """Return the true values as outputs would be: 0/1 for each class, or target values; (n_rows, n_outputs)."""
        if self.classes:
            return np.eye(len(self.classes))[self.y]
        return np.asarray(self.y, float).reshape(len(self.y), -1)

    def sums(self, rows: np.ndarray, job: np.ndarray, losses: np.ndarray, n_jobs: int) -> np.ndarray:
        """Add up losses, as rows weigh, by job, over all rows and over each class's rows: (n_jobs, 1 + n_classes)."""
        losses = self.weighed(rows, losses)
        totals = np.bincount(job, losses, n_jobs)[:, None]
        if not self.classes:
            return totals
        n_classes = len(self.classes)
        by_class = np.bincount(job * n_classes + self.y[rows], losses, n_jobs * n_classes)
        return np.hstack([totals, by_class.reshape(n_jobs, n_classes)])

    def bootstrap(self, random_state: int) -> Bootstrap:
        """Draw rows, or their groups, anew, within classes where there are classes."""
        of_class = self.y if self.classes else None
        return Bootstrap.of(len(self.y), random_state, of_class, groups=self.groups, weights=self.weights)

    def counts(self) -> np.ndarray:
        """Return what all rows weigh, and those of each class (1 for none): shape (1 + n_classes,)."""
        of_class = np.bincount(self.y, self.weights, minlength=len(self.classes)) if self.classes else np.array([])
        counts = np.concatenate([[len(self.y)], of_class])
        return np.where(counts > 0, counts, 1)


def _check_number(groups: np.ndarray) -> None:
    """Raise for a single group of rows, and warn of few."""
    n = len(np.unique(groups))
    if n < 2:
        raise PermGradError("intervals resample groups of rows (row_groups) and need at least two groups, got one")
    if n < FEW_GROUPS:
        warnings.warn(
            f"intervals and p-values rest on {n} groups of rows, however many rows these have: they are wide, and with"
            " two or three groups hardly tell anything; give rows of ten groups or more",
            stacklevel=5,
        )


def select(predictions: Any, truth: Any, task: Task) -> Any:
    """Reduce predictions, a tensor, to what the loss needs of them, shape (n, k), float32.

    The probability of the true class, of logits its logarithm; without classes all outputs. That is far less to bring
    back from the device than all probabilities.
    """
    ops = keras.ops
    outputs = ops.reshape(ops.cast(predictions, "float32"), (truth.shape[0], -1))
    if not task.n_classes:
        return outputs
    if task.width == 1:
        other = -outputs if task.logits else 1 - outputs
        true = ops.where(truth[:, None] == 1, outputs, other)
        return ops.log_sigmoid(true) if task.logits else true
    if task.logits:
        outputs = outputs if task.link == "softmax" else ops.log_sigmoid(outputs)
        outputs = outputs - ops.logsumexp(outputs, axis=-1, keepdims=True)
    elif task.link == "sigmoid":
        outputs = outputs / ops.maximum(ops.sum(outputs, axis=-1, keepdims=True), 1e-30)
    return ops.sum(outputs * ops.one_hot(truth, outputs.shape[1], dtype="float32"), axis=1, keepdims=True)
