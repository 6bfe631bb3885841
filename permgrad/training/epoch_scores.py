"""A callback that scores a network after every epoch: recall of one class, or any of scikit-learn's scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, is_classifier

from permgrad.backend import keras
from permgrad.errors import PermGradError
from permgrad.metrics.outputs import one_output, output_of
from permgrad.metrics.scorers import Scorer, get_scorer, scoring_name
from permgrad.metrics.task import understand

ROWS_PER_CALL = 1024


class EpochScores(keras.callbacks.Callback):
    """Record scores on several sets of rows after each epoch, with the network in prediction mode (no dropout).

    For an estimator: ``EpochScores(["recall[malignant]"], {"train": (X, y)}, estimator=model)``, then
    ``model.fit(..., callbacks=[it])``. For a Keras model: ``keras_model.fit(..., callbacks=[it])``.

    Parameters
    ----------
    scoring : sequence of str or callable
        See `get_scorer`.
    rows : mapping of str to (X, y)
        Such as ``{"train": (X, y), "validation": (X_val, y_val)}``. With an estimator, as its `fit` takes them;
        else the model's inputs (an array, or a list of arrays) and class numbers or target values.
    estimator : estimator, optional
        The estimator whose network is trained: it encodes X.
    classes : sequence, optional
        For a Keras model, the label of each class; y then holds labels. By default the numbers 0, 1, ..., where the
        model's end, its loss and y are of classes; else values are scored, or shares between 0 and 1. A single output
        is of the second of two classes.
    output : int or str, optional
        For a Keras model with several outputs: which of them, by position or name.
    window : int
        Epochs over which the spread is taken.

    Attributes
    ----------
    table : DataFrame
        One row for each epoch, set of rows and score: ``epoch`` (from 1), ``rows``, ``score``, ``value``, and
        ``spread``: the standard deviation (ddof 0) of the last `window` values, fewer at the start.

    Raises
    ------
    PermGradError
        For an unknown scorer or class, nothing to score, or a window that is none; at the end of an epoch, if the
        model's output does not fit, or what it means is ambiguous.

    Examples
    --------
    >>> small = pg.HybridClassifier(preset="fast", branches="tabular", dense_units=(4,), epochs=1)
    >>> scores = pg.EpochScores(["accuracy"], {"train": (train.X, train.y)}, estimator=small)
    >>> small = small.fit(train.X, train.y, callbacks=[scores])
    >>> scores.table[["epoch", "rows", "score"]]
       epoch   rows     score
    0      1  train  accuracy
    """

    def __init__(
        self,
        scoring: Sequence[str | Scorer],
        rows: Mapping[str, tuple[Any, Any]],
        *,
        estimator: Any = None,
        classes: Sequence[Any] | None = None,
        output: int | str | None = None,
        window: int = 3,
    ) -> None:
        super().__init__()
        if isinstance(scoring, str) or not scoring or not rows:
            raise PermGradError("EpochScores needs a list of at least one score, and at least one set of rows")
        if window < 1:
            raise PermGradError(f"window must be at least 1 epoch, got {window}")
        self.scorers = {scoring_name(each): get_scorer(each) for each in scoring}
        self.rows, self.estimator, self.classes, self.window = dict(rows), estimator, classes, window
        self.output = output
        self._scores: list[dict[str, Any]] = []

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Forget an earlier training."""
        self._scores = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Predict each set of rows once, and take all scores from that."""
        for name, (X, y) in self.rows.items():
            predicted = self._predicted(X, y)
            for score, scorer in self.scorers.items():
                value = float(scorer(predicted, predicted.rows, np.asarray(y)))
                self._scores.append({"epoch": epoch + 1, "rows": name, "score": score, "value": value})

    @property
    def table(self) -> pd.DataFrame:
        """The scores of all epochs, see the class."""
        table = pd.DataFrame(self._scores, columns=["epoch", "rows", "score", "value"])
        values = table.groupby(["rows", "score"], sort=False)["value"]
        spread = values.transform(lambda each: each.rolling(self.window, min_periods=1).std(ddof=0))
        return table.assign(spread=spread.astype(float))

    def _predicted(self, X: Any, y: Any) -> _Predicted | _PredictedNumbers:
        model, classes, task = one_output(self.model, self.output), self.classes, None
        if self.estimator is not None:
            X, y = self.estimator._encode(X), None
            task = "classification" if is_classifier(self.estimator) else "regression"
            classes = self.estimator.classes_ if is_classifier(self.estimator) else None
        outputs = _output(model, X)
        # Labels need not be numbers; that they are given says what the output is of.
        known, _, names = understand(output_of(model, outputs.shape[1]), y if classes is None else None, classes, task)
        predicted = known.probabilities(outputs)
        if not known.n_classes:
            return _PredictedNumbers(predicted[:, 0] if known.width == 1 else predicted)
        return _Predicted(predicted, np.array(range(len(names or ())) if classes is None else classes))


def _output(model: Any, inputs: Any) -> np.ndarray:
    """Return the model's output, float32 (n_rows, n_outputs).

    The model is called, not told to `predict`: that would take the place of what Keras has compiled for training.
    """
    many = isinstance(inputs, (list, tuple))
    parts = [np.asarray(each) for each in (inputs if many else [inputs])]
    blocks = [slice(i, i + ROWS_PER_CALL) for i in range(0, len(parts[0]), ROWS_PER_CALL)]
    outputs = [
        keras.ops.convert_to_numpy(
            model([part[block] for part in parts] if many else parts[0][block], training=False)
        ).astype(np.float32)
        for block in blocks
    ]
    output = np.concatenate(outputs)
    return output.reshape(len(output), -1)


class _Predicted(ClassifierMixin, BaseEstimator):
    """A classifier that has predicted already: what a scorer needs."""

    def __init__(self, output: np.ndarray, classes: np.ndarray) -> None:
        self.output, self.classes_ = output, classes

    @property
    def rows(self) -> np.ndarray:
        return self.output

    def predict_proba(self, X: Any) -> np.ndarray:
        return self.output

    def predict(self, X: Any) -> np.ndarray:
        return self.classes_[self.output.argmax(axis=1)]


class _PredictedNumbers(RegressorMixin, BaseEstimator):
    def __init__(self, output: np.ndarray) -> None:
        self.output = output

    @property
    def rows(self) -> np.ndarray:
        return self.output.reshape(len(self.output), -1)

    def predict(self, X: Any) -> np.ndarray:
        return self.output
