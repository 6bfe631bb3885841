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
    n_columns: int, names: Sequence[str] | None, groups: Mapping[str, Sequence[int]] | None
) -> dict[str, np.ndarray]:
    """Return, for each feature to rank, the positions of its columns.

    By default each column is a feature of its own, named by `names` or ``x0``, ``x1``, ...

    Raises
    ------
    PermGradError
        If a position lies outside the columns, names and columns differ in number, or two names are the same.
    """
    if groups is None:
        names = [str(name) for name in names] if names is not None else [f"x{i}" for i in range(n_columns)]
        if len(names) != n_columns:
            raise PermGradError(f"expected {n_columns} feature names, got {len(names)}")
        if len(set(names)) < n_columns:
            raise PermGradError(f"feature names must differ, twice there are {listing(sorted(_repeated(names)))}")
        return {name: np.array([i]) for i, name in enumerate(names)}
    given = {str(name): np.asarray(columns) for name, columns in groups.items()}
    wrong = [
        name
        for name, at in given.items()
        if at.size == 0 or at.dtype.kind not in "iu" or at.min() < 0 or at.max() >= n_columns
    ]
    if not given:
        raise PermGradError("groups must name at least one feature, got none")
    if wrong:
        raise PermGradError(f"groups must name columns from 0 to {n_columns - 1}, not so: {listing(wrong)}")
    return {name: np.unique(at) for name, at in given.items()}


def _repeated(names: Sequence[str]) -> set[str]:
    return {name for name, count in Counter(names).items() if count > 1}


def column_names(X: Any) -> list[str] | None:
    """Return the column names of a DataFrame or Table, None for anything else."""
    frame = X.X if isinstance(X, Table) else X
    return [str(name) for name in frame.columns] if isinstance(frame, pd.DataFrame) else None
