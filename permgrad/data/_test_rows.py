"""Test rows from another file: behind the rows of a table, and of its columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from permgrad.data._frames import as_named_frame
from permgrad.data._targets import as_task
from permgrad.data.rows import PARTS, RowFacts, taken_columns
from permgrad.errors import PermGradError, listing

if TYPE_CHECKING:
    from permgrad.data.table import Table


def rows_to_test(
    table: Table, frame: pd.DataFrame, columns: Mapping[str, str]
) -> tuple[pd.DataFrame, pd.Series, RowFacts]:
    """Return columns and target of the test rows in another frame, and the facts of the table's rows and theirs.

    Parameters
    ----------
    table : Table
    frame : DataFrame
        With the columns of the table, its target, and those that hold facts of rows.
    columns : mapping of str to str
        Names of the columns "group", "time" and "weight", as of `Table.from_frame`.

    Raises
    ------
    PermGradError
        If columns are absent or of other kinds, a label is not among the table's, or a group is in both.
    """
    name, frame = str(table.y.name), as_named_frame(frame)
    absent = sorted({*table.features, name, *columns.values()} - set(frame.columns))
    if absent:
        raise PermGradError(f"the test rows have no column {listing(absent)}; they must have those of the others")
    group, time, weight = (columns.get(role) for role in ("group", "time", "weight"))
    facts = RowFacts.of(len(frame), **taken_columns(frame, group, time, weight, None, table.kinds)[1])
    joined = table.facts.joined(facts, (len(table), len(frame)))
    parts = np.repeat(["", PARTS[2]], [len(table), len(frame)])
    checked = RowFacts.of(len(parts), **joined.with_parts(parts).known())
    return frame[table.features], _target(frame[name], table), checked


def _target(y: pd.Series, table: Table) -> pd.Series:
    """Return the test rows' target as the table's is."""
    missing = int(y.isna().sum())
    if missing:
        raise PermGradError(f"the target {table.y.name!r} is missing in {missing} of {len(y)} test rows; drop those")
    y = as_task(y, table.task)[0]
    if table.task == "regression":
        return y.astype(float)
    if pd.api.types.is_numeric_dtype(y) != pd.api.types.is_numeric_dtype(table.y):
        y = y.map(str)
    unknown = sorted({str(label) for label in y.unique() if label not in set(table.y)})
    if unknown:
        raise PermGradError(
            f"the test rows' {table.y.name!r} holds {listing(unknown)}, which no other row does; drop them"
        )
    return y
