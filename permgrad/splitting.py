"""A split into parts in which no class has more than so many rows: common classes do not drown rare ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from permgrad.errors import PermGradError, listing


def capped_split(y: Any, caps: Sequence[int] = (5000, 1000, 1000), *, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Split rows class by class, with a largest number of each class in each part.

    Parameters
    ----------
    y : array of shape (n_rows,)
        Labels.
    caps : sequence of int
        Rows of one class in train, validation and test at most. A class of fewer rows than their sum is split in
        their proportion, to the nearest row, with at least one row in each part.
    seed : int

    Returns
    -------
    tuple of ndarray
        Row numbers of each part, sorted.

    Raises
    ------
    PermGradError
        If a cap is not positive, or a class has fewer rows than there are parts.
    """
    labels, sizes = np.asarray(y), np.asarray(caps)
    if len(sizes) < 2 or sizes.min() < 1:
        raise PermGradError(f"caps must be two or more positive numbers of rows, got {tuple(caps)}")
    classes, counts = np.unique(labels, return_counts=True)
    small = classes[counts < len(sizes)]
    if len(small):
        raise PermGradError(f"each class needs a row for each of {len(sizes)} parts, not so: {listing(small.tolist())}")
    rng = np.random.default_rng(seed)
    parts: list[list[np.ndarray]] = [[] for _ in sizes]
    for label in classes:
        rows = rng.permutation(np.flatnonzero(labels == label))[: sizes.sum()]
        for part, drawn in zip(parts, np.split(rows, np.cumsum(_shares(len(rows), sizes))[:-1]), strict=True):
            part.append(drawn)
    return tuple(np.sort(np.concatenate(part)) for part in parts)


def _shares(n: int, sizes: np.ndarray) -> np.ndarray:
    """Return `n` rows dealt out in proportion to `sizes`, by largest remainders, at least one each."""
    exact = n * sizes / sizes.sum()
    dealt = np.maximum(np.floor(exact).astype(int), 1)
    while dealt.sum() < n:
        dealt[np.argmax(exact - dealt)] += 1
    while dealt.sum() > n:
        dealt[np.argmax(np.where(dealt > 1, dealt - exact, -np.inf))] -= 1
    return dealt
