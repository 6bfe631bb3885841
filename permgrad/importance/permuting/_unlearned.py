"""Whether a regression has missed something: what it leaves still differs among cells of two columns."""

from __future__ import annotations

import numpy as np
from scipy.stats import chi2, rankdata

CELLS = 6
"""Along each column, of about as many rows."""
COLUMNS = 24
"""The first ones: 300 cells' tables."""
CHANCE = 0.001
"""Of finding anything where nothing was missed."""


def share_missed(Z: np.ndarray, rest: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Return the largest share of what a regression leaves that cells of two columns explain; 0 where it may be chance.

    Parameters
    ----------
    Z : ndarray of shape (n_rows, n_columns)
        What the regression learned from; the first 24 columns are looked at.
    rest : ndarray of shape (n_rows, n_targets)
        Targets less predictions of each row by the others.
    groups : ndarray of shape (n_rows,), optional
        One row of each counts: what others of it leave is alike.

    Notes
    -----
    With s the sum of what the rows of a cell leave, and q their sum of squares, the sum over cells of s²/q is about
    chi-squared, as many degrees of freedom as cells, where nothing was missed, even where the spread differs among
    cells. The share is what it has beyond these, of the number of rows. Chance is Bonferroni's, over all pairs and
    targets.
    """
    if groups is not None:
        rows = np.unique(groups, return_index=True)[1]
        Z, rest = Z[rows], rest[rows]
    Z, n = Z[:, :COLUMNS], len(Z)
    cells = ((rankdata(Z, axis=0) - 0.5) / n * CELLS).astype(int)
    pairs = [(first, second) for first in range(Z.shape[1]) for second in range(first)] or [(0, 0)]
    largest, chance = 0.0, CHANCE / rest.shape[1] / len(pairs)
    for target in rest.T:
        for first, second in pairs:
            cell = CELLS * cells[:, first] + cells[:, second]
            sums, squares = np.bincount(cell, target), np.bincount(cell, target**2)
            found = squares > 0
            statistic, degrees = (sums[found] ** 2 / squares[found]).sum(), found.sum()
            if chi2.sf(statistic, degrees) <= chance:
                largest = max(largest, float(statistic - degrees) / n)
    return largest
