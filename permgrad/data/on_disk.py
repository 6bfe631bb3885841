"""Rows of a matrix that stays in its file, sparse or dense: what is asked for is read, and nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

GAP = 64
"""Rows between two that are wanted, up to which they are read with what lies between: one reading costs as much."""
SPAN = 4096
"""Rows of the file that are read at once at most: thinly spread, a few wanted ones would else bring the whole file."""
BLOCK_NUMBERS = 2**24
"""Numbers, zeros included, of the rows that are read at once into memory."""


class RowsOnDisk:
    """A matrix in a file, of which some rows and columns are seen.

    Parameters
    ----------
    dataset : anndata's backed CSR dataset, or an h5py dataset
        Anything with a ``shape`` that gives a sparse matrix or an array for ``dataset[start:stop]``.
    rows, columns : ndarray of int, optional
        Which are seen, in which order; by default all.

    Attributes
    ----------
    shape : (int, int)
    """

    def __init__(self, dataset: Any, rows: np.ndarray | None = None, columns: np.ndarray | None = None) -> None:
        self.dataset = dataset
        self.rows = np.arange(dataset.shape[0]) if rows is None else np.asarray(rows)
        self.column_positions = columns
        self.shape = (len(self.rows), dataset.shape[1] if columns is None else len(columns))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> Any:
        """Read rows, in the order asked for: a CSR matrix or an array, float32."""
        wanted = self.rows[rows]
        order = np.argsort(wanted, kind="stable")
        sorted_rows = self._read(wanted[order])
        back = np.empty(len(order), int)
        back[order] = np.arange(len(order))
        read = sorted_rows[back]
        return read if self.column_positions is None else read[:, self.column_positions]

    def take(self, rows: np.ndarray) -> RowsOnDisk:
        """Return a view of some of the rows."""
        return RowsOnDisk(self.dataset, self.rows[rows], self.column_positions)

    def only(self, columns: np.ndarray) -> RowsOnDisk:
        """Return a view of some of the columns."""
        seen = columns if self.column_positions is None else self.column_positions[columns]
        return RowsOnDisk(self.dataset, self.rows, np.asarray(seen))

    def in_memory(self) -> Any:
        """Read all that is seen, block by block: a CSR matrix or an array, float32.

        Of the columns that are not seen, no more than a block is in memory at a time.
        """
        n_rows = max(1, BLOCK_NUMBERS // max(1, self.dataset.shape[1]))
        return stacked([self[start : start + n_rows] for start in range(0, max(1, len(self)), n_rows)])

    def _read(self, wanted: np.ndarray) -> Any:
        """Read rows that are sorted, in runs of near neighbours that lie within one span of the file."""
        cuts = np.flatnonzero((np.diff(wanted) > GAP) | (np.diff(wanted // SPAN) > 0)) + 1
        parts = []
        for run in np.split(wanted, cuts) if len(wanted) else [np.arange(0)]:
            first, last = (int(run[0]), int(run[-1]) + 1) if len(run) else (0, 0)
            part = self.dataset[first:last]
            part = part if len(run) == last - first else part[run - first]
            parts.append(part.astype(np.float32))
        return stacked(parts)


def stacked(parts: list[Any]) -> Any:
    """Return rows of one kind on top of each other: CSR matrices or arrays."""
    if sparse.issparse(parts[0]):
        return sparse.csr_matrix(sparse.vstack(parts, format="csr") if len(parts) > 1 else parts[0])
    return np.concatenate(parts)
