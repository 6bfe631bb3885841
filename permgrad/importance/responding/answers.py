"""What a model answers to rows some of whose columns have other rows' values: many such questions in few calls."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import logit

from permgrad.backend import keras
from permgrad.data.rows import check_sample_weight, weights_and_groups
from permgrad.data.streamed import StreamedTable
from permgrad.data.table import Table, as_frame
from permgrad.errors import PermGradError, listing
from permgrad.importance.budget import check_random_state
from permgrad.importance.game.local import LEAST_PROBABILITY
from permgrad.importance.network.opaque import NetworkOfTable, predictions_of, response_of, table_of_rows
from permgrad.importance.permuting._stacking import CELLS_PER_CALL, stacked
from permgrad.importance.responding.grid import codes_of
from permgrad.metrics.outputs import task_of

Scale = Literal["log-odds", "probability"]
SCALES = ("log-odds", "probability")
Taken = Mapping[int, np.ndarray]
"""Column → for each row the row whose value it takes."""


@dataclass(frozen=True, eq=False)
class Question:
    """Rows to predict, some of whose columns have other rows' values.

    Attributes
    ----------
    rows : ndarray of shape (m,), int
    taken : mapping of int to ndarray of shape (m,), int
    """

    rows: np.ndarray
    taken: Taken


@dataclass(frozen=True, eq=False)
class Answers:
    """A fitted model and rows of a table, to be asked about these rows with values of each other.

    Attributes
    ----------
    columns : DataFrame of shape (n_rows, n_columns)
        The rows, readable: numbers, dates and categories as such.
    respond : callable
        ``respond(rows, taken)`` → probabilities (m, n_classes), or values (m, 1).
    classes : tuple of str or None
    unseen : tuple of str
        Columns that the model is known not to read.
    weights, groups : array of shape (n_rows,), optional
        See `permgrad.permutation_importance`.
    scale : {"log-odds", "probability"}
        In what classes are answered for.
    """

    columns: pd.DataFrame
    respond: Callable[[np.ndarray, Taken], np.ndarray]
    classes: tuple[str, ...] | None = None
    unseen: tuple[str, ...] = ()
    weights: np.ndarray | None = None
    groups: Any = None
    scale: Scale = "log-odds"
    _codes: dict[int, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def unit(self) -> str:
        """In what answers are counted."""
        return "the target's unit" if self.classes is None else self.scale

    @property
    def features(self) -> list[str]:
        """The columns' names."""
        return self.columns.columns.tolist()

    def position(self, name: str) -> int:
        """Return a column's position.

        Raises
        ------
        PermGradError
            If there is no such column.
        """
        if name not in self.features:
            raise PermGradError(f"there is no column {name!r}; the rows have {listing(self.features, 12)}")
        return self.features.index(name)

    def codes(self, column: int) -> np.ndarray:
        """Return the number of each row's value among a column's; missing is a value like others."""
        if column not in self._codes:
            self._codes[column] = codes_of(self.columns.iloc[:, column])
        return self._codes[column]

    def some(self, most: int, random_state: int) -> Answers:
        """Return the same of at most so many of the rows, drawn at random."""
        if len(self) <= most:
            return self
        at = np.sort(np.random.default_rng(random_state).permutation(len(self))[:most])

        def respond(rows: np.ndarray, taken: Taken) -> np.ndarray:
            return self.respond(at[rows], {column: at[source] for column, source in taken.items()})

        weights = None if self.weights is None else self.weights[at] / self.weights[at].mean()
        groups = None if self.groups is None else self.groups[at]
        columns = self.columns.iloc[at].reset_index(drop=True)
        return replace(self, columns=columns, respond=respond, weights=weights, groups=groups, _codes={})

    @functools.cached_property
    def own(self) -> np.ndarray:
        """The answers to the rows as they are, (n_rows, width)."""
        rows, size = np.arange(len(self)), self._rows_per_call
        return np.concatenate([self._said(rows[i : i + size], {}) for i in range(0, len(rows), size)])

    def to(self, questions: Iterable[Question]) -> Iterator[np.ndarray]:
        """Yield the answers to each question in turn, (m, width): log-odds, probabilities or values; float64.

        Of two classes the second is answered for: width 1. What a row is asked with its own values is not predicted
        again; the others are, those of many questions in a call.
        """
        waiting: list[Question] = []
        size = 0
        for question in questions:
            waiting.append(question)
            size += len(question.rows)
            if size >= self._rows_per_call:
                yield from self._together(waiting)
                waiting, size = [], 0
        if waiting:
            yield from self._together(waiting)

    @property
    def _rows_per_call(self) -> int:
        return max(1, CELLS_PER_CALL // self.columns.shape[1])

    def _together(self, questions: Sequence[Question]) -> list[np.ndarray]:
        rows = np.concatenate([question.rows for question in questions])
        ends = np.cumsum([len(question.rows) for question in questions])
        taken: dict[int, np.ndarray] = {}
        for question, end in zip(questions, ends, strict=True):
            for column, source in question.taken.items():
                taken.setdefault(column, rows.copy())[end - len(source) : end] = source
        differs = np.zeros(len(rows), bool)
        for column, source in taken.items():
            differs |= self.codes(column)[source] != self.codes(column)[rows]
        answers = self.own[rows]
        anew = np.flatnonzero(differs)
        for i in range(0, len(anew), self._rows_per_call):
            part = anew[i : i + self._rows_per_call]
            answers[part] = self._said(rows[part], {column: source[part] for column, source in taken.items()})
        return np.split(answers, ends[:-1])

    def _said(self, rows: np.ndarray, taken: Taken) -> np.ndarray:
        said = np.asarray(self.respond(rows, taken), float).reshape(len(rows), -1)
        if self.classes is None:
            return said
        if said.shape[1] == 2:
            said = said[:, 1:]
        return logit(np.clip(said, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)) if self.scale == "log-odds" else said


def answers_of(
    model: Any,
    X: Any,
    *,
    classes: Sequence[Any] | None = None,
    task: str | None = None,
    scale: str = "log-odds",
    max_rows: int | None = None,
    random_state: int = 0,
) -> Answers:
    """Take a fitted estimator or a Keras model of a table, and rows to ask it about.

    Parameters
    ----------
    model : fitted estimator or keras.Model
    X : DataFrame, Table or array of shape (n_rows, n_columns)
    classes, task : optional
        Of a Keras model, or one that says no ``classes_``, see `permgrad.rank_features`.
    scale : {"log-odds", "probability"}
    max_rows : int, optional
        So many of the rows are drawn where there are more.
    random_state : int
        Of the draw.

    Raises
    ------
    PermGradError
        If the model cannot be asked, or predicts several targets.
    """
    if scale not in SCALES:
        raise PermGradError(f"scale must be one of {listing(SCALES)}, got {scale!r}")
    check_random_state(random_state)
    weights, groups = weights_and_groups(X, None, None)
    X, drawn = _drawn(X, max_rows, random_state)
    known: dict[str, Any] = {"scale": scale}
    if weights is not None:
        weights = check_sample_weight(weights, len(weights))[drawn]
        known["weights"] = weights / weights.mean()
    if groups is not None:
        known["groups"] = np.asarray(pd.factorize(np.asarray(groups))[0])[drawn]
    if hasattr(model, "answers"):  # an estimator of ours, which encodes the rows once
        columns, respond, labels, unseen = model.answers(X)
    else:
        columns, unseen = as_frame(X).reset_index(drop=True), ()
        respond, labels = (
            _network(model, X, classes, task) if isinstance(model, keras.Model) else _outside(model, X, classes, task)
        )
    answers = Answers(columns, respond, None if labels is None else tuple(map(str, labels)), unseen, **known)
    if answers.classes is None and answers.own.shape[1] > 1:
        raise PermGradError(
            f"expected a model with one output, this model has {answers.own.shape[1]}; pass a model with one of them"
        )
    return answers


def _drawn(X: Any, max_rows: int | None, random_state: int) -> tuple[Any, np.ndarray]:
    """Return at most so many rows, in their order, and which they are."""
    if isinstance(X, StreamedTable):
        raise PermGradError("expected rows in memory, got a StreamedTable; draw a sample: table.draw(2000, 0)[0]")
    if not isinstance(X, Table):
        X = table_of_rows(X) if isinstance(X, (pd.DataFrame, np.ndarray)) else as_frame(X)
    rows = np.arange(len(X))
    if max_rows is None or len(rows) <= max_rows:
        return X, rows
    if max_rows < 1:
        raise PermGradError(f"max_rows must be at least 1, got {max_rows}")
    rows = np.sort(np.random.default_rng(random_state).permutation(rows)[:max_rows])
    return (X.take(rows) if isinstance(X, Table) else X.iloc[rows] if isinstance(X, pd.DataFrame) else X[rows]), rows


def _outside(
    model: Any, X: Any, classes: Sequence[Any] | None, task: str | None
) -> tuple[Callable[[np.ndarray, Taken], np.ndarray], Any]:
    rows = table_of_rows(X)
    ask, of_classes = response_of(model, task)
    labels = np.asarray(getattr(model, "classes_", () if classes is None else classes)).tolist()
    if of_classes and not labels:
        ask(rows[:1])  # an unfitted model says so
        raise PermGradError(f"{type(model).__name__} has no classes_; pass classes=, in the order of its probabilities")

    def respond(at: np.ndarray, taken: Taken) -> np.ndarray:
        return predictions_of(ask(stacked(rows, at, taken)), len(at))

    return respond, labels if of_classes else None


def _network(
    model: Any, X: Any, classes: Sequence[Any] | None, task: str | None
) -> tuple[Callable[[np.ndarray, Taken], np.ndarray], Any]:
    rows = table_of_rows(X)
    known, _, names = task_of(model, None, classes=classes, task=task)
    network = NetworkOfTable(model, rows)

    def respond(at: np.ndarray, taken: Taken) -> np.ndarray:
        return known.probabilities(predictions_of(network(stacked(rows, at, taken)), len(at)))

    return respond, names if known.n_classes else None
