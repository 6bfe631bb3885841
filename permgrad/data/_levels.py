"""The levels of a column: which rows hold which, which have a 0/1 column of their own, which share one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

FEW_LEVELS = 30
"""A column with at most so many levels keeps all of them, however rare."""
MOST_LEVELS = 100
"""Levels of one column that have a 0/1 column of their own, at most: the most frequent ones."""
MIN_ROWS = 4
"""Training rows that such a level is in, at least, where there are more than `FEW_LEVELS`."""
MISSING = "(missing)"


def factorized(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Return the number of each row's level, shape (n_rows,), -1 where it is missing, and the levels as text.

    Two levels may have the same text.
    """
    if pd.api.types.is_object_dtype(column) and pd.api.types.infer_dtype(column) not in ("string", "boolean"):
        column = column.map(str, na_action="ignore")  # 1 and True are equal, their texts are not
    codes, levels = pd.factorize(column)
    return codes, [*map(str, levels)]


def with_missing(column: pd.Series) -> tuple[np.ndarray, list[str]]:
    """Return what `factorized` does, missing values as a level of their own, the last one, if there are any."""
    codes, texts = factorized(column)
    gaps = codes < 0
    return (np.where(gaps, len(texts), codes), [*texts, MISSING]) if gaps.any() else (codes, texts)


def counted(column: pd.Series) -> Counter[str]:
    """Return the number of rows of each level, missing values being one."""
    codes, texts = with_missing(column)
    counts: Counter[str] = Counter()
    for text, count in zip(texts, np.bincount(codes, minlength=len(texts)).tolist(), strict=True):
        counts[text] += count
    return counts


def kept_and_pooled(counts: Mapping[str, int]) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Part levels into those with a 0/1 column of their own, and pools of levels that are about as frequent.

    Parameters
    ----------
    counts : mapping of str to int
        Training rows of each level.

    Returns
    -------
    kept : tuple of str
        In alphabetical order: all of at most 30 levels; of more, those in at least 4 rows, the 100 most frequent ones
        (of equally frequent ones, the first by name).
    pools : dict
        "(in 1-3 rows)", "(in 4-7 rows)", "(in 8-15 rows)", ..., as far as they are not empty, the rarest first: the
        levels in it. The rarest lists none: it holds what is nowhere else, and so what was not seen in training.
    """
    if len(counts) <= FEW_LEVELS:
        return tuple(sorted(counts)), {}
    by_frequency = sorted(counts, key=lambda level: (-counts[level], level))
    kept = [level for level in by_frequency if counts[level] >= MIN_ROWS][:MOST_LEVELS]
    pools: dict[str, list[str]] = {}
    for level in reversed(by_frequency[len(kept) :]):
        pools.setdefault(_pool_of(counts[level]), []).append(level)
    rarest = next(iter(pools), None)
    return tuple(sorted(kept)), {pool: () if pool == rarest else tuple(sorted(pools[pool])) for pool in pools}


def places(texts: Sequence[str], kept: Sequence[str], pools: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Return where in its column's 0/1 columns each level's 1 is, those kept first: (n_levels,), -1 for nowhere."""
    known = {level: place for place, level in enumerate(kept)}
    for place, levels in enumerate(pools.values(), len(kept)):
        known |= dict.fromkeys(levels, place)
    otherwise = len(kept) if pools else -1
    return np.array([known.get(text, otherwise) for text in texts], int)


def _pool_of(count: int) -> str:
    low = max(4, 1 << count.bit_length()) // 2
    return f"(in {1 if count < 4 else low}-{2 * low - 1} rows)"
