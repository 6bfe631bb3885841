"""Which features what a model leaves unexplained still depends on: alone, or together with another.

A network with many columns and few rows can miss a pair that tells much, such as two columns whose classes form a ring,
and a network trained on the others alone misses it again. A test of each pair does not: it has a few numbers to
estimate, not thousands of weights. Residuals are tested for each feature, as a smooth function of its ranks, and for
the product of two such functions. Both are Lagrange multiplier tests that hold where residuals vary more for some
values than for others, corrected for their number by Bonferroni.

References
----------
Neyman, "Smooth test" for goodness of fit (1937): cosines of ranks. Davidson & MacKinnon, Estimation and inference in
econometrics (1993), 13.7: the test by the outer product of gradients. Lou, Caruana, Gehrke & Hooker, Accurate
intelligible models with pairwise interactions (KDD 2013): all pairs, ranked cheaply by what they tell of residuals.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import beta, rankdata

WAVES = 4
"""Cosines of each column's ranks: the last has two periods, so that a ring in the unit square can be told."""
LEVEL = 0.01
"""Chance that a table of noise has any such feature, and again that it has any such pair."""
MOST_PAIRS = 50
"""That are tested in full: those of the largest products."""
TINY = 1e-6


def waves(columns: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Return a few smooth functions of each feature, orthonormal over the rows, shape (n_features, n_rows, `WAVES`).

    Parameters
    ----------
    columns : ndarray of shape (n_rows, n_columns)
    owners : ndarray of shape (n_columns,), int
        The feature of each column. Of a feature of several columns, the main directions of all their cosines.

    Returns
    -------
    ndarray
        A column of two values has one function, a constant none; the others are 0.
    """
    n_rows = len(columns)
    ranks = (rankdata(columns, axis=0) - 0.5) / n_rows
    cosines = np.cos(np.pi * ranks[:, :, None] * np.arange(1, WAVES + 1))
    found = np.zeros((int(owners.max()) + 1, n_rows, WAVES))
    for feature, own in enumerate(found):
        each = cosines[:, owners == feature].reshape(n_rows, -1)
        left, sizes, _ = np.linalg.svd(each - each.mean(axis=0), full_matrices=False)
        directions = left[:, :WAVES][:, sizes[:WAVES] > TINY * n_rows]
        own[:, : directions.shape[1]] = directions
    return found


def unexplained(residuals: np.ndarray, functions: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return which features, other than the known ones, residuals depend on.

    Parameters
    ----------
    residuals : ndarray of shape (n_rows, n_outputs)
    functions : ndarray of shape (n_features, n_rows, `WAVES`)
        See `waves`.
    known : ndarray of bool, shape (n_features,)
        Features that the model looked at. Pairs of two known ones are not tested.

    Returns
    -------
    ndarray of bool, shape (n_features,)
    """
    found = np.zeros(len(known), bool)
    n_unknown = int((~known).sum())
    n_pairs = n_unknown * (n_unknown - 1) // 2 + n_unknown * int(known.sum())
    for residual in (residuals - residuals.mean(axis=0)).T:
        for feature in np.flatnonzero(~known):
            found[feature] |= p_value(residual, functions[feature]) * n_unknown * residuals.shape[1] < LEVEL
        for pair in likely_pairs(residual, functions, known):
            found[pair] |= pair_p_value(residual, *functions[pair]) * n_pairs * residuals.shape[1] < LEVEL
    return found & ~known


def p_value(residual: np.ndarray, functions: np.ndarray) -> float:
    """Return the p-value of residuals that do not depend on some functions of mean 0, shape (n_rows, n_functions).

    A row's score is its residual times its functions. Of scores whose mean is 0, the share that they explain of a
    column of ones has a beta distribution.
    """
    scores = functions * residual[:, None]
    left, sizes, _ = np.linalg.svd(scores, full_matrices=False)
    directions = left[:, sizes > TINY * max(sizes[0], TINY)]
    n_rows, rank = directions.shape
    share = (directions.sum(axis=0) ** 2).sum() / n_rows
    return float(beta.sf(share, rank / 2, (n_rows - rank) / 2)) if 0 < rank < n_rows else 1.0


def pair_p_value(residual: np.ndarray, one: np.ndarray, other: np.ndarray) -> float:
    """Return that of the products of two features' functions, beyond what is a sum of a function of each."""
    products = (one[:, :, None] * other[:, None, :]).reshape(len(one), -1)
    sums = np.column_stack([np.ones(len(one)), one, other])
    return p_value(residual, products - sums @ np.linalg.lstsq(sums, products, rcond=None)[0])


def likely_pairs(residual: np.ndarray, functions: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the pairs whose products of functions tell most, unless both are known; shape (n_pairs, 2), best first."""
    n_features, n_rows, n_functions = functions.shape
    x = functions.transpose(1, 0, 2).reshape(n_rows, -1).astype(np.float32)
    weights = residual.astype(np.float32)[:, None]
    squares = (x.T @ (x * weights)) ** 2
    spread = (x**2).T @ (x**2 * weights**2)
    ratios = squares / np.maximum(spread, np.finfo(np.float32).tiny)
    strength = ratios.reshape(n_features, n_functions, n_features, n_functions).sum(axis=(1, 3))
    strength[np.ix_(known, known)] = -1
    one, other = np.triu_indices(n_features, 1)
    best = np.argsort(-strength[one, other], kind="stable")[:MOST_PAIRS]
    best = best[strength[one, other][best] > 0]
    return np.column_stack([one, other])[best]
