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
    """

    rows: np.ndarray
    taken: np.ndarray
    feature: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> Pairs:
        return Pairs(self.rows[part], self.taken[part], self.feature[part])

    def padded(self, size: int) -> Pairs:
        """Repeat the last pair up to `size`: each size of a call is compiled anew."""
        if len(self) == size:
            return self
        missing = (0, size - len(self))
        return Pairs(*(np.pad(part, missing, mode="edge") for part in (self.rows, self.taken, self.feature)))

    def by_feature(self) -> Iterator[tuple[int, slice]]:
        """Walk the features that occur: (feature, where its pairs are), in order."""
        features, starts = np.unique(self.feature, return_index=True)
        for feature, start, stop in zip(features, starts, [*starts, len(self)][1:], strict=True):
            yield int(feature), slice(start, stop)
