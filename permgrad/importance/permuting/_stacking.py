"""Permuted copies of a table below each other, so that a model predicts many of them in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

CELLS_PER_CALL = 5_000_000
"""Of permuted rows that are predicted at once; the table's own number of rows at least."""


def stacked(table: Any, rows: np.ndarray, taken: Mapping[int, np.ndarray]) -> Any:
    """Return some rows of a table, some columns of them with other rows' values.

    Parameters
    ----------
    table : DataFrame or ndarray of shape (n_rows, n_columns)
    rows : ndarray of shape (m,), int
        Which rows, in any order, also repeatedly.
    taken : mapping of int to ndarray of shape (m,), int
        Column → the rows that its values are taken from; the other columns keep theirs.

    Returns
    -------
    DataFrame or ndarray of shape (m, n_columns)
        As the table is, each column of its own type; a DataFrame's rows are numbered anew.
    """
    if not isinstance(table, pd.DataFrame):
        values = table[rows]
        for column, source in taken.items():
            values[:, column] = table[source, column]
        return values
    frame = table.take(rows).reset_index(drop=True)
    for column, source in taken.items():
        frame.isetitem(column, table.iloc[:, column].take(source).array)
    return frame
