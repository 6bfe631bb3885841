"""The values of a column at which its effect is drawn, each of them a row's own: numbers, dates, or levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from permgrad.data._levels import MISSING, factorized, with_missing
from permgrad.errors import PermGradError

MOST_LEVELS = 50
"""Levels of a category that are shown: those that most rows have."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Values of a column.

    Attributes
    ----------
    labels : tuple of str, or ndarray of shape (n_grid,)
        Dates and levels as text, numbers as they are; of what is missing "(missing)", NaN.
    donors : ndarray of shape (n_grid,), int
        A row that has each value.
    place : ndarray of shape (n_rows,), float64
        Where each row is between the values: 2.25 is a quarter of the way from the third to the fourth. NaN where it
        has none of them: missing (unless that is one of the values), or a level that is not shown.
    is_category, is_date : bool
    """

    labels: tuple[str, ...] | np.ndarray
    donors: np.ndarray
    place: np.ndarray
    is_category: bool
    is_date: bool = False

    def __len__(self) -> int:
        return len(self.donors)

    def hats(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows, values' numbers, and shares: what each row counts at the one or two values next to it."""
        rows = np.flatnonzero(~np.isnan(self.place))
        low = np.floor(self.place[rows]).astype(int)
        part = self.place[rows] - low
        inner = np.flatnonzero(part > 0)
        return (
            np.concatenate([rows, rows[inner]]),
            np.concatenate([low, low[inner] + 1]),
            np.concatenate([1 - part, part[inner]]),
        )

    def ordered(self, order: np.ndarray) -> Grid:
        """Return the same with the levels in another order."""
        labels: tuple[str, ...] = tuple(self.labels[i] for i in order)
        new = np.full(len(order), np.nan)
        new[order] = np.arange(len(order))
        seen = ~np.isnan(self.place)
        place = self.place.copy()
        place[seen] = new[place[seen].astype(int)]
        return Grid(labels, self.donors[order], place, self.is_category, self.is_date)


def grid_of(column: pd.Series, n_points: int, *, missing: bool, most_levels: int = MOST_LEVELS) -> Grid:
    """Choose at most `n_points` quantiles of numbers or dates, all values where they are no more; the levels else.

    Parameters
    ----------
    column : Series
    n_points : int
    missing : bool
        Take a missing value for one of the values, the last, if some rows have it.
    most_levels : int
        Of a category.

    Raises
    ------
    PermGradError
        If all is missing.
    """
    if column.isna().all():
        raise PermGradError(f"column {column.name!r} holds no value in these rows; leave it out")
    grid = _numbers(column, n_points) if _is_number(column) or is_date(column) else _levels(column, most_levels)
    gaps = np.flatnonzero(column.isna().to_numpy())
    if not missing or not len(gaps):
        return grid
    place = grid.place.copy()
    place[gaps] = len(grid)
    told = isinstance(grid.labels, tuple)
    labels = (*grid.labels, MISSING) if told else np.append(grid.labels, np.nan)
    return Grid(labels, np.append(grid.donors, gaps[0]), place, grid.is_category, grid.is_date)


def codes_of(column: pd.Series) -> np.ndarray:
    """Return the number of each row's value among the column's; missing is one of them."""
    if _is_number(column) or is_date(column):
        return pd.factorize(column, use_na_sentinel=False)[0]
    return with_missing(column)[0]


def is_date(column: pd.Series) -> bool:
    """Tell whether a column holds points in time."""
    return bool(pd.api.types.is_datetime64_any_dtype(column.dtype))


def is_ordered(column: pd.Series) -> bool:
    """Tell whether a column's levels have an order of their own."""
    return isinstance(column.dtype, pd.CategoricalDtype) and bool(column.dtype.ordered)


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)


def _numbers(column: pd.Series, n_points: int) -> Grid:
    dates = is_date(column)
    x = column.to_numpy("datetime64[us]").astype(float) if dates else column.to_numpy(float, na_value=np.nan)
    x[column.isna().to_numpy()] = np.nan
    known = np.sort(x[~np.isnan(x)])
    values = np.unique(known)
    if len(values) > n_points:
        values = np.unique(np.quantile(known, np.linspace(0, 1, n_points), method="inverted_cdf"))
    order = np.argsort(x, kind="stable")
    donors = order[np.searchsorted(x[order], values)]
    place = np.where(np.isnan(x), np.nan, np.interp(x, values, np.arange(len(values))))
    return Grid(_dates(column.iloc[donors]) if dates else values, donors, place, dates, dates)


def _dates(column: pd.Series) -> tuple[str, ...]:
    days = (column.dt.normalize() == column).all()
    return tuple(value.date().isoformat() if days else value.isoformat() for value in column)


def _levels(column: pd.Series, most: int) -> Grid:
    codes, texts = factorized(column)
    names, of_code = np.unique(np.array(texts, dtype=object).astype(str), return_inverse=True)
    if is_ordered(column):
        at = {str(level): i for i, level in enumerate(column.cat.categories)}
        order = np.argsort([at[name] for name in names])
        new = np.argsort(order)
        names, of_code = names[order], new[of_code]
    level = np.where(codes < 0, -1, np.append(of_code, -1)[codes])
    counts = np.bincount(level[level >= 0], minlength=len(names))
    shown = np.sort(np.argsort(-counts, kind="stable")[:most])
    number = np.full(len(names) + 1, np.nan)
    number[shown] = np.arange(len(shown))
    place = number[level]
    donors = np.array([int(np.argmax(level == i)) for i in shown])
    return Grid(tuple(names[shown].tolist()), donors, place, True)
