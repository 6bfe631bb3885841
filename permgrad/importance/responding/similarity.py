"""Levels of a category in an order: those next to each other are alike in the other columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from permgrad.importance.responding.grid import codes_of, is_date

N_CUTS = 20
"""Quantiles at which the distributions of a number are compared."""


def order_by_similarity(place: np.ndarray, n_levels: int, others: pd.DataFrame) -> np.ndarray:
    """Return the levels' numbers in an order in which each is next to those that it is like.

    Two levels differ, in each other column, by how far their rows' distributions of it are apart at most: numbers' by
    Kolmogorov's and Smirnov's distance, at 20 quantiles; categories' by half the sum of the differences of the shares.
    The sums over all other columns, scaled to one dimension, give the order.

    Parameters
    ----------
    place : ndarray of shape (n_rows,)
        Each row's level; NaN for none.
    n_levels : int
    others : DataFrame of shape (n_rows, n_others)

    References
    ----------
    Apley & Zhu, JRSS B 82 (2020), supplement; classical scaling by Torgerson (1952).
    """
    if n_levels < 3:
        return np.arange(n_levels)
    rows = np.flatnonzero(~np.isnan(place))
    levels = np.eye(n_levels)[place[rows].astype(int)]
    levels /= levels.sum(axis=0)
    distance = np.zeros((n_levels, n_levels))
    for _, column in others.iloc[rows].items():
        distance += _apart(levels, column.reset_index(drop=True))
    centred = np.eye(n_levels) - 1 / n_levels
    _, vectors = np.linalg.eigh(-centred @ distance**2 @ centred / 2)
    scaled = vectors[:, -1]
    return np.argsort(np.round(scaled * (-1 if scaled[0] > 0 else 1), 9), kind="stable")


def _apart(levels: np.ndarray, column: pd.Series) -> np.ndarray:
    """Return how far the distributions of a column are apart, (n_levels, n_levels), 0 to 1."""
    numeric = (pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)) or is_date(column)
    if not numeric:
        codes = codes_of(column)
        shares = np.zeros((codes.max() + 1, levels.shape[1]))
        np.add.at(shares, codes, levels)
        return np.abs(shares[:, :, None] - shares[:, None]).sum(axis=0) / 2
    values = column.rank(method="max", pct=True).fillna(2).to_numpy()
    below = (values <= np.linspace(0, 1, N_CUTS + 1)[1:, None]).astype(float) @ levels
    return np.abs(below[:, :, None] - below[:, None]).max(axis=0)
