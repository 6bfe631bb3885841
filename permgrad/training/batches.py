"""Rows in batches for training: from arrays, from sparse matrices, or from a file that is larger than memory.

Rows stay as they are stored until their batch is put together; it alone is dense, float32.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.preprocessing import StandardScaler

from permgrad.backend import keras
from permgrad.data.in_files import RowsInFiles
from permgrad.data.on_disk import RowsOnDisk
from permgrad.errors import PermGradError

BLOCK_ROWS = 256
"""Neighbouring rows of a file that are read together."""
BUFFER_ROWS = 16_384
"""Rows of a file that are held at a time, still sparse, and mixed before they are dealt out."""
PREDICTED_ROWS = 1024
BLOCK_NUMBERS = 2**24
"""Numbers, zeros included, of the rows that are looked at together: 128 MB where they are made dense, float64."""


def is_dense(X: Any) -> bool:
    """Tell whether `X` is an array in memory."""
    return not sparse.issparse(X) and not isinstance(X, (RowsOnDisk, RowsInFiles))


def dense(rows: Any) -> np.ndarray:
    """Return rows as a dense array, float32."""
    return np.asarray(rows.toarray() if sparse.issparse(rows) else rows, np.float32)


def row_blocks(X: Any) -> Iterator[tuple[int, Any]]:
    """Yield the first row's number and the rows, a block at a time, as they are stored."""
    n = min(BUFFER_ROWS, max(1, BLOCK_NUMBERS // max(1, X.shape[1])))
    for start in range(0, X.shape[0], n):
        yield start, X[start : start + n]


def moments(X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance (ddof 0) of each column, (n_features,) float64, from one reading, block by block."""
    scaler = StandardScaler(with_mean=False)  # which takes sparse blocks as they are
    for _, block in row_blocks(X):
        scaler.partial_fit(block.astype(np.float64))
    return scaler.mean_, scaler.var_


def ranges(X: Any) -> np.ndarray:
    """Return the lowest and the highest value of each column, (n_features, 2) float64, block by block.

    Of a sparse matrix as a whole, SciPy would make a copy by column.
    """
    found = np.full((X.shape[1], 2), (np.inf, -np.inf))
    for _, block in row_blocks(X):
        low, high = (np.ravel(dense(end)) for end in (block.min(axis=0), block.max(axis=0)))
        np.minimum(found[:, 0], low, out=found[:, 0])
        np.maximum(found[:, 1], high, out=found[:, 1])
    return found


def buffered_rows(X: Any) -> int:
    """Return how many rows of a file are held at a time; 0 for rows in memory."""
    if isinstance(X, RowsInFiles):
        return X.buffer_rows
    return BUFFER_ROWS if isinstance(X, RowsOnDisk) else 0


class Batches(keras.utils.PyDataset):
    """Rows in a new seeded order each epoch, without touching any global random state.

    Rows in memory come in any order. Of a file, blocks of neighbours come in a random order, and the rows of as many
    blocks as fill the buffer are mixed: a row at a time, a compressed file would be read over and over. Rows in Parquet
    files say themselves in which order they come.

    Parameters
    ----------
    X : ndarray, scipy.sparse CSR matrix, RowsOnDisk or RowsInFiles of shape (n_rows, n_features)
    y : ndarray of shape (n_rows,)
    weight : ndarray of shape (n_rows,), optional
        Weight of each row in the loss.
    batch_size, random_state : int
    drop_last : bool
        Leave out the last batch of an epoch if it is a part of one.
    parts : int
        Each batch has a multiple of so many rows: an epoch leaves out the few that are too many.
    """

    def __init__(
        self,
        X: Any,
        y: np.ndarray,
        weight: np.ndarray | None = None,
        *,
        batch_size: int,
        random_state: int,
        drop_last: bool = False,
        parts: int = 1,
    ) -> None:
        super().__init__()
        self.X, self.y, self.batch_size, self.parts = X, y, batch_size, parts
        n_rows = X.shape[0] // parts * parts
        if not n_rows:
            raise PermGradError(f"{X.shape[0]} rows cannot be split between {parts} devices; use fewer devices")
        self.n_batches = max(1, n_rows // batch_size) if drop_last else math.ceil(n_rows / batch_size)
        self.weight = weight
        self.generator = np.random.default_rng(random_state)
        # A buffer holds whole batches, so that each batch comes from one.
        self.buffer_rows = max(1, buffered_rows(X) // batch_size) * batch_size if buffered_rows(X) else 0
        self.order = self._draw()

    def __len__(self) -> int:
        return self.n_batches

    def __getitem__(self, batch: int) -> tuple[np.ndarray, ...]:
        start = batch * self.batch_size
        places = slice(start, min(start + self.batch_size, len(self.order) // self.parts * self.parts))
        rows = self.order[places]
        weight = () if self.weight is None else (self.weight[rows],)
        return (self._rows(places, rows), self.y[rows], *weight)

    def on_epoch_end(self) -> None:
        """Draw the next epoch's order."""
        self.order = self._draw()

    def _draw(self) -> np.ndarray:
        n_rows = self.X.shape[0]
        self._buffer: tuple[int, Any] = (-1, None)
        if not self.buffer_rows:
            return self.generator.permutation(n_rows)
        if isinstance(self.X, RowsInFiles):
            return self.X.mixed_order(self.buffer_rows, self.generator)
        return mixed_order(n_rows, self.buffer_rows, self.generator)

    def _rows(self, places: slice, rows: np.ndarray) -> np.ndarray:
        if not self.buffer_rows:
            return dense(self.X[rows])
        number, start = divmod(places.start, self.buffer_rows)
        if self._buffer[0] != number:
            self._buffer = (-1, None)  # lets go of the old one first
            wanted = self.order[number * self.buffer_rows : (number + 1) * self.buffer_rows]
            self._buffer = (number, self.X[wanted])
        return dense(self._buffer[1][start : start + len(rows)])


def mixed_order(n_rows: int, buffer_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Return an order of all rows: blocks of neighbours in random order, each `buffer_rows` of them mixed."""
    blocks = rng.permutation(math.ceil(n_rows / BLOCK_ROWS))
    order = (blocks[:, None] * BLOCK_ROWS + np.arange(BLOCK_ROWS)).ravel()
    order = order[order < n_rows]
    for start in range(0, n_rows, buffer_rows):
        rng.shuffle(order[start : start + buffer_rows])
    return order


class InOrder(keras.utils.PyDataset):
    """Rows as they come, for predicting and evaluating.

    Parameters
    ----------
    X : ndarray, scipy.sparse CSR matrix, RowsOnDisk or RowsInFiles
    *others : ndarray of shape (n_rows,)
        Such as class numbers, and weights.
    """

    def __init__(self, X: Any, *others: np.ndarray, batch_size: int = PREDICTED_ROWS) -> None:
        super().__init__()
        self.X, self.others, self.batch_size = X, others, batch_size
        self._held: tuple[int, Any] = (0, X[:0] if isinstance(X, RowsInFiles) else None)

    def __len__(self) -> int:
        return math.ceil(self.X.shape[0] / self.batch_size)

    def __getitem__(self, batch: int) -> tuple[np.ndarray, ...]:
        rows = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
        return (dense(self._rows(rows)), *(values[rows] for values in self.others))

    def _rows(self, rows: slice) -> Any:
        if not isinstance(self.X, RowsInFiles):
            return self.X[rows]
        first, held = self._held
        if not first <= rows.start < first + len(held):  # of a batch at a time, encoding would take most of the time
            first = rows.start
            n_rows = max(1, self.X.buffer_rows // self.batch_size) * self.batch_size
            self._held = (0, None)  # lets go of the old ones first
            held = self.X[first : first + n_rows]
            self._held = (first, held)
        return held[rows.start - first : rows.stop - first]
