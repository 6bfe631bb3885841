"""What some columns tell of others: a ridge regression on bumps and products of columns, which finds those that count.

Ties among columns are seldom linear. The features here are each column, its ranks, bumps along its ranks and
products of two columns. A first ridge regression says what each contributes; features are then scaled by what they
contributed, the pairs of columns that contribute most get a surface, and all is fitted again, so that the penalty falls
on those that tell nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata

KNOTS = np.linspace(-2.6, 2.6, 14)
"""Centres of the bumps along a column's normal scores."""
WIDTH = 0.4
FARTHEST = 4.0
"""Standard deviations at which a column is cut off in products."""
MOST_IN_PRODUCTS = 24
"""Columns, the first ones, whose products are features: 300 of them."""
SURFACES = 6
"""Pairs of columns, those that contribute most to the first fit, that get a surface: products of coarse bumps."""
SURFACE_KNOTS = np.linspace(-2.0, 2.0, 6)
SURFACE_WIDTH = 0.6
ROUNDS = 2
"""Fits after the first, each with features scaled by what they contributed in the one before."""
FLOOR = 0.003
"""Scale of a feature that contributed nothing."""
PENALTIES = np.logspace(-5, 2, 12)
"""Relative to the largest squared singular value of the features."""
SLACK = 0.03
"""Of the smallest penalties, the first whose error is that near the least: what a penalty takes from two
predictions alike would look like a dependence between what they leave."""
MOST_OWN = 0.98
"""Weight of a row in its own prediction, above which leaving it out says nothing."""


@dataclass(frozen=True, eq=False)
class Features:
    """Features of some columns.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_features)
        Of mean 0.
    group : ndarray of shape (n_features,), int
        The column or pair of columns that a feature is made of; each is scaled as a whole.
    scores : ndarray of shape (n_rows, n_columns)
        The columns' normal scores.
    """

    values: np.ndarray
    group: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, Z: np.ndarray) -> Features:
        """Make the features of the columns of `Z`, of shape (n_rows, n_columns); the first ones get products."""
        raw, scores = standardised(Z), standardised(normal_scores(Z))
        n, d = Z.shape
        bumps = 2 * np.exp(-0.5 * ((scores[:, :, None] - KNOTS) / WIDTH) ** 2).reshape(n, -1)
        first, second = np.triu_indices(min(d, MOST_IN_PRODUCTS))
        near = np.clip(raw, -FARTHEST, FARTHEST)
        values = np.hstack([raw, scores, bumps, near[:, first] * near[:, second]])
        own = np.arange(d)
        group = np.concatenate([own, own, np.repeat(own, len(KNOTS)), d + np.arange(len(first))])
        return cls(values - values.mean(axis=0), group, scores)

    def with_surfaces(self, scales: np.ndarray) -> tuple[Features, np.ndarray]:
        """Add surfaces over the pairs of columns that contribute most; return the scales of all groups, too.

        Parameters
        ----------
        scales : ndarray of shape (n_groups,)
            What each group contributes: columns first, then pairs.
        """
        d = self.scores.shape[1]
        first, second = np.triu_indices(min(d, MOST_IN_PRODUCTS))
        worth = scales[d:] + np.minimum(scales[first], scales[second])
        best = np.argsort(-np.where(first == second, -1, worth), kind="stable")[:SURFACES]
        best = best[first[best] != second[best]]
        hills = np.exp(-0.5 * ((self.scores[:, :, None] - SURFACE_KNOTS) / SURFACE_WIDTH) ** 2)
        parts = [
            2 * (hills[:, first[pair], :, None] * hills[:, second[pair], None, :]).reshape(len(hills), -1)
            for pair in best
        ]
        group = len(scales) + np.repeat(np.arange(len(best)), len(SURFACE_KNOTS) ** 2)
        added = np.hstack([np.zeros((len(hills), 0)), *parts])
        values = np.hstack([self.values, added - added.mean(axis=0)])
        more = np.minimum(1, worth[best] / max(worth.max(), 1e-30))
        return Features(values, np.concatenate([self.group, group]), self.scores), np.concatenate([scales, more])

    def scaled(self, by_group: np.ndarray) -> Features:
        """Return the features times their group's scale."""
        return Features(self.values * by_group[self.group], self.group, self.scores)


