"""The standard error of any score of some rows, from a few scores of fewer of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

PARTS = 20


def jackknife_error(
    score: Callable[[np.ndarray], float], labels: np.ndarray, groups: np.ndarray | None = None, random_state: int = 0
) -> float:
    """Return the standard error of a score, by leaving out a twentieth of the rows in turn.

    Parameters
    ----------
    score : callable
        Numbers of rows, (n,) → their score.
    labels : ndarray of shape (n_rows,)
        Each row's class, or one number for all: every part has as equal a share of each class as can be.
    groups : ndarray of shape (n_rows,), optional
        Rows of one label are left out together; the first row's class counts.
    random_state : int
        Of which rows are left out together.

    Returns
    -------
    float
        NaN where there are fewer than two rows, or groups.

    Notes
    -----
    With G parts, and s_g the score without part g: ``sqrt((G - 1) / G * sum of (s_g - their mean)²)``. Of a mean over
    rows, each being a part, this is sd / √n.

    References
    ----------
    Shao & Tu, The Jackknife and Bootstrap (1995), chapter 2.3; Kott, Journal of Official Statistics 17 (2001).
    """
    units = np.arange(len(labels)) if groups is None else groups
    _, first, unit = np.unique(units, return_index=True, return_inverse=True)
    n_parts = min(PARTS, len(first))
    if n_parts < 2:
        return np.nan
    shuffled = np.random.default_rng(random_state).permutation(len(first))
    by_class = shuffled[np.argsort(labels[first][shuffled], kind="stable")]
    part = np.empty(len(first), int)
    part[by_class] = np.arange(len(first)) % n_parts
    without = np.array([score(np.flatnonzero(part[unit] != left_out)) for left_out in range(n_parts)])
    return float(np.sqrt((n_parts - 1) / n_parts * ((without - without.mean()) ** 2).sum()))
