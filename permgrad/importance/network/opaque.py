"""A fitted model as it is from outside: one branch that cannot be cut, whose inputs are a table's columns."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from permgrad.backend import keras
from permgrad.data.checks import check_numeric
from permgrad.data.reading import check_unique
from permgrad.data.rows import weights_and_groups
from permgrad.data.table import Table
from permgrad.errors import PermGradError, listing
from permgrad.importance.grouping._columns import column_names
from permgrad.importance.network._target import Target
from permgrad.importance.network.numeric import NumericColumns
from permgrad.metrics.asking import Asked, check_instance
from permgrad.metrics.outputs import head_and_unit, one_output, output_of
from permgrad.metrics.task import Output, understand

ROWS_PER_CALL = 4096
"""Of a Keras model; an estimator parts its rows itself."""


@dataclass(frozen=True, eq=False)
class Opaque:
    """A fitted model, rows that it was not fitted on, and their true values; build it with `Opaque.of`.

    Attributes
    ----------
    rows : DataFrame or ndarray of shape (n_rows, n_columns)
        As they were given: columns of any type, missing values too.
    target : Target
        True values and loss.
    baseline : ndarray of shape (n_rows,)
        The loss of each row.
    features : list of str or None
        The columns' names, where they have any.
    outputs : ndarray of shape (n_rows, n_outputs)
        What the model says of the rows.
    """

    rows: Any
    target: Target
    baseline: np.ndarray
    features: list[str] | None
    outputs: np.ndarray
    _respond: Callable[[Any], Any]

    @classmethod
    def of(
        cls,
        model: Any,
        X: Any,
        y: Any,
        *,
        classes: Sequence[Any] | None = None,
        task: str | None = None,
        output: int | str | None = None,
        sample_weight: Any = None,
        row_groups: Any = None,
    ) -> Opaque:
        """Take a fitted model that has ``predict_proba`` or ``predict``, or a Keras model of a table.

        Parameters
        ----------
        model : fitted estimator or keras.Model
            An estimator's ``predict_proba`` comes first. A Keras model takes the columns as one input, or each as an
            input of its own.
        X : DataFrame, Table or array of shape (n_rows, n_columns)
        y : array of shape (n_rows,) or (n_rows, n_outputs)
            Labels or target values, as the estimator's `fit` takes them; for a Keras model, see `understand`.
        classes, task, output : optional
            See `permutation_importance`; the classes of an estimator are its ``classes_``. With ``task="regression"``
            an estimator is asked to ``predict``.
        sample_weight, row_groups : array of shape (n_rows,), optional
            See `permutation_importance`; by default those of a `Table`.

        Raises
        ------
        PermGradError
            If the model cannot be asked, or what it says does not fit `y`.
        """
        rows = table_of_rows(X)
        if len(np.atleast_1d(y)) != len(rows):
            raise PermGradError(
                f"X and y must have the same number of rows, got {len(rows)} and {len(np.atleast_1d(y))}"
            )
        if isinstance(model, keras.Model):
            head, unit = head_and_unit(model, output)
            network = one_output(model, head)
            respond: Callable[[Any], Any] = NetworkOfTable(network, rows)
            outputs = predictions_of(respond(rows), len(rows))
            known, values, names = understand(output_of(network, outputs.shape[1]), np.asarray(y), classes, task)
        else:
            respond, of_classes = response_of(model, task)
            unit = _unit(output, y)
            outputs = predictions_of(respond(rows), len(rows))
            labels = _labels(model, classes) if of_classes else None
            values = np.asarray(y) if labels is None else _class_numbers(y, labels)
            known, values, names = understand(_said(outputs.shape[1], of_classes), values, labels or classes, task)
        target = Target(values, known, names)  # type: ignore[arg-type]
        target = target.counting(*weights_and_groups(X, sample_weight, row_groups), unit)
        return cls(rows, target, target.task.losses(target.y, outputs), column_names(rows), outputs, respond)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_columns(self) -> int:
        """How many columns the rows have."""
        return self.rows.shape[1]

    def predict(self, rows: Any) -> np.ndarray:
        """Return what the model says of rows like its own, (n, n_outputs): probabilities, or values; float64."""
        return predictions_of(self._respond(rows), len(rows))

    def losses(self, at: np.ndarray, rows: Any) -> np.ndarray:
        """Return the loss of `rows`, (n, n_columns), that stand for the rows number `at`, (n,); float64."""
        return self.target.losses(at, self.predict(rows))

    def codes(self, column: int) -> np.ndarray:
        """Return the number of each row's value among a column's, (n_rows,); missing is a value like others."""
        values = self.rows.iloc[:, column] if isinstance(self.rows, pd.DataFrame) else self.rows[:, column]
        return pd.factorize(pd.Series(values), use_na_sentinel=False)[0]

    @cached_property
    def numeric(self) -> NumericColumns:
        """The rows as numbers, from which ties among columns can be learned."""
        return NumericColumns.of(self.rows)


def table_of_rows(X: Any) -> Any:
    """Return rows as a DataFrame or an array of two dimensions."""
    if isinstance(X, Table):
        return X.X
    if sparse.issparse(X):
        raise PermGradError("X must be a DataFrame or an array, got a sparse matrix; make it dense: X.toarray()")
    rows = X if isinstance(X, pd.DataFrame) else np.asarray(X)
    if isinstance(rows, pd.DataFrame):
        check_unique(rows.columns)
    if rows.ndim != 2 or 0 in rows.shape:
        raise PermGradError(f"X must have rows and columns, at least one of each, got shape {rows.shape}")
    return rows


def _as_numbers(rows: Any) -> np.ndarray:
    frame = pd.DataFrame(rows).infer_objects()
    check_numeric(frame)
    return frame.to_numpy(np.float32)


def response_of(model: Any, task: str | None) -> tuple[Callable[[Any], Any], bool]:
    """Return the method to ask, and whether it tells probabilities of classes."""
    check_instance(model)
    if type(model).__name__ == "Booster" and type(model).__module__.startswith("xgboost"):
        raise PermGradError(
            "xgboost's Booster predicts of a DMatrix, not of a table's rows; load it into XGBClassifier or XGBRegressor"
            " (load_model takes its file), or pass an object with predict_proba or predict"
        )
    if task != "regression" and hasattr(model, "predict_proba"):
        return Asked(model, "predict_proba"), True
    if task == "classification" or (task is None and np.size(getattr(model, "classes_", ()))):
        raise PermGradError(
            f"{type(model).__name__} has no predict_proba, but log loss needs probabilities; wrap it in scikit-learn's"
            " CalibratedClassifierCV, or use score_importance with scoring='accuracy'"
        )
    if not hasattr(model, "predict"):
        raise PermGradError(
            f"expected a Keras model, or a fitted estimator with predict_proba or predict, got {type(model).__name__}"
        )
    return Asked(model, "predict"), False


def _said(width: int, of_classes: bool) -> Output:
    if not of_classes:
        return Output(width, loss="values")
    return Output(width, "sigmoid", "binary") if width == 1 else Output(width, "softmax", "categorical")


def _unit(output: int | str | None, y: Any) -> int | None:
    """Return the position of an output that is named as a column of `y`, or by position."""
    names = [str(name) for name in y.columns] if isinstance(y, pd.DataFrame) else []
    if isinstance(output, str):
        if output not in names:
            raise PermGradError(f"there is no output {output!r}; pass output= a position, or the name of a column of y")
        return names.index(output)
    return output


def _labels(model: Any, classes: Sequence[Any] | None) -> list[Any] | None:
    """Return the labels that an estimator knows, None where it says none."""
    own = np.asarray(getattr(model, "classes_", ())).tolist()
    if own and classes is not None:
        raise PermGradError(f"the estimator's classes are {listing(own)}; leave classes= out")
    return own or None


def _class_numbers(y: Any, labels: list[Any]) -> np.ndarray:
    number = {label: i for i, label in enumerate(labels)}
    given = np.asarray(y)
    given = (given[:, 0] if given.ndim == 2 and given.shape[1] == 1 else given).tolist()
    unknown = {str(label) for label in given if isinstance(label, list) or label not in number}
    if unknown:
        raise PermGradError(f"y holds labels that the model does not know: {listing(sorted(unknown))}")
    return np.array([number[label] for label in given], int)


def predictions_of(answer: Any, n_rows: int) -> np.ndarray:
    """Return predictions as (n_rows, n_outputs), float64."""
    if isinstance(answer, list) and answer and np.ndim(answer[0]) == 2:
        raise PermGradError("the model predicts several targets at once; pass a model with a single target")
    try:
        values = np.asarray(answer).astype(float)
    except (TypeError, ValueError) as error:
        raise PermGradError(
            f"the model's predictions are not numbers: {error}; pass a model with predict_proba"
        ) from error
    if len(np.atleast_1d(values)) != n_rows or not np.isfinite(values).all():
        raise PermGradError(f"expected a finite prediction for each of {n_rows} rows, got shape {values.shape}")
    return values.reshape(n_rows, -1)


class NetworkOfTable:
    """A Keras model that is given a table's columns: as its one input, or each as an input of its own."""

    def __init__(self, network: Any, rows: Any) -> None:
        self.network, names = network, column_names(rows)
        inputs = getattr(network, "inputs", None) or []
        widths = [math.prod(tensor.shape[1:]) for tensor in inputs]
        self.split = len(inputs) > 1
        self.order = list(range(rows.shape[1]))
        if (inputs and sum(widths) != rows.shape[1]) or (self.split and max(widths) > 1):
            raise PermGradError(
                f"the model takes {listing(widths)} numbers per row, the table has {rows.shape[1]} columns"
                f"{'' if names is None else ': ' + listing(names)}; pass those that it was trained on, in their order"
            )
        if self.split and names is not None:
            wanted = [str(tensor.name) for tensor in inputs]
            if set(wanted) != set(names):
                raise PermGradError(f"the model's inputs are {listing(wanted)}, the table's columns {listing(names)}")
            self.order = [names.index(name) for name in wanted]
        self.shapes = [tuple(tensor.shape[1:]) for tensor in inputs]

    def __call__(self, rows: Any) -> np.ndarray:
        """Return the network's outputs for rows of such a table, (n_rows, n_outputs)."""
        values = _as_numbers(rows)[:, self.order]
        parts = [values[i : i + ROWS_PER_CALL] for i in range(0, len(values), ROWS_PER_CALL)]
        return np.concatenate([self._outputs(part) for part in parts])

    def _outputs(self, values: np.ndarray) -> np.ndarray:
        n = len(values)
        if self.split:
            given: Any = [values[:, i].reshape(n, *shape) for i, shape in enumerate(self.shapes)]
        else:
            given = values.reshape(n, *self.shapes[0]) if self.shapes else values
        return keras.ops.convert_to_numpy(self.network(given, training=False)).reshape(n, -1)
