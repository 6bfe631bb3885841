"""What permutations do to rows: by which values columns change, and which rows trade them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True, eq=False)
class Change:
    """What the permutations of some features do to one branch's input.

    Attributes
    ----------
    columns : list of ndarray
        For each feature: its positions in the branch's flat rows.
    values : ndarray of shape (n_rows, n_columns)
        Those columns of the table, feature after feature.
    """

    columns: list[np.ndarray]
    values: np.ndarray

    @cached_property
    def ends(self) -> np.ndarray:
        """Where each feature's columns begin in `values`, and where the last one's end."""
        return np.concatenate([[0], np.cumsum([len(columns) for columns in self.columns])])

    def of_feature(self, feature: int) -> slice:
        """Return which columns of `values` are this feature's."""
        return slice(self.ends[feature], self.ends[feature + 1])


@dataclass(frozen=True, eq=False)
class Pairs:
    """Some rows under some permutations.

    Attributes
    ----------
    rows, taken : ndarray of shape (n_pairs,), int
        The row, and the row that its permuted columns are taken from.
    feature : ndarray of shape (n_pairs,), int
        Which feature is permuted, by its place in `Change.columns`; ascending.
    n_blocks : int
        The pairs are so many blocks of one size, each of one feature; 0 if they are in no such order.
    """

    rows: np.ndarray
    taken: np.ndarray
    feature: np.ndarray
    n_blocks: int = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Pairs:
        return Pairs(self.rows[part], self.taken[part], self.feature[part])

    def padded(self, size: int) -> Pairs:
        """Repeat the last pair up to `size`: each size of a call is compiled anew."""
        if len(self) == size:
            return self
        missing = (0, size - len(self))
        rows, taken, feature = (np.pad(part, missing, mode="edge") for part in (self.rows, self.taken, self.feature))
        return Pairs(rows, taken, feature)

    def in_blocks(self, blocks: list[slice], size: int, n_blocks: int) -> tuple[Pairs, np.ndarray]:
        """Lay some parts, of a feature each, into blocks of one size; each one's last pair is repeated, and the last.

        Returns
        -------
        Pairs
            Of `n_blocks` times `size` pairs.
        ndarray of int
            Where the parts' pairs are among them, in order.
        """
        starts, stops = np.array([(block.start, block.stop) for block in blocks]).T
        at = starts[:, None] + np.arange(size)
        places = np.flatnonzero(at < stops[:, None])
        at = np.minimum(at, stops[:, None] - 1)
        at = np.concatenate([at, np.full((n_blocks - len(blocks), size), stops[-1] - 1)]).reshape(-1)
        return Pairs(self.rows[at], self.taken[at], self.feature[at], n_blocks), places

    def by_feature(self) -> Iterator[tuple[int, slice]]:
        """Walk the features that occur: (feature, where its pairs are), in order."""
        features, starts = np.unique(self.feature, return_index=True)
        for feature, start, stop in zip(features, starts, [*starts, len(self)][1:], strict=True):
            yield int(feature), slice(start, stop)
