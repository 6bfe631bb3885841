"""What some columns tell of others where three or more decide together: kernel regression in a metric that is learned.

A kernel over all columns alike needs more rows than there are: most columns tell nothing, and rows that are alike in
those that do are far apart. So the kernel is fitted a few times, each time with every column scaled by how steeply the
fit before depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dpotrf, dpotri
from scipy.spatial import cKDTree

from permgrad.importance.permuting._ties import normal_scores, standardised

ROUNDS = 4
WIDTH = 2.0
"""Of the kernel, in units of the scaled columns' standard deviation."""
STEEPNESS = 4.0
"""Of the steep copy of each column, in which a threshold at its median is not far to go."""
LEAST = 1e-5
"""Share of the squared steepness that a column is taken to have at least: it may come to count in a later round."""
ROWS_FOR_SCALES = 500
ROWS_TO_LEARN = 2000
"""At most, drawn at random: the work grows with their cube."""
LEAST_TO_BE_NEAR = 0.2
"""Share of the largest squared scale, below which a column does not decide which rows are near."""
MOST_TO_BE_NEAR = 8
"""Columns that decide it: among more, no row is near."""
COARSE = np.array([1e-2, 1e-1, 1.0, 10.0])
PENALTIES = np.array([3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 10.0])
"""Variance of the noise, relative to the kernel's; the coarse ones while scales are learned."""


