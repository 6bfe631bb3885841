"""Whether a regression has missed something: what it leaves is alike in rows beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import norm, rankdata

N_BESIDE = 3
"""Rows beside a row."""
COLUMNS = {2: 24, 3: 14}
"""The first ones, of which two and three are looked at together: 276 pairs, and 364 times three."""
ROWS = 2000
"""At most: enough to see what matters, and every look takes time."""
CHANCE, CHANCE_OF_PLACES = 0.001, 0.005
"""Of finding anything where nothing was missed: by two columns or three, and by the places that are given."""


def share_missed(
    Z: np.ndarray, rest: np.ndarray, groups: np.ndarray | None = None, places: Sequence[np.ndarray] = ()
) -> float:
    """Return the largest share of what a regression leaves that rows beside each other have in common.

    Rows are beside each other by the normal scores of two columns, of three, or of what is given.

    Parameters
    ----------
    Z : ndarray of shape (n_rows, n_columns)
        What the regression learned from; pairs of the first 24 columns are looked at, and triples of the first 14.
    rest : ndarray of shape (n_rows, n_targets)
        Targets less predictions of each row by the others.
    groups : ndarray of shape (n_rows,), optional
        One row of each counts: what others of it leave is alike.
    places : sequence of ndarray of shape (n_rows, n_dimensions)
        Further ones by which rows are beside each other. By a prediction, rounding is seen: its steps are too narrow to
        be seen by the columns.

    Returns
    -------
    float
        0 where it may be chance. Of more than 2,000 rows, each so-manieth is looked at.

    Notes
    -----
    Each row's rest is multiplied by the mean rest of the three rows beside it. Where nothing was missed, the sum of
    these products has mean 0, and the variance that the squares of the rests say, whether the spread differs among rows
    or not (each pair of rows counts once, those that are beside each other twice). The share is the sum of the
    products, of the sum of squares. It sees stripes and rings that are narrower than the cells of any histogram. Chance
    is Bonferroni's, over the sets of columns, and over the given places: these are few.

    References
    ----------
    Moran, Biometrika 37 (1950), whose I this is.
    """
    rows = np.arange(len(Z)) if groups is None else np.unique(groups, return_index=True)[1]
    rows = rows[np.linspace(0, len(rows) - 1, min(len(rows), ROWS)).astype(int)]
    rest = rest[rows][:, np.ptp(rest[rows], axis=0) > 0]
    if not rest.size or len(rows) < 2:
        return 0.0
    together = {min(number, Z.shape[1]): min(most, Z.shape[1]) for number, most in COLUMNS.items()}
    sets = [columns for number, most in together.items() for columns in combinations(range(most), number)]
    scores = _scores(Z[rows, : max(COLUMNS.values())])
    by_columns = _largest_share([scores[:, columns] for columns in sets], rest, CHANCE)
    return max(by_columns, _largest_share([_scores(place[rows]) for place in places], rest, CHANCE_OF_PLACES))


def _largest_share(looks: list[np.ndarray], rest: np.ndarray, chance: float) -> float:
    least = norm.isf(chance / max(1, len(looks) * rest.shape[1]))
    return float(max((_shares(look, rest, least).max() for look in looks), default=0.0))


def _scores(places: np.ndarray) -> np.ndarray:
    return norm.ppf((rankdata(places, axis=0) - 0.5) / len(places))


def _shares(places: np.ndarray, rest: np.ndarray, least: float) -> np.ndarray:
    """Return what rows beside each other have in common of each target, (n_targets,); 0 below so many errors."""
    numbers, n_beside, squares = np.arange(len(places))[:, None], min(N_BESIDE, len(places) - 1), rest**2
    nearest = cKDTree(places).query(places, range(1, n_beside + 2))[1]
    itself_last = np.argsort(nearest == numbers, axis=1, kind="stable")  # nor first, where rows are at one place
    beside = np.take_along_axis(nearest, itself_last, axis=1)[:, :n_beside]
    times = 1 + (beside[beside] == numbers[:, :, None]).any(axis=2)  # 2 where each is beside the other
    total = (rest * rest[beside].mean(axis=1)).sum(axis=0)
    variance = (squares * (squares[beside] * times[:, :, None]).sum(axis=1)).sum(axis=0) / n_beside**2
    return np.where(total > least * np.sqrt(variance), total / squares.sum(axis=0), 0.0)
