"""What some columns tell of others, by several learners, from most of the rows and from half of them.

How much worse the predictions from half of the rows are tells how far those from most of them still are from what
there is to know.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import nnls

from permgrad.importance.permuting._kernel import KernelRidge
from permgrad.importance.permuting._ties import cross_predicted, folds_of

MOST_BOOSTED = 2
"""Targets, each with boosted trees of its own; more share a forest."""
FOREST = 30


def by_most_and_half(
    Z: np.ndarray,
    targets: np.ndarray,
    random_state: int,
    groups: np.ndarray | None = None,
    Z_by_half: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Predict targets from the columns of `Z` by a weighted sum of three learners: ridge, kernel and trees.

    Parameters
    ----------
    Z : ndarray of shape (n_rows, n_columns)
    targets : ndarray of shape (n_rows, n_targets)
    random_state : int
    groups : ndarray of shape (n_rows,), optional
        Of rows that are predicted by other groups' alone.
    Z_by_half : ndarray of shape (n_rows, n_columns), optional
        The same columns where some were themselves learned from half of the rows.

    Returns
    -------
    by_most, by_half : ndarray of shape (n_rows, n_targets)
        Each row predicted from nine tenths of the rows (by the ridge and the trees, four fifths), and from one half;
        never from its own. Weights, scales and penalties are those of `by_most`.

    References
    ----------
    Breiman, Machine Learning 24 (1996), stacked regressions: weights of cross-predictions, none negative. Ridge: see
    `cross_predicted`; kernel: see `KernelRidge`; trees: scikit-learn's.
    """
    tenths, fifths, halves = (folds_of(len(Z), random_state, groups, n_folds) for n_folds in (10, 5, 2))
    kernel = KernelRidge(Z, targets, random_state, groups)
    by_most = [
        cross_predicted(Z, targets, fifths, groups),
        kernel.predicted(Z, targets, tenths),
        _by_trees(Z, targets, fifths, random_state),
    ]
    Z = Z if Z_by_half is None else Z_by_half
    by_half = [
        cross_predicted(Z, targets, halves, groups),
        kernel.predicted(Z, targets, halves),
        _by_trees(Z, targets, halves, random_state),
    ]
    mean = targets.mean(axis=0)
    stacked = np.array(by_most) - mean  # (3, n_rows, n_targets)
    weights = np.stack([nnls(stacked[:, :, k].T, targets[:, k] - mean[k])[0] for k in range(len(mean))], axis=1)
    return tuple(mean + (weights[:, None] * (np.array(each) - mean)).sum(axis=0) for each in (by_most, by_half))


def _by_trees(Z: np.ndarray, targets: np.ndarray, fold: np.ndarray, random_state: int) -> np.ndarray:
    """Predict each fold's targets by trees that learned from the others."""
    predicted = np.empty(targets.shape)
    for number in np.unique(fold):
        inside = fold != number
        if targets.shape[1] > MOST_BOOSTED:
            predicted[~inside] = _forest(random_state).fit(Z[inside], targets[inside]).predict(Z[~inside])
            continue
        for k, target in enumerate(targets.T):
            predicted[~inside, k] = _boosted(random_state).fit(Z[inside], target[inside]).predict(Z[~inside])
    return predicted


def _forest(random_state: int) -> Any:
    from sklearn.ensemble import ExtraTreesRegressor

    return ExtraTreesRegressor(FOREST, min_samples_leaf=5, max_features=1.0, random_state=random_state, n_jobs=1)


def _boosted(random_state: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        max_iter=100, max_leaf_nodes=8, min_samples_leaf=10, early_stopping=False, random_state=random_state
    )
