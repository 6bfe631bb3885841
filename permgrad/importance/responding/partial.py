"""Partial dependence: the mean answer if all rows had a value; and of pairs of columns, what both do together."""

from __future__ import annotations

import numpy as np

from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.responding.answers import Answers, Question
from permgrad.importance.responding.grid import Grid
from permgrad.importance.responding.replicates import Curve, ends_of, shares_of


def everywhere(columns: tuple[int, ...], grids: tuple[Grid, ...], rows: np.ndarray) -> Question:
    """Ask about each row with each value, or pair of values: value by value, all rows of each."""
    at = np.meshgrid(*(grid.donors for grid in grids), indexing="ij")
    taken = {column: np.repeat(donors.ravel(), len(rows)) for column, donors in zip(columns, at, strict=True)}
    return Question(np.tile(rows, at[0].size), taken)


def partial(answers: Answers, grid: Grid, said: np.ndarray, bootstrap: Bootstrap) -> Curve:
    """Return the partial dependence on a column: the mean over the rows of what is answered with each value.

    Parameters
    ----------
    answers : Answers
    grid : Grid
    said : ndarray of shape (n_grid * n_rows, width)
        The answers to `everywhere`.
    bootstrap : Bootstrap
        Of the rows.

    References
    ----------
    Friedman, Greedy function approximation: a gradient boosting machine, Annals of Statistics 29 (2001).
    """
    weights = np.ones(len(answers)) if answers.weights is None else answers.weights
    means = replicated_means(said.reshape(len(grid), len(answers), -1), weights, bootstrap)
    return Curve(means[0], *ends_of(means, bootstrap), shares_of(grid, weights, bootstrap).sum(axis=1) / weights.sum())


def replicated_means(said: np.ndarray, weights: np.ndarray, bootstrap: Bootstrap) -> np.ndarray:
    """Return means over rows, and replicates of them: (1 + n_replicates, n_grid, width), of (n_grid, n_rows, width)."""
    n_grid, n_rows, width = said.shape
    by_bundle = np.zeros((n_grid, width, bootstrap.n_bundles))
    rows = np.arange(n_rows)
    for value in range(n_grid):
        for k in range(width):
            by_bundle[value, k] = bootstrap.sums(rows, said[value, :, k] * weights)[0]
    drawn = np.vstack([np.ones(bootstrap.n_bundles), bootstrap.weights])
    return np.einsum("rb,gkb->rgk", drawn, by_bundle, optimize=True) / (drawn @ bootstrap.counts)[:, None, None]


def joint_shares(grids: tuple[Grid, Grid], weights: np.ndarray) -> np.ndarray:
    """Return the share of rows at each pair of values, (n_first, n_second): next to it, as their hats say."""
    full = []
    for grid in grids:
        rows, values, parts = grid.hats()
        dense = np.zeros((len(weights), len(grid)))
        np.add.at(dense, (rows, values), parts)
        full.append(dense)
    return (full[0] * weights[:, None]).T @ full[1] / weights.sum()


def pair(answers: Answers, grids: tuple[Grid, Grid], said: tuple[np.ndarray, ...], bootstrap: Bootstrap) -> Curve:
    """Return what two columns do together beyond what each does: F(a, b) - F(a) - F(b) + mean answer.

    Parameters
    ----------
    answers : Answers
    grids : (Grid, Grid)
    said : tuple of ndarray
        The answers to `everywhere` of both, of the first and of the second.
    bootstrap : Bootstrap
        Of the rows.

    Returns
    -------
    Curve
        Arrays of shape (n_first, n_second, width), the shares' (n_first, n_second).
    """
    weights = np.ones(len(answers)) if answers.weights is None else answers.weights
    sizes = (len(grids[0]) * len(grids[1]), len(grids[0]), len(grids[1]))
    both, first, second = (
        replicated_means(one.reshape(size, len(answers), -1), weights, bootstrap)
        for one, size in zip(said, sizes, strict=True)
    )
    own = replicated_means(answers.own[None], weights, bootstrap)
    effects = both.reshape(len(both), sizes[1], sizes[2], -1) - first[:, :, None] - second[:, None] + own[:, :, None]
    return Curve(effects[0], *ends_of(effects, bootstrap), joint_shares(grids, weights))
