"""Masking curves: loss and accuracy with some features of an order and constants for the others; nothing is retrained.

Keeping the best features alone asks what suffices; taking the best ones away asks what is missed. Where many features
carry the same information, no single one is missed; that the network relies on them shows when they go together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from permgrad.data.cells import Cells
from permgrad.errors import PermGradError
from permgrad.importance.budget import check_random_state
from permgrad.importance.ranking import FeatureRanking
from permgrad.metrics.asking import ask
from permgrad.metrics.losses import cross_entropy
from permgrad.metrics.scores import mean_class_accuracy

ROWS_PER_CALL = 1024
Order = np.ndarray | FeatureRanking


def masking_counts(n_features: int) -> list[int]:
    """Return 0, then 1, 2, 5, 10, 20, 50, ... and last all features."""
    steps = [digit * 10**power for power in range(len(str(n_features))) for digit in (1, 2, 5)]
    return [0, *(count for count in steps if count < n_features), n_features]


def masking_curve(
    model: Any,
    X: Any,
    y: Any,
    order: Order,
    step: int | None = None,
    *,
    counts: Sequence[int] | None = None,
    values: Any = 0.0,
    first: Literal["kept", "masked"] = "kept",
    task: Literal["classification"] | None = None,
    output: int | str | None = None,
) -> pd.DataFrame:
    """Score a model that sees only the first features of an order, more and more of them; the rest are constant.

    Parameters
    ----------
    model : keras.Model or fitted estimator
        A network (n_rows, n_features) → class probabilities or logits; or anything with ``predict`` and ``classes_``,
        such as a `SelectorClassifier` or scikit-learn's ``LinearSVC``.
    X : ndarray, DataFrame, sparse matrix, RowsOnDisk or Cells of shape (n_rows, n_features)
        Rows that the model was not trained on. They are made dense in blocks.
    y : array of shape (n_rows,)
        Class numbers for a network, labels for an estimator.
    order : ndarray of shape (n_features,), int, or FeatureRanking
        Positions of the features, the best first.
    step : int, optional
        Step between the numbers of features: 0, step, 2 * step, ..., all.
    counts : sequence of int, optional
        The numbers of features; by default, without a step, `masking_counts`.
    values : float or ndarray of shape (n_features,)
        What replaces a masked column: 0, or the means of the training rows.
    first : {"kept", "masked"}
        What happens to the first features of the order.
    task, output : optional
        Of a network; see `permutation_importance`.

    Returns
    -------
    DataFrame
        For each number: ``kept``, ``masked``, ``loss`` (mean cross-entropy; NaN for an estimator without
        ``predict_proba``), ``accuracy`` and ``balanced_accuracy`` (recall, averaged over the classes that there are).

    Raises
    ------
    PermGradError
        If the order does not contain all features, a number is out of range, labels are unknown to the model, or the
        meaning of the network's output is ambiguous.

    Examples
    --------
    >>> curve = pg.masking_curve(logistic, test.X, test.y, ranking, counts=[0, 2, 4])
    >>> curve[["kept", "masked"]]
       kept  masked
    0     0       4
    1     2       2
    2     4       0
    """
    rows = X.X if isinstance(X, Cells) else X
    n_rows, n_features = rows.shape
    order = np.asarray(order.order if isinstance(order, FeatureRanking) else order)
    counts = _counts(n_features, step, counts)
    if not np.array_equal(np.sort(order), np.arange(n_features)):
        raise PermGradError(f"order must name each of the {n_features} columns once")
    if first not in ("kept", "masked"):
        raise PermGradError(f"first must be 'kept' or 'masked', got {first!r}")
    predictor = _Model(model, task, output)
    true = predictor.class_numbers(y)
    if len(true) != n_rows:
        raise PermGradError(f"X and y must have the same number of rows, got {n_rows} and {len(true)}")
    constants = np.broadcast_to(np.asarray(values, np.float32), (n_features,))
    place = np.empty(n_features, int)
    place[order] = np.arange(n_features)
    losses = np.zeros(len(counts))
    predicted = np.empty((len(counts), n_rows), int)
    for at, block, names in _blocks(rows):
        for i, count in enumerate(counts):
            stays = place < count if first == "kept" else place >= count
            of_rows, predicted[i, at] = predictor.predict(np.where(stays, block, constants), true[at], names)
            losses[i] += of_rows.sum()
    kept = np.array(counts) if first == "kept" else n_features - np.array(counts)
    return pd.DataFrame(
        {
            "kept": kept,
            "masked": n_features - kept,
            "loss": losses / n_rows,
            "accuracy": (predicted == true).mean(axis=1),
            "balanced_accuracy": [mean_class_accuracy(true, guess) for guess in predicted],
        }
    )


def random_masking(
    model: Any,
    X: Any,
    y: Any,
    step: int | None = None,
    *,
    counts: Sequence[int] | None = None,
    values: Any = 0.0,
    first: Literal["kept", "masked"] = "kept",
    task: Literal["classification"] | None = None,
    output: int | str | None = None,
    n_orders: int = 5,
    random_state: int = 0,
) -> pd.DataFrame:
    """Return the mean of `masking_curve` over random orders: the baseline that a ranking has to beat.

    Parameters
    ----------
    model, X, y, step, counts, values, first, task, output
        As for `masking_curve`.
    n_orders : int
    random_state : int

    Returns
    -------
    DataFrame
        As for `masking_curve`, and ``<measure>_sd`` over the orders (ddof 1).

    Examples
    --------
    >>> curve = pg.random_masking(logistic, test.X, test.y, counts=[0, 2, 4], n_orders=2)
    >>> curve["kept"].tolist()
    [0, 2, 4]
    """
    if n_orders < 2:
        raise PermGradError(f"n_orders must be at least 2, got {n_orders}")
    check_random_state(random_state)
    rng = np.random.default_rng(random_state)
    n_features = (X.X if isinstance(X, Cells) else X).shape[1]
    given: Any = {"counts": counts, "values": values, "first": first, "task": task, "output": output}
    curves = [masking_curve(model, X, y, rng.permutation(n_features), step, **given) for _ in range(n_orders)]
    measures = ["loss", "accuracy", "balanced_accuracy"]
    stacked = np.stack([curve[measures].to_numpy() for curve in curves])  # (n_orders, n_counts, 3)
    mean = curves[0][["kept", "masked"]].copy()
    mean[measures] = stacked.mean(axis=0)
    mean[[f"{name}_sd" for name in measures]] = stacked.std(axis=0, ddof=1)
    return mean


def _counts(n_features: int, step: int | None, counts: Sequence[int] | None) -> list[int]:
    if step is not None and counts is not None:
        raise PermGradError("give either step or counts")
    if step is not None and step < 1:
        raise PermGradError(f"step must be at least 1, got {step}")
    if step is not None:
        return [*range(0, n_features, step), n_features]
    chosen = masking_counts(n_features) if counts is None else [int(count) for count in counts]
    if not chosen or min(chosen) < 0 or max(chosen) > n_features:
        raise PermGradError(f"counts must be between 0 and {n_features}, at least one, got {chosen}")
    return chosen


class _Model:
    """A network or an estimator: class numbers of true labels, and what it predicts of rows."""

    def __init__(self, model: Any, task: str | None, output: int | str | None) -> None:
        self.estimator = model if hasattr(model, "classes_") else None
        if self.estimator is None:
            from permgrad.metrics.outputs import one_output  # Keras takes seconds to import

            self.network, self.wanted = one_output(model, output), task

    def class_numbers(self, y: Any) -> np.ndarray:
        """Return the true classes' numbers, and keep what the network's output means."""
        labels = np.asarray(y)
        if self.estimator is not None:
            if not np.isin(labels, self.estimator.classes_).all():
                raise PermGradError("y holds labels that the model does not know")
            return np.searchsorted(self.estimator.classes_, labels)
        if labels.dtype.kind not in "iufb":
            raise PermGradError(
                "a network needs class numbers 0, 1, ... as y; give it with an estimator for other labels"
            )
        from permgrad.metrics.outputs import task_of

        self.task, numbers, _ = task_of(self.network, labels, task=self.wanted)
        if numbers is None or not self.task.n_classes:
            raise PermGradError(
                "a masking curve is of classes, but the network, its loss and y are of values or shares; pass"
                " task='classification' if y holds class numbers"
            )
        return numbers

    def predict(self, block: np.ndarray, true: np.ndarray, names: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return each row's loss, NaN from an estimator without probabilities, and its class number."""
        if self.estimator is None:
            from permgrad.backend import keras

            given = keras.ops.convert_to_numpy(self.network(block, training=False))
            given = given.reshape(len(given), -1)
            return self.task.losses(true, given), self.task.probabilities(given).argmax(axis=1)
        rows = block if names is None else pd.DataFrame(block, columns=names)
        if not hasattr(self.estimator, "predict_proba"):
            guess = np.searchsorted(self.estimator.classes_, ask(self.estimator, "predict", rows))
            return np.full(len(block), np.nan), guess
        p = np.asarray(ask(self.estimator, "predict_proba", rows))
        return cross_entropy(true, p), p.argmax(axis=1)


def _blocks(rows: Any) -> Iterator[tuple[slice, np.ndarray, Any]]:
    """Yield rows block by block, dense, with their names, where they have any."""
    names = rows.columns if isinstance(rows, pd.DataFrame) else None
    rows = rows.to_numpy() if isinstance(rows, pd.DataFrame) else rows
    n_blocks = max(1, math.ceil(rows.shape[0] / ROWS_PER_CALL))
    for i in range(n_blocks):
        at = slice(i * ROWS_PER_CALL, min((i + 1) * ROWS_PER_CALL, rows.shape[0]))
        block = rows[at]
        yield at, np.asarray(block.toarray() if sparse.issparse(block) else block, np.float32), names
