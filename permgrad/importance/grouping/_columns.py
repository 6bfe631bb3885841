"""Which columns make up each feature that is ranked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from permgrad.data.table import Table
from permgrad.errors import PermGradError, listing


def resolve_groups(
    n_columns: int, names: Sequence[str] | None, groups: Mapping[str, Sequence[Any]] | None, *, alone: bool = False
) -> dict[str, np.ndarray]:
    """Return the positions of the columns of each feature to rank: of each group, then of each column that is in none.

    A column has its name, by default ``x0``, ``x1``, ... Groups name columns so, or by position. If groups are measured
    one by one, they may stand `alone`: without the columns that are in none, and with columns in common.

    Raises
    ------
    PermGradError
        If groups are no mapping of names to columns, a column is unknown or in two groups, two features would have the
        same name, or names and columns differ in number.
    """
    names = [str(name) for name in names] if names is not None else [f"x{i}" for i in range(n_columns)]
    if len(names) != n_columns:
        raise PermGradError(f"expected {n_columns} feature names, got {len(names)}")
    given = {} if groups is None else _by_position(groups, names)
    if given and alone:
        return given
    grouped = Counter(at for columns in given.values() for at in columns.tolist())
    if max(grouped.values(), default=1) > 1:
        raise PermGradError(f"groups must not share columns: {listing(names[at] for at in grouped if grouped[at] > 1)}")
    single = [i for i in range(n_columns) if i not in grouped]
    repeated = _repeated([names[i] for i in single])
    if repeated:
        raise PermGradError(f"feature names must differ, twice there are {listing(sorted(repeated))}")
    clash = [names[i] for i in single if names[i] in given]
    if clash:
        raise PermGradError(f"groups must not be named like columns outside them: {listing(clash)}")
    return {**given, **{names[i]: np.array([i]) for i in single}}


def check_groups(groups: Any, *, correlated: bool = False) -> None:
    """Raise unless groups map names to columns; or, where they can be found, are "correlated"."""
    if isinstance(groups, str) and groups == "correlated" and correlated:
        return
    if not isinstance(groups, Mapping) or any(isinstance(parts, str) for parts in groups.values()):
        also = ", or be 'correlated'" if correlated else ""
        raise PermGradError(
            "groups must map names to lists of columns, such as {'size': ['length', 'width']}"
            f"{also}, got {listing([groups])}"
        )
    if not groups:
        raise PermGradError("groups must name at least one feature, got none")


def _by_position(groups: Any, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the positions of each group's columns, ascending."""
    check_groups(groups)
    at: dict[Any, int] = {name: i for i, name in enumerate(names)}
    at |= {i: i for i in range(len(names))}
    given = {str(name): list(np.asarray(parts, object).reshape(-1)) for name, parts in groups.items()}
    unknown = {part: None for parts in given.values() for part in parts if isinstance(part, bool) or part not in at}
    if unknown:
        raise PermGradError(
            f"groups must name columns of the table, not so: {listing(unknown)}; give names, or positions from 0 to"
            f" {len(names) - 1}"
        )
    empty = [name for name, parts in given.items() if not parts]
    if empty:
        raise PermGradError(f"groups must have at least one column, not so: {listing(empty)}")
    return {name: np.unique([at[part] for part in parts]) for name, parts in given.items()}


def _repeated(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def column_names(X: Any) -> list[str] | None:
    """Return the column names of a DataFrame or Table, None for anything else."""
    frame = X.X if isinstance(X, Table) else X
    return [str(name) for name in frame.columns] if isinstance(frame, pd.DataFrame) else None
