"""Fitting on a table larger than memory: columns are learned from a sample of rows, the network from all of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import validate_data

from permgrad.data.encoding import ColumnEncoder
from permgrad.data.in_files import RowsInFiles
from permgrad.data.streamed import StreamedTable, check_classes
from permgrad.data.table import Table, check_columns
from permgrad.errors import PermGradError, as_permgrad_error
from permgrad.estimators._card import rows_given
from permgrad.training.fit import Rows, fit_network

Part = tuple[StreamedTable, Any]
"""Rows to fit on, and those that decide when to stop: a table in memory, (X, y), streamed ones, or None."""


def fit_streamed(
    estimator: Any, table: StreamedTable, others: tuple[Any, Any], validation_data: Any, callbacks: Sequence[Any]
) -> None:
    """Fit an estimator of tables, its ``random_state_`` known, on rows in files.

    Encoding, scales and layout are those of a sample of the training rows, ``table.sample_rows`` of them; so many of
    the rows set apart decide when to stop, in memory. The target's classes, prior, mean and spread are those of all.

    Parameters
    ----------
    estimator : TableEstimator
    table : StreamedTable
    others : (y, sample_weight)
        Neither can be given: the target is the table's, and rows are not weighted.
    validation_data, callbacks
        As of ``fit``; validation data may be a `StreamedTable` too.

    Raises
    ------
    PermGradError
        For what cannot be streamed, and what `Table` refuses of the sample.

    Warns
    -----
    UserWarning
        Saying how many rows were drawn to learn of columns.
    """
    _check(estimator, table, *others)
    parts = _parts(estimator, table, validation_data)
    seen = parts[0][0] if len(parts) == 1 else table
    sample = seen.sample(estimator.random_state_)
    if len(sample) < len(seen):
        warnings.warn(
            f"scales, categories and layout are those of {len(sample):,} of {len(seen):,} training rows",
            stacklevel=3,
        )
    _fit_columns(estimator, seen, sample)
    encoded = estimator.encoder_.encode(sample.X)
    estimator._fit_shared(encoded)
    estimator.networks_ = []
    logs, n_held = [], 0
    for number, (train, deciding) in enumerate(parts):
        held = None if deciding is None else _held(estimator, sample, deciding)
        n_held = 0 if held is None else len(held[1])
        logs.append(_fit_network(estimator, train, encoded, held, number, validation_data is not None, callbacks))
    estimator.history_, estimator.kept_epoch_ = logs[0]
    estimator.trained_on_ = rows_given(table, table.y, n_validation=n_held, apart=validation_data is None)


def rows_for(estimator: Any, X: StreamedTable | RowsInFiles) -> RowsInFiles:
    """Return rows in files as a fitted estimator's networks take them.

    Raises
    ------
    PermGradError
        If their columns are others than at fit.
    """
    rows = X.X if isinstance(X, StreamedTable) else X
    check_columns(rows.columns, estimator.features_, "X")
    return rows.encoded(estimator.encoder_)


def encoded_target(estimator: Any, y: pd.Series) -> np.ndarray:
    """Return a streamed table's target as the network is trained on it: of labels, each level's number is looked up."""
    if not isinstance(y.dtype, pd.CategoricalDtype):
        return estimator._encode_target(y)
    return estimator._encode_target(pd.Series(y.cat.categories))[y.cat.codes]


def _check(estimator: Any, table: StreamedTable, y: Any, sample_weight: Any) -> None:
    if y is not None:
        raise PermGradError("a StreamedTable brings its target along; leave y out")
    if sample_weight is not None:
        raise PermGradError("rows of a StreamedTable are not weighted; leave sample_weight out")
    if table.task != estimator._task:
        raise PermGradError(f"{type(estimator).__name__} is for {estimator._task}, the table's task is {table.task}")
    check_classes(table)


def _parts(estimator: Any, table: StreamedTable, validation_data: Any) -> list[Part]:
    """Return for each network the rows to fit on, and those that decide when to stop."""
    n, share = estimator._n_networks, estimator.validation_fraction
    if isinstance(validation_data, StreamedTable):
        check_columns(validation_data.features, table.features, "validation_data")
    if validation_data is not None:
        return [(table, validation_data)] * n
    if not 0 <= share < 1:
        raise PermGradError(f"validation_fraction must be in [0, 1), got {share}")
    if share == 0:
        return [(table, None)] * n
    ends = [(0.0, share)] if n == 1 else [(i / n, (i + 1) / n) for i in range(n)]
    parts = [table.apart(low, high, estimator.random_state_) for low, high in ends]
    for train, deciding in parts:
        check_classes(train)
        if not len(deciding):
            raise PermGradError(f"{len(table)} rows are too few to set some apart; read them whole: Table.from_file")
    return list(parts)


def _fit_columns(estimator: Any, table: StreamedTable, sample: Table) -> None:
    """Learn columns from the sample, and the target from all rows."""
    with as_permgrad_error():
        validate_data(estimator, sample.X, skip_check_array=True)
    estimator.features_ = tuple(sample.features)
    estimator.encoder_ = ColumnEncoder().fit(sample)
    labels = isinstance(table.y.dtype, pd.CategoricalDtype)
    estimator._fit_target(pd.Series(table.y.cat.categories) if labels else table.y)
    estimator._fit_row_weights(encoded_target(estimator, table.y), None)


def _held(estimator: Any, sample: Table, deciding: Any) -> Rows:
    """Return rows that decide when to stop, in memory; of streamed ones, as many as a sample has."""
    if isinstance(deciding, StreamedTable):
        deciding = deciding.draw(deciding.sample_rows, estimator.random_state_)
    table = sample.more_rows(deciding)
    target = estimator._encode_target(table.y)
    weight = estimator._row_weights(target, None)
    rows = (estimator.encoder_.encode(table.X), target)
    return rows if weight is None else (*rows, weight.astype(np.float32))


def _fit_network(
    estimator: Any,
    train: StreamedTable,
    encoded_sample: np.ndarray,
    deciding: Rows | None,
    number: int,
    shared: bool,
    callbacks: Sequence[Any],
) -> tuple[dict[str, list[float]], int]:
    """Add a network trained on rows in files; return what training logged, and the epoch whose weights it has."""
    network_config, training = estimator._configs(len(train), estimator.random_state_ + number)
    target = encoded_target(estimator, train.y)
    weight = estimator._row_weights(target, None)
    of_rows = (target,) if weight is None else (target, weight.astype(np.float32))
    # No deciding rows are given: what a screening would look for in few rows, many tell by themselves.
    network = estimator._build(network_config, (encoded_sample, *of_rows), None)
    estimator.networks_.append(network)  # now: callbacks may predict while it is trained
    history, kept = fit_network(
        network,
        (rows_for(estimator, train), *of_rows),
        deciding,
        training,
        task=estimator._task,
        callbacks=callbacks,
        verbose=estimator.verbose,
        devices=estimator.devices,
    )
    estimator._after_training(network, deciding, number, shared)
    return history, kept
