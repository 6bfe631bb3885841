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
UNDERSMOOTHED = 0.1
"""Share of the penalties of the least error, where what they take from the truth matters more than noise."""


def by_most_and_half(
    Z: np.ndarray,
    targets: np.ndarray,
    random_state: int,
    groups: np.ndarray | None = None,
    Z_by_half: np.ndarray | None = None,
    *,
    kernel: KernelRidge | None = None,
    with_trees: bool = False,
    undersmoothed: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Predict targets from the columns of `Z` by a weighted sum of learners: ridge, kernel and, if asked for, trees.

    Parameters
    ----------
    Z : ndarray of shape (n_rows, n_columns)
    targets : ndarray of shape (n_rows, n_targets)
    random_state : int
    groups : ndarray of shape (n_rows,), optional
        Of rows that are predicted by other groups' alone.
    Z_by_half : ndarray of shape (n_rows, n_columns), optional
        The same columns where some were themselves learned from half of the rows.
    kernel : KernelRidge, optional
        Of these columns, targets and groups; fitted here where none is given.
    with_trees : bool
        Trees take longer than both others.
    undersmoothed : bool
        Penalties are a tenth of those of the least error, and weights have the sum 1: predictions are noisier, and
        less of what there is to know is smoothed away.

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
    kernel = kernel or KernelRidge(Z, targets, random_state, groups)
    share = UNDERSMOOTHED if undersmoothed else 1.0

    def predictions(Z: np.ndarray, fold: np.ndarray, of_kernel: np.ndarray) -> np.ndarray:
        by_each = [cross_predicted(Z, targets, fold, groups, share), kernel.predicted(Z, targets, of_kernel, share)]
        if with_trees:
            by_each.append(_by_trees(Z, targets, fold, random_state))
        return np.array(by_each) - mean  # (n_learners, n_rows, n_targets)

    mean = targets.mean(axis=0)
    by_most = predictions(Z, fifths, tenths)
    by_half = predictions(Z if Z_by_half is None else Z_by_half, halves, halves)
    weights = np.array([nnls(by_most[:, :, k].T, target - mean[k])[0] for k, target in enumerate(targets.T)])
    if undersmoothed:
        weights = weights / np.where(weights.any(axis=1), weights.sum(axis=1), 1)[:, None]
    most, half = (mean + np.einsum("lnk,kl->nk", each, weights) for each in (by_most, by_half))
    return most, half


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
