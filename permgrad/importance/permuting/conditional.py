"""Which rows may trade a feature's value: those that the other columns cannot tell apart as to that feature.

Permuting a column among all rows breaks its ties with the other columns, and a network answers for rows that
cannot occur. Permuted among rows for which the other columns predict the same of it, the column keeps those ties;
what the loss then gains is what the column alone has to tell.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from permgrad.errors import PermGradError
from permgrad.importance.permuting._halving import by_most_and_half
from permgrad.importance.permuting._kernel import KernelRidge
from permgrad.importance.permuting._ties import cross_predicted, folds_of

ROWS_PER_BIN = 10
"""At most; rows that trade values are alike, and few of them keep their own."""
LEAST_ROWS = 2 * ROWS_PER_BIN
"""Fewer make one bin or two, and permuting within them is hardly conditional."""
MOST_PREDICTORS = 50
ROWS_PER_PREDICTOR = 10
"""Of the other columns, those that correlate most with the feature predict it: as many as the rows can teach."""
WORTH = 0.05
"""Share of what the linear prediction leaves that trees must explain: less would be noise, and part rows alike."""
TREES = 100
DIMENSIONS = 3


class AlikeRows:
    """Bins of rows, for each feature anew, by what the other columns predict of it.

    Predicted are the feature's values, and how far it strays from them. The first by a ridge regression on bumps and
    products of the other columns (5-fold cross-predicted, see `_ties`), plus extremely randomised trees (out of bag)
    for what it leaves, where that is worth it; the second by such trees, where that is worth it. They learn from these
    very rows: X alone, no target.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_columns)
        All columns; dense.
    random_state : int
        Of the trees.

    Raises
    ------
    PermGradError
        For fewer than 20 rows.

    Notes
    -----
    Within a bin the feature should be independent of the other columns. That is so as far as the two predictions
    hold and are all that the others tell: with few rows for many columns, or a dependence that shows in neither
    mean nor spread, ties remain broken.

    References
    ----------
    Strobl et al., BMC Bioinformatics 9 (2008), conditional permutation; Molnar et al., DMKD 38 (2024),
    conditional subgroups. Trees: scikit-learn.
    """

    def __init__(self, X: np.ndarray, random_state: int) -> None:
        if len(X) < LEAST_ROWS:
            raise PermGradError(
                f"conditional permutation needs at least {LEAST_ROWS} rows, to find alike ones among them; got {len(X)}"
            )
        X = np.asarray(X, np.float32)
        spread = X.std(axis=0)
        self._values = (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1)
        self._seed = random_state
        # Repeats may come one after the other: each asks for its feature's bins anew.
        self._last = functools.lru_cache(maxsize=1)(self._bins)
        self._expected = functools.lru_cache(maxsize=1)(self._predictions)

    def bins(self, columns: np.ndarray) -> np.ndarray:
        """Return the number of each row's bin, shape (n_rows,), int32, for the feature of these columns.

        Bins hold at most 10 rows, unless more have the same predictions.
        """
        return self._last(tuple(columns.tolist()))

    def others(self, columns: np.ndarray) -> np.ndarray:
        """Return the columns that tell of the feature, standardised, those first that correlate most with it."""
        return self._values[:, _predictors(self._values, columns)]

    def expected(self, columns: np.ndarray) -> np.ndarray:
        """Return what the others predict of the feature and of its spread, (n_rows, at most 3).

        Models predict each row without seeing it. Of more predictions, these are the directions that vary most.
        """
        return self._expected(tuple(columns.tolist()))

    def own(self, columns: np.ndarray) -> np.ndarray:
        """Return the feature's columns, standardised."""
        return self._values[:, columns]

    def _bins(self, at: tuple[int, ...]) -> np.ndarray:
        predicted = self._expected(at)
        return _leaves_of(predicted) if predicted.size else np.zeros(len(predicted), np.int32)

    def _predictions(self, at: tuple[int, ...]) -> np.ndarray:
        columns, Z = np.array(at), self._values
        others = _predictors(Z, columns)
        if not len(others) or not np.ptp(Z[:, columns], axis=0).any():
            return np.zeros((len(Z), 0))
        random_state = int(np.random.default_rng([self._seed, *at]).integers(2**31))
        return _main_directions(_predicted(Z[:, others], Z[:, columns], random_state))[0]


