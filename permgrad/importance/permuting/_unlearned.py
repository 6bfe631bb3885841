"""Whether a regression has missed something: what it leaves is alike in rows beside each other, or in cells."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from math import comb

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import chi2, norm, rankdata

N_BESIDE = 3
"""Rows beside a row, in the plane of two columns."""
CELLS = 3
"""Along each of three columns; of about as many rows."""
COLUMNS = 24
"""The first ones: 276 pairs, and 2,024 times three."""
CHANCE = 0.001
"""Of finding anything where nothing was missed."""


def share_missed(Z: np.ndarray, rest: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Return the largest share of what a regression leaves that two columns or three explain.

    Parameters
    ----------
    Z : ndarray of shape (n_rows, n_columns)
        What the regression learned from; the first 24 columns are looked at.
    rest : ndarray of shape (n_rows, n_targets)
        Targets less predictions of each row by the others.
    groups : ndarray of shape (n_rows,), optional
        One row of each counts: what others of it leave is alike.

    Returns
    -------
    float
        0 where it may be chance.

    Notes
    -----
    *Two columns.* In the plane of their normal scores, each row's rest is multiplied by the mean rest of the three rows
    beside it. Where nothing was missed, the sum of these products has mean 0, and the variance that the squares of the
    rests say (each pair of rows once, those that are beside each other twice). The share is the sum of the products,
    of the sum of squares: Moran's I. It sees stripes and rings of which cells hold several.

    *Three columns*, among which no row is near: with s the sum of what a cell's rows leave, and q the sum of their
    squares, or of as many rows' in the mean over all if that is more, the sum over cells of s²/q is chi-squared at
    most, as many degrees of freedom as cells, where nothing was missed; about so even where the spread differs among
    cells, and where few rows leave much. The share is what it has beyond these, of the number of rows.

    Chance is Bonferroni's, over all that is looked at.

    References
    ----------
    Moran, Biometrika 37 (1950).
    """
    if groups is not None:
        rows = np.unique(groups, return_index=True)[1]
        Z, rest = Z[rows], rest[rows]
    Z, rest = Z[:, :COLUMNS], rest[:, np.ptp(rest, axis=0) > 0]
    n_columns = Z.shape[1]
    n_looks = rest.shape[1] * (comb(n_columns, min(2, n_columns)) + comb(n_columns, min(3, n_columns)))
    if not n_looks:
        return 0.0
    found = [*_shares_in_planes(Z, rest, CHANCE / n_looks), *_shares_in_cells(Z, rest, CHANCE / n_looks)]
    return max(found, default=0.0)


def _shares_in_planes(Z: np.ndarray, rest: np.ndarray, chance: float) -> Iterator[float]:
    """Yield the shares that rows beside each other in the plane of two columns have in common."""
    n, n_columns = Z.shape
    scores, squares = norm.ppf((rankdata(Z, axis=0) - 0.5) / n), rest**2
    least, numbers, n_beside = norm.isf(chance), np.arange(n)[:, None], min(N_BESIDE, n - 1)
    for columns in combinations(range(n_columns), min(2, n_columns)):
        nearest = cKDTree(scores[:, columns]).query(scores[:, columns], range(1, n_beside + 2))[1]
        itself_last = np.argsort(nearest == numbers, axis=1, kind="stable")
        beside = np.take_along_axis(nearest, itself_last, axis=1)[:, :n_beside]
        times = 1 + (beside[beside] == numbers[:, :, None]).any(axis=2)  # 2 where each is beside the other
        total = (rest * rest[beside].mean(axis=1)).sum(axis=0)
        variance = (squares * (squares[beside] * times[:, :, None]).sum(axis=1)).sum(axis=0) / n_beside**2
        yield from (total / squares.sum(axis=0))[total > least * np.sqrt(variance)].tolist()


def _shares_in_cells(Z: np.ndarray, rest: np.ndarray, chance: float) -> Iterator[float]:
    """Yield the shares that cells of three columns explain."""
    n, n_columns = Z.shape
    height = (((rankdata(Z, axis=0) - 0.5) / n) * CELLS).astype(int)
    together = min(3, n_columns)
    least = chi2.isf(chance, range(CELLS**together + 1))
    for columns in combinations(range(n_columns), together):
        cell = height[:, columns] @ CELLS ** np.arange(together)
        sizes = np.bincount(cell)
        degrees = np.count_nonzero(sizes)
        for target in rest.T:
            squares = np.maximum(np.bincount(cell, target**2), sizes * (target**2).mean())
            statistic = (np.bincount(cell, target) ** 2 / np.maximum(squares, 1e-30)).sum()
            if statistic > least[degrees]:
                yield float(statistic - degrees) / n