class Ridge:
    """Ridge regressions of several targets on the same features, each with a penalty of its own.

    Attributes
    ----------
    left_out : ndarray of shape (n_rows, n_targets)
        Prediction of each row by the others, or by those of other groups.
    coefficients : ndarray of shape (n_features, n_targets)
    penalties : ndarray of shape (n_targets,)

    Notes
    -----
    With the hat matrix H of the centred features, the prediction without row i follows from the one with it:
    ``y_i - (y_i - (H y)_i) / (1 - H_ii - 1 / n)``. Without a group, in the same way, by the group's block of H.
    """

    def __init__(self, A: np.ndarray, targets: np.ndarray, slack: float, groups: np.ndarray | None = None) -> None:
        n = len(A)
        few = A.shape[1] <= n
        squares, vectors = np.linalg.eigh(A.T @ A if few else A @ A.T)
        kept = squares > max(squares[-1], 1e-30) * 1e-9
        squares, vectors = squares[kept], vectors[:, kept]
        U = A @ (vectors / np.sqrt(squares)) if few else vectors
        mean = targets.mean(axis=0)
        along = U.T @ (targets - mean)
        candidates, errors, own_shares = [], [], U**2
        units = [] if groups is None else _by_size(groups)
        for penalty in PENALTIES * squares[-1] if len(squares) else []:
            shrink = squares / (squares + penalty)
            rest = targets - mean - U @ (shrink[:, None] * along)
            own = own_shares @ shrink + 1 / n
            left = rest / (1 - own)[:, None] if groups is None else _left_out(rest, U, shrink, units)
            if own.max() <= MOST_OWN and left is not None:
                candidates.append((penalty, targets - left))
                errors.append((left**2).mean(axis=0))
        self.left_out, self.penalties = np.tile(mean, (n, 1)), np.full(len(mean), np.inf)
        self.coefficients = np.zeros((A.shape[1], len(mean)))
        if candidates:
            chosen = (np.array(errors) <= np.min(errors, axis=0) * (1 + slack)).argmax(axis=0)
            for k, at in enumerate(chosen):
                self.penalties[k], predicted = candidates[at]
                self.left_out[:, k] = predicted[:, k]
                self.coefficients[:, k] = A.T @ (U @ (along[:, k] / (squares + self.penalties[k])))


def _by_size(groups: np.ndarray) -> list[np.ndarray]:
    """Return the rows of all groups of one size, (n_groups, size), for each size that there is."""
    unit, sizes = np.unique(groups, return_inverse=True, return_counts=True)[1:]
    by_group = np.split(np.argsort(unit, kind="stable"), np.cumsum(sizes)[:-1])
    return [np.stack([rows for rows in by_group if len(rows) == size]) for size in np.unique(sizes)]


def _left_out(rest: np.ndarray, U: np.ndarray, shrink: np.ndarray, units: Any) -> np.ndarray | None:
    """Return what other groups leave of targets, from what all rows leave; None where a group decides for itself.

    Parameters
    ----------
    rest : ndarray of shape (n_rows, n_targets)
    U : ndarray of shape (n_rows, rank)
    shrink : ndarray of shape (rank,)
        With it, the hat matrix is ``U diag(shrink) U' + 1 / n``.
    units : list of ndarray of shape (n_units, size)
        Rows that are left out together.
    """
    left = np.empty_like(rest)
    for rows in units:
        part = U[rows]
        own = (part * shrink) @ part.transpose(0, 2, 1) + 1 / len(U)
        if np.linalg.eigvalsh(own)[:, -1].max() > MOST_OWN:
            return None
        left[rows] = np.linalg.solve(np.eye(rows.shape[1]) - own, rest[rows])
    return left


