"""Whether a regression has missed something: what it leaves still differs among cells of two columns, or of three."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
from scipy.stats import chi2, rankdata

CELLS = {2: 6, 3: 3}
"""Along each of two columns, and of three; of about as many rows."""
COLUMNS = 24
"""The first ones: 300 pairs, and 2,024 times three."""
CHANCE = 0.001
"""Of finding anything where nothing was missed."""


def share_missed(Z: np.ndarray, rest: np.ndarray, groups: np.ndarray | None = None) -> float:
    """Return the largest share of what a regression leaves that cells of two columns or three explain.

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
    With s the sum of what a cell's rows leave, and q the sum of their squares, or of as many rows' in the mean over all
    if that is more, the sum over cells of s²/q is chi-squared at most, as many degrees of freedom as cells, where
    nothing was missed; about so even where the spread differs among cells, and where few rows leave much. The share is
    what it has beyond these, of the number of rows. Chance is Bonferroni's, over all that is looked at.
    """
    if groups is not None:
        rows = np.unique(groups, return_index=True)[1]
        Z, rest = Z[rows], rest[rows]
    n, n_columns = Z[:, :COLUMNS].shape
    height, largest = (rankdata(Z[:, :COLUMNS], axis=0) - 0.5) / n, 0.0
    n_tables = rest.shape[1] * sum(comb(n_columns, min(together, n_columns)) for together in CELLS)
    least = chi2.isf(CHANCE / n_tables, range(max(number**together for together, number in CELLS.items()) + 1))
    for together, number in CELLS.items():
        cells = (height * number).astype(int)
        for columns in combinations(range(n_columns), min(together, n_columns)):
            cell = cells[:, columns] @ number ** np.arange(len(columns))
            sizes = np.bincount(cell)
            degrees = np.count_nonzero(sizes)
            for target in rest.T:
                squares = np.maximum(np.bincount(cell, target**2), sizes * (target**2).mean())
                statistic = (np.bincount(cell, target) ** 2 / np.maximum(squares, 1e-30)).sum()
                if statistic > least[degrees]:
                    largest = max(largest, float(statistic - degrees) / n)
    return largest