def told_by_most_and_half(
    others: np.ndarray, own: np.ndarray, random_state: int, groups: np.ndarray | None, kernel: KernelRidge | None = None
) -> list[np.ndarray]:
    """Predict a feature and its spread as `AlikeRows.expected` does, by better learners, at some three times the price.

    Parameters
    ----------
    others, own : ndarray of shape (n_rows, n_columns)
    random_state : int
    groups : ndarray of shape (n_rows,), optional
    kernel : KernelRidge, optional
        Of the same.

    Returns
    -------
    by_most, by_half : ndarray of shape (n_rows, at most 3)
        See `by_most_and_half`; of the spread there is one prediction.
    """
    by_most, by_half = by_most_and_half(others, own.astype(float), random_state, groups, kernel=kernel, with_trees=True)
    spread = _worthwhile(others, np.abs(own - by_most), random_state)
    also = [] if spread is None else [spread]
    return _main_directions(np.hstack([by_most, *also]), np.hstack([by_half, *also]))


def _predictors(Z: np.ndarray, columns: np.ndarray) -> np.ndarray:
    correlation = np.abs(Z[:, columns].T @ Z).max(axis=0)
    correlation[columns] = -1
    most = min(MOST_PREDICTORS, max(1, len(Z) // ROWS_PER_PREDICTOR))
    best = np.argsort(-correlation, kind="stable")[:most]
    return best[correlation[best] > 0]


def _predicted(others: np.ndarray, own: np.ndarray, random_state: int) -> np.ndarray:
    """Predict a feature's columns and their spread from others, each row by models that did not see it."""
    mean = cross_predicted(others, own.astype(float), folds_of(len(own), random_state))
    further = _worthwhile(others, own - mean, random_state)
    if further is not None:
        mean = mean + further
    spread = _worthwhile(others, np.abs(own - mean), random_state)
    return mean if spread is None else np.hstack([mean, spread])


def _worthwhile(others: np.ndarray, values: np.ndarray, random_state: int) -> np.ndarray | None:
    """Predict values by trees; None where they explain too little."""
    from sklearn.ensemble import ExtraTreesRegressor

    trees = ExtraTreesRegressor(
        TREES, min_samples_leaf=5, max_features=1.0, bootstrap=True, oob_score=True, random_state=random_state, n_jobs=1
    )
    trees.fit(others, values[:, 0] if values.shape[1] == 1 else values)
    predicted = trees.oob_prediction_.reshape(values.shape)
    about_mean = ((values - values.mean(axis=0)) ** 2).sum()
    explained = 1 - ((values - predicted) ** 2).sum() / max(about_mean, 1e-12)
    return predicted if explained > WORTH else None


def _main_directions(predicted: np.ndarray, *like: np.ndarray) -> list[np.ndarray]:
    """Return the predictions, and others of the same, along the directions in which they vary most, three at most."""
    if predicted.shape[1] <= DIMENSIONS:
        return [predicted, *like]
    mean = predicted.mean(axis=0)
    directions = np.linalg.svd(predicted - mean, full_matrices=False)[2][:DIMENSIONS].T
    return [(each - mean) @ directions for each in (predicted, *like)]


def _leaves_of(predicted: np.ndarray) -> np.ndarray:
    """Part rows by nearness of their predictions, into leaves of a k-d tree."""
    bins = np.zeros(len(predicted), np.int32)
    for number, rows in enumerate(_leaves(cKDTree(predicted, leafsize=ROWS_PER_BIN).tree)):
        bins[rows] = number
    return bins


def _leaves(node: Any) -> list[np.ndarray]:
    if node.split_dim == -1:
        return [node.indices]
    return _leaves(node.lesser) + _leaves(node.greater)