def learned(
    features: Features, targets: np.ndarray, slack: float = SLACK, groups: np.ndarray | None = None
) -> tuple[list[np.ndarray], Features, np.ndarray]:
    """Fit targets, round after round.

    Parameters
    ----------
    features : Features
    targets : ndarray of shape (n_rows, n_targets)
    slack : float
        See `SLACK`; 0 for the least error.
    groups : ndarray of shape (n_rows,), optional
        Of rows that are left out together.

    Returns
    -------
    predictions : list of ndarray of shape (n_rows, n_targets)
        Of each round: every row predicted by the others.
    features : Features
        As they are scaled in the last round.
    penalties : ndarray of shape (n_targets,)
        Of the last round.
    """
    fit = Ridge(features.values, targets, 0.0, groups)
    predictions = [fit.left_out]
    for number in range(ROUNDS):
        scales = _contributions(features, fit.coefficients, targets)
        if number == 0:
            features, scales = features.with_surfaces(scales)
        features = features.scaled(scales)
        fit = Ridge(features.values, targets, slack, groups)
        predictions.append(fit.left_out)
    return predictions, features, fit.penalties


def cross_predicted(
    Z: np.ndarray,
    targets: np.ndarray,
    fold: np.ndarray,
    groups: np.ndarray | None = None,
    penalty_share: float = 1.0,
) -> np.ndarray:
    """Predict targets from the columns of `Z`, each fold's rows by the others.

    A prediction of a row by all others would betray the row: where nothing is to be learned it is their mean, the lower
    the higher the row's own value.

    Parameters
    ----------
    Z : ndarray of shape (n_rows, n_columns)
    targets : ndarray of shape (n_rows, n_targets)
    fold : ndarray of shape (n_rows,), int
    groups : ndarray of shape (n_rows,), optional
        Of rows that are left out together where penalties are chosen.
    penalty_share : float
        Penalties are those of the least error times this.
    """
    _, features, penalties = learned(Features.of(Z), targets, 0.0, groups)
    A = features.values
    predicted = np.empty(targets.shape)
    for number in np.unique(fold):
        train = fold != number
        centre, mean = A[train].mean(axis=0), targets[train].mean(axis=0)
        K = A[train] - centre
        for k, penalty in enumerate(penalties):
            predicted[~train, k] = mean[k]
            if np.isfinite(penalty):
                beta = _solved(K, targets[train, k] - mean[k], penalty_share * penalty)
                predicted[~train, k] += (A[~train] - centre) @ beta
    return predicted


def folds_of(n: int, random_state: int, groups: np.ndarray | None = None, n_folds: int = 5) -> np.ndarray:
    """Deal rows out to folds at random, those of a group to one: the number of each row's fold, (n,)."""
    rng = np.random.default_rng(random_state)
    if groups is None:
        return rng.permutation(n) % n_folds
    unit = np.unique(groups, return_inverse=True)[1]
    return (rng.permutation(int(unit.max()) + 1) % n_folds)[unit]


def standardised(X: np.ndarray) -> np.ndarray:
    """Bring columns to mean 0 and variance 1; constant ones to 0."""
    X = np.asarray(X, float)
    spread = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(spread > 1e-9 * np.maximum(np.abs(X).max(axis=0), 1e-30), spread, np.inf)


def normal_scores(X: np.ndarray) -> np.ndarray:
    return norm.ppf((rankdata(X, axis=0) - 0.5) / len(X))


def _contributions(features: Features, coefficients: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return each group's scale: the standard deviation of what it adds, over targets, relative to the largest."""
    n_groups = int(features.group.max()) + 1
    member = np.zeros((len(features.group), n_groups))
    member[np.arange(len(member)), features.group] = 1
    total = np.zeros(n_groups)
    for k in range(targets.shape[1]):
        parts = features.values @ (member * coefficients[:, k, None])  # (n_rows, n_groups)
        total += parts.std(axis=0) / max(targets[:, k].std(), 1e-30)
    return total / max(total.max(), 1e-30) + FLOOR


def _solved(A: np.ndarray, b: np.ndarray, penalty: float) -> np.ndarray:
    if A.shape[1] <= len(A):
        return np.linalg.solve(A.T @ A + penalty * np.eye(A.shape[1]), A.T @ b)
    return A.T @ np.linalg.solve(A @ A.T + penalty * np.eye(len(A)), b)
