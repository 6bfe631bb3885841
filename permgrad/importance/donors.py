"""Whose values rows take: an order of the rows, in which a row that weighs more gives its value more often."""

from __future__ import annotations

import numpy as np


def shuffled(n: int, rng: np.random.Generator, weights: np.ndarray | None = None) -> np.ndarray:
    """Return for each of `n` rows the row whose value it takes, (n,), int: a permutation, where rows weigh alike.

    Parameters
    ----------
    n : int
    rng : numpy Generator
    weights : ndarray of shape (n,), optional
        A row of weight w gives its value to n w / (sum of weights) rows: rounded up or down, by chance, so that this is
        its mean. As often as it would, were it w rows.
    """
    if weights is None:
        return rng.permutation(n)
    return shuffled_within(np.zeros(n, np.int32), rng, weights)


def shuffled_within(bins: np.ndarray, rng: np.random.Generator, weights: np.ndarray | None = None) -> np.ndarray:
    """Return the same, int32, where each row takes the value of one of its own bin.

    Parameters
    ----------
    bins : ndarray of shape (n,), int
    rng : numpy Generator
    weights : ndarray of shape (n,), optional
        See `shuffled`; a bin in which nothing weighs is left as it is.
    """
    order = np.empty(len(bins), np.int32)
    by_bin = np.argsort(bins, kind="stable")
    drawn = np.lexsort((rng.random(len(bins)), bins))
    if weights is None:
        order[by_bin] = drawn
        return order
    # Systematic sampling: on the line of a bin's weights, equally spaced points from a random start.
    _, starts, sizes = np.unique(bins[by_bin], return_index=True, return_counts=True)
    line = np.concatenate([[0.0], np.cumsum(weights[by_bin])])
    total = line[starts + sizes] - line[starts]
    place = np.arange(len(bins)) - np.repeat(starts, sizes) + np.repeat(rng.random(len(starts)), sizes)
    points = np.repeat(line[starts], sizes) + place * np.repeat(total / sizes, sizes)
    at = np.searchsorted(line, points, side="right") - 1
    at = np.clip(at, np.repeat(starts, sizes), np.repeat(starts + sizes - 1, sizes))
    order[drawn] = np.where(np.repeat(total, sizes) > 0, by_bin[at], drawn)
    return order
