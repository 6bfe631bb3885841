"""Which columns a panel may have: those not excluded and measured well enough; and which of them tell the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import sparse

from permgrad.data.cells import Cells
from permgrad.data.checks import check_named
from permgrad.errors import PermGradError
from permgrad.training.batches import dense, row_blocks

FIRST_LOOKED_AT = 4
"""Times the panel's size: columns whose correlations are computed at first."""


def class_means(cells: Cells) -> np.ndarray:
    """Return the mean of each column in each class, (n_classes, n_features), float64, from one reading."""
    codes, classes = pd.factorize(cells.y, sort=True)
    sums = np.zeros((len(classes), len(cells.features)))
    for start, rows in row_blocks(cells.X):
        one_hot = np.eye(len(classes))[codes[start : start + rows.shape[0]]]
        sums += (
            (sparse.csr_matrix(rows).T @ one_hot).T if sparse.issparse(rows) else one_hot.T @ np.asarray(rows, float)
        )
    return sums / np.bincount(codes, minlength=len(classes))[:, None]


def second_moments(X: Any, centre: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return each column's mean, and the mean products of what any two are off the `centre` (their means, if None).

    Parameters
    ----------
    X : ndarray, scipy.sparse.csr_matrix or RowsOnDisk of shape (n_rows, n_features)
    centre : ndarray of shape (n_features,), optional

    Returns
    -------
    mean : ndarray of shape (n_features,), float64
    products : ndarray of shape (n_features, n_features), float64
        Without a centre, the covariances (ddof 0).
    """
    total, products, shift = np.zeros(X.shape[1]), np.zeros((X.shape[1], X.shape[1])), None
    for _, rows in row_blocks(X):
        rows = dense(rows).astype(float)
        shift = rows.mean(axis=0) if shift is None else shift  # near the mean: the difference of squares stays exact
        rows -= shift
        total += rows.sum(axis=0)
        products += rows.T @ rows
    off = total / X.shape[0]
    mean = off + shift
    products /= X.shape[0]
    products -= np.outer(off, off)
    if centre is not None:
        products += np.outer(mean - centre, mean - centre)
    return mean, products


def correlations(X: Any) -> np.ndarray:
    """Return Pearson's correlation of any two columns, (n_features, n_features); 0 where one never varies."""
    covariance = second_moments(X)[1]
    spread = np.sqrt(np.diag(covariance).clip(0))
    scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 0)
    return covariance * scale[:, None] * scale


def candidates(
    sets: Sequence[Cells],
    include: Sequence[str],
    exclude: Sequence[str],
    expression_range: tuple[float, float] | None,
) -> list[str]:
    """Return the columns of all data sets that may be chosen beside those included, in the first one's order.

    Raises
    ------
    PermGradError
        If a name is not a column of each, is both included and excluded, or the range is none.
    """
    both = sorted({*include} & {*exclude})
    if both:
        raise PermGradError(f"a column cannot be both included and excluded, got {both}")
    known = [{*cells.features} for cells in sets]
    shared = [name for name in sets[0].features if all(name in names for names in known)]
    check_named(include, shared, "include")
    check_named(exclude, set.union(*known), "exclude")
    left_out = {*include, *exclude}
    if expression_range is not None:
        left_out |= _outside(sets, expression_range)
    return [name for name in shared if name not in left_out]


def _outside(sets: Sequence[Cells], expression_range: tuple[float, float]) -> set[str]:
    low, high = expression_range
    if not low < high:
        raise PermGradError(f"expression_range must be (lowest, highest), ascending, got {expression_range}")
    outside: set[str] = set()
    for cells in sets:
        highest = class_means(cells).max(axis=0)
        outside |= {*np.array(cells.features, object)[(highest < low) | (highest > high)]}
    return outside


def without_redundant(
    order: Sequence[str], sets: Sequence[Cells], included: Sequence[str], n: int, most: float
) -> tuple[list[str], dict[str, str]]:
    """Walk from the best column on, passing over those that correlate with one that is in already.

    Parameters
    ----------
    order : sequence of str
        Best first.
    sets : sequence of Cells
        A column is redundant if it is in each of these.
    included : sequence of str
        In already.
    n : int
        How many are wanted beside them.
    most : float
        Largest absolute correlation with a column that is in.

    Returns
    -------
    chosen : list of str
        Fewer than `n` where no others are left.
    like : dict
        Each column that was passed over → the column that is in, with which it correlates most.
    """
    n_looked_at = min(len(order), FIRST_LOOKED_AT * n)
    while True:
        names = [*included, *order[:n_looked_at]]
        alike = np.min([np.abs(correlations(cells.only(names).X)) for cells in sets], axis=0)
        chosen, like = _walk(alike, names, len(included), n, most)
        if len(chosen) == n or n_looked_at == len(order):
            return chosen, like
        n_looked_at = min(len(order), 2 * n_looked_at)


def check_redundancy(most: float | None) -> None:
    """Raise unless it is a correlation, or None."""
    if most is not None and not 0 < most <= 1:
        raise PermGradError(f"redundancy must be a correlation above 0 and up to 1, got {most}")


def _walk(
    alike: np.ndarray, names: Sequence[str], n_included: int, n: int, most: float
) -> tuple[list[str], dict[str, str]]:
    inside, like = list(range(n_included)), {}
    for i in range(n_included, len(names)):
        if len(inside) == n_included + n:
            break
        nearest = max(inside, key=lambda other: alike[i, other], default=None)
        if nearest is not None and alike[i, nearest] > most:
            like[names[i]] = names[nearest]
        else:
            inside.append(i)
    return [names[i] for i in inside[n_included:]], like
