"""Arrays that go into a network: in memory, memory-mapped on disk, or sparse; read in float32 blocks.

An explainer asks for blocks of rows, or for a few columns of all rows. Neither reads the whole of a memory map
into memory, nor makes a sparse array dense as a whole (it is kept sparse by columns too).
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from permgrad.errors import PermGradError

CHECKED_AT_A_TIME = 2**24
"""Numbers looked at in one go when an array is checked."""


class Rows:
    """One of a model's inputs, as an array whose first axis is the row.

    Attributes
    ----------
    shape : tuple of int
        (n_rows, ...).
    """

    def __init__(self, array: Any) -> None:
        self._array = _as_numbers(array)
        self.shape: tuple[int, ...] = self._array.shape
        self._check_finite()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return these rows, dense, float32."""
        found = self._array[rows]
        return np.asarray(found.toarray() if sparse.issparse(found) else found, np.float32)

    def columns(self, positions: np.ndarray) -> np.ndarray:
        """Return some columns of all rows, shape (n_rows, n_positions), dense, float32.

        A row of several axes counts as laid out flat, last axis fastest.
        """
        if sparse.issparse(self._array):
            return self._by_column[:, positions].toarray().astype(np.float32, copy=False)
        flat = self._array.reshape(len(self), -1)
        low, high = (int(positions.min()), int(positions.max()) + 1) if len(positions) else (0, 0)
        if high - low <= 2 * len(positions):  # neighbours: read together, which is what a file is good at
            return np.asarray(flat[:, low:high], np.float32)[:, positions - low]
        return np.asarray(flat[:, positions], np.float32)

    @property
    def width(self) -> int:
        """Count the numbers of one row."""
        return math.prod(self.shape[1:])

    @cached_property
    def _by_column(self) -> Any:
        return self._array.tocsc()

    def _check_finite(self) -> None:
        if sparse.issparse(self._array):
            finite = bool(np.isfinite(self._array.data.astype(np.float32)).all())
        else:
            step = max(1, CHECKED_AT_A_TIME // max(1, self.width))
            finite = all(np.isfinite(self[i : i + step]).all() for i in range(0, len(self), step))
        if not finite:
            raise PermGradError("inputs must be finite and none missing; impute or drop first")


def _as_numbers(array: Any) -> Any:
    """Return a CSR matrix, a memory map as it is, or anything else as a float32 array."""
    if sparse.issparse(array):
        return array.tocsr()
    if isinstance(array, np.memmap) and array.dtype.kind in "iubf":
        return array
    try:
        return np.asarray(array, np.float32)
    except (TypeError, ValueError) as error:
        raise PermGradError(f"inputs must be numeric arrays, one for each of the model's inputs: {error}") from error
