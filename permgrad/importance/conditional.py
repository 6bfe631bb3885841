"""Which rows may trade a feature's value: those that the other columns cannot tell apart as to that feature.

Permuting a column among all rows breaks its ties with the other columns, and a network answers for rows that
cannot occur. Permuted among rows for which the other columns predict the same value, the column keeps those ties;
what the loss then gains is what the column alone has to tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from tqdm.auto import tqdm

ROWS_PER_BIN = 10
"""At most; rows that trade values are alike, and few of them keep their own."""
MOST_PREDICTORS = 50
"""Of the other columns, those that correlate most with the feature predict it."""
WORTH = 0.05
"""Share of what the linear prediction leaves that trees must explain: less would be noise, and part rows alike."""
DIMENSIONS = 3


def alike_rows(X: np.ndarray, members: Sequence[np.ndarray], *, seed: int, verbose: bool = False) -> np.ndarray:
    """Bin the rows, for each feature anew, by what the other columns predict of it.

    The prediction is that of a ridge regression (5-fold cross-predicted), plus that of extremely randomised trees
    (out of bag) for what it leaves, where that is worth it. It is learned from these very rows: X alone, no target.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        All columns; dense.
    members : sequence of ndarray of int
        For each feature, its columns; several for a category or a group.
    seed : int
        Of the trees.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    ndarray of shape (n_features, n_rows), int32
        The number of each row's bin. Bins hold at most 10 rows, unless more have the same prediction.

    References
    ----------
    Strobl et al., BMC Bioinformatics 9 (2008), conditional permutation; Molnar et al., DMKD 38 (2024),
    conditional subgroups. Ridge and trees: scikit-learn.
    """
    X = np.asarray(X, np.float32)
    spread = X.std(axis=0)
    Z = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1)
    bins = np.zeros((len(members), len(Z)), np.int32)
    for i, columns in enumerate(tqdm(members, desc="rows alike", unit="feature", disable=not verbose)):
        others = _predictors(Z, columns)
        if len(others) and np.ptp(Z[:, columns], axis=0).any():
            bins[i] = _bins(
                _predicted(Z[:, others], Z[:, columns], int(np.random.default_rng([seed, i]).integers(2**31)))
            )
    return bins


def shuffled_within(bins: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return an order of the rows, int32, in which each row's place is taken by one of its own bin."""
    order = np.empty(len(bins), np.int32)
    order[np.argsort(bins, kind="stable")] = np.lexsort((rng.random(len(bins)), bins))
    return order


def _predictors(Z: np.ndarray, columns: np.ndarray) -> np.ndarray:
    correlation = np.abs(Z[:, columns].T @ Z).max(axis=0)
    correlation[columns] = -1
    best = np.argsort(-correlation, kind="stable")[: min(MOST_PREDICTORS, Z.shape[1] - len(columns))]
    return best[correlation[best] > 0]


def _predicted(others: np.ndarray, own: np.ndarray, seed: int) -> np.ndarray:
    """Predict a feature's columns from others, each row by models that did not see it; shape (n_rows, n_columns)."""
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import KFold, cross_val_predict

    if len(own) < 2 * ROWS_PER_BIN:
        return np.zeros_like(own)
    folds = KFold(5, shuffle=True, random_state=seed)
    linear = cross_val_predict(RidgeCV(np.logspace(-2, 4, 7)), others, own, cv=folds).reshape(own.shape)
    left = own - linear
    trees = ExtraTreesRegressor(
        100, min_samples_leaf=5, max_features=1.0, bootstrap=True, oob_score=True, random_state=seed, n_jobs=1
    )
    further = trees.fit(others, left[:, 0] if left.shape[1] == 1 else left).oob_prediction_.reshape(own.shape)
    explained = 1 - ((left - further) ** 2).sum() / max((left**2).sum(), 1e-12)
    return linear + further if explained > WORTH else linear


def _bins(predicted: np.ndarray) -> np.ndarray:
    """Part rows by nearness of their predictions, into leaves of a k-d tree."""
    if predicted.shape[1] > DIMENSIONS:
        centred = predicted - predicted.mean(axis=0)
        predicted = centred @ np.linalg.svd(centred, full_matrices=False)[2][:DIMENSIONS].T
    bins = np.zeros(len(predicted), np.int32)
    for number, rows in enumerate(_leaves(cKDTree(predicted, leafsize=ROWS_PER_BIN).tree)):
        bins[rows] = number
    return bins


def _leaves(node: Any) -> list[np.ndarray]:
    if node.split_dim == -1:
        return [node.indices]
    return _leaves(node.lesser) + _leaves(node.greater)