class KernelRidge:
    """Ridge regression of targets on columns, with a Matérn kernel (5/2) whose scales are learned.

    The columns are their normal scores, and steep copies of these. Scales and penalties have the least error of
    predicting a row by the others, of 500 rows at most; no two of them of one group.

    Parameters
    ----------
    Z : ndarray of shape (n_rows, n_columns)
    targets : ndarray of shape (n_rows, n_targets)
    random_state : int
        Of the rows drawn.
    groups : ndarray of shape (n_rows,), optional

    References
    ----------
    Radhakrishnan, Beaglehole, Pandit & Belkin, Science 383 (2024), recursive feature machines: scales are the root
    mean squares of the fit's gradient.
    """

    def __init__(self, Z: np.ndarray, targets: np.ndarray, random_state: int, groups: np.ndarray | None = None) -> None:
        self._seed = random_state
        rows = _unrelated(len(Z), np.random.default_rng(random_state), groups)[:ROWS_FOR_SCALES]
        inputs, T = _inputs(Z)[rows], standardised(targets[rows])
        candidate, found = np.full(inputs.shape[1], inputs.shape[1] ** -0.5), []
        for _ in range(ROUNDS + 1):
            A = inputs * candidate / WIDTH
            error, alpha, _ = _fit(A, T, COARSE)
            found.append((error.sum(), candidate))
            squares = sum((_gradients(A, weights, A) ** 2).sum(axis=0) for weights in alpha.T) * candidate**2
            candidate = np.sqrt(np.maximum(squares / max(squares.sum(), 1e-30), LEAST))
        self.scales = min(found, key=lambda each: each[0])[1] / WIDTH
        self.penalties = PENALTIES[_fit(inputs * self.scales, T, PENALTIES)[2]]

    def predicted(self, Z: np.ndarray, targets: np.ndarray, fold: np.ndarray, penalty_share: float = 1.0) -> np.ndarray:
        """Predict each fold's targets by the other folds' rows, 2,000 of them at most.

        Parameters
        ----------
        Z : ndarray of shape (n_rows, n_columns)
        targets : ndarray of shape (n_rows, n_targets)
        fold : ndarray of shape (n_rows,), int
        penalty_share : float
            Penalties are those of the least error times this.
        """
        A, predicted = _inputs(Z) * self.scales, np.empty(targets.shape)
        for asked, rows, mean, alpha in self._fits(A, targets, fold, penalty_share):
            predicted[asked] = mean + _kernel(A[asked], A[rows]) @ alpha
        return predicted

    def steepness(self, Z: np.ndarray, targets: np.ndarray, fold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return how steeply, at each row, the other folds' fits depend on the columns, and what the fits leave.

        Parameters
        ----------
        Z : ndarray of shape (n_rows, n_columns)
        targets : ndarray of shape (n_rows, n_targets)
        fold : ndarray of shape (n_rows,), int

        Returns
        -------
        steepness : ndarray of shape (n_rows,)
            Norm of the gradient over columns and targets: root mean squares of what the fits leave, a standard
            deviation of the columns' normal scores.
        left : ndarray of shape (n_rows, n_targets)
            Targets less predictions.
        """
        inputs, slopes = _inputs(Z), _slopes(Z)
        A, squares, left = inputs * self.scales, np.zeros(len(Z)), np.zeros(targets.shape)
        for asked, rows, mean, alpha in self._fits(A, targets, fold):
            left[asked] = targets[asked] - mean - _kernel(A[asked], A[rows]) @ alpha
            for weights in alpha.T:
                of_inputs = _gradients(A[asked], weights, A[rows]) * self.scales * slopes[asked]
                of_columns, of_steep_copies = np.hsplit(of_inputs, 2)
                squares[asked] += ((of_columns + of_steep_copies) ** 2).sum(axis=1)
        return np.sqrt(squares / max((left**2).sum(axis=1).mean(), 1e-30)), left

    def _fits(
        self, A: np.ndarray, targets: np.ndarray, fold: np.ndarray, penalty_share: float = 1.0
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield each fold's rows, those it is predicted by, their targets' means and weights (n_rows, n_targets)."""
        rng = np.random.default_rng(self._seed)
        for number in np.unique(fold):
            rows, asked = rng.permutation(np.flatnonzero(fold != number))[:ROWS_TO_LEARN], fold == number
            mean, inside, alpha = targets[rows].mean(axis=0), _kernel(A[rows], A[rows]), np.empty(targets[rows].shape)
            for penalty in np.unique(self.penalties):
                those = self.penalties == penalty
                factor = cho_factor(inside + penalty_share * penalty * np.eye(len(rows)), lower=True)
                alpha[:, those] = cho_solve(factor, targets[np.ix_(rows, those)] - mean[those])
            yield asked, rows, mean, alpha

    def decisive(self, n_columns: int) -> np.ndarray:
        """Return the numbers of the columns, with their steep copies, on which the fit depends most, most of all first.

        Parameters
        ----------
        n_columns : int
            At most.
        """
        squares = (self.scales.reshape(2, -1) ** 2).sum(axis=0)
        return np.argsort(-squares, kind="stable")[:n_columns]

    def nearest(self, Z: np.ndarray, fold: np.ndarray, n_nearest: int) -> np.ndarray:
        """Return the rows of other folds that are nearest to each row in the columns that matter most.

        Parameters
        ----------
        Z : ndarray of shape (n_rows, n_columns)
        fold : ndarray of shape (n_rows,), int
        n_nearest : int

        Returns
        -------
        ndarray of shape (n_rows, n_nearest), int
        """
        largest = np.argsort(-self.scales, kind="stable")[:MOST_TO_BE_NEAR]
        deciding = largest[self.scales[largest] ** 2 >= LEAST_TO_BE_NEAR * self.scales.max() ** 2]
        A, found = _inputs(Z)[:, deciding] * self.scales[deciding], np.empty((len(Z), n_nearest), int)
        for number in np.unique(fold):
            others, asked = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
            found[asked] = others[cKDTree(A[others]).query(A[asked], range(1, n_nearest + 1))[1]]
        return found


def _inputs(Z: np.ndarray) -> np.ndarray:
    scores = standardised(normal_scores(Z))
    return np.hstack([scores, standardised(np.tanh(STEEPNESS * scores))])


def _slopes(Z: np.ndarray) -> np.ndarray:
    """Return the derivative of each of `_inputs` with respect to the column's standardised normal score."""
    steep = np.tanh(STEEPNESS * standardised(normal_scores(Z)))
    spread = steep.std(axis=0)
    return np.hstack([np.ones(steep.shape), STEEPNESS * (1 - steep**2) / np.where(spread > 0, spread, np.inf)])


def _unrelated(n: int, rng: np.random.Generator, groups: np.ndarray | None) -> np.ndarray:
    """Return rows in random order: all, or one of each group."""
    order = rng.permutation(n)
    return order if groups is None else order[np.sort(np.unique(groups[order], return_index=True)[1])]


def _distances(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return √5 times the distances between rows of `A` and of `B`."""
    squares = (A**2).sum(axis=1)[:, None] + (B**2).sum(axis=1) - 2 * A @ B.T
    return np.sqrt(5 * np.maximum(squares, 0))


def _kernel(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    far = _distances(A, B)
    return (1 + far + far**2 / 3) * np.exp(-far)


def _gradients(A: np.ndarray, alpha: np.ndarray, B: np.ndarray) -> np.ndarray:
    """Return the gradient, at each row of `A`, of the fit with weights `alpha` at the rows of `B`: shape of `A`."""
    far = _distances(A, B)
    slope = -5 / 3 * (1 + far) * np.exp(-far) * alpha
    return A * slope.sum(axis=1)[:, None] - slope @ B


def _fit(A: np.ndarray, T: np.ndarray, penalties: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit targets of mean 0; return, of each target's best penalty, its error, weights (n_rows, n_targets), number.

    Without row i, its error is the i-th weight over the i-th of the diagonal of the inverse.
    """
    K, errors, weights = _kernel(A, A), [], []
    for penalty in penalties:
        inverse = dpotri(dpotrf(K + penalty * np.eye(len(K)), lower=1)[0], lower=1)[0]
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        weights.append(inverse @ T)
        errors.append(((weights[-1] / np.diag(inverse)[:, None]) ** 2).mean(axis=0))
    best = np.argmin(errors, axis=0)
    of_target = np.arange(T.shape[1])
    return np.array(errors)[best, of_target], np.array(weights)[best, :, of_target].T, best
