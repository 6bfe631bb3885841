"""What goes into a network: a cut model with its arrays, in memory, sparse, or on disk; read in blocks.

Blocks are float32, but those of an input that the model itself takes as whole numbers.

An explainer asks for blocks of rows, or for a few columns of all rows. Neither reads the whole of a file
into memory, nor makes a sparse array dense as a whole (it is kept sparse by columns too).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from scipy import sparse

from permgrad.backend import compiled, free_memory, keras
from permgrad.data.checks import check_numeric
from permgrad.data.on_disk import RowsOnDisk
from permgrad.data.table import Table
from permgrad.errors import PermGradError, listing, one_line
from permgrad.importance.network.branches import Branch, CutModel, cut_model, largest_tensor
from permgrad.metrics.outputs import one_output

T = TypeVar("T")

MOST_EXACT = 2**24
"""Up to which float32 holds every whole number."""
CHECKED_AT_A_TIME = 2**24
"""Numbers looked at in one go when an array is checked."""

MEMORY = 256 * 2**20
"""Bytes that one call of the network may take for its rows, as far as can be counted beforehand."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """A cut model with the arrays that go into it, one for each of its inputs.

    Attributes
    ----------
    cut : CutModel
    arrays : list of Rows
    max_memory : int
        Bytes that may be taken beside the model and the arrays, by default a quarter of what is free.
    shared : bool
        Several explainers are given this object, and a branch is encoded once for all of them where the codes
        of all rows fit into `MEMORY`.
    """

    cut: CutModel
    arrays: list[Rows]
    max_memory: int
    shared: bool = False
    _codes: dict[Branch, Any] = field(default_factory=dict)
    _kept: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        model: Any,
        inputs: Any,
        max_memory: int | None = None,
        *,
        output: int | str | None = None,
        shared: bool = False,
    ) -> Inputs:
        """Check the arrays against the inputs of a model, of one output of it, or of one that is cut already."""
        cut = model if isinstance(model, CutModel) else cut_model(one_output(model, output))
        single = not isinstance(inputs, (list, tuple))
        given = [inputs] if single else inputs
        dtypes = [tensor.dtype for tensor in cut.model.inputs] if len(given) == len(cut.model.inputs) else []
        arrays = [Rows(array, *dtypes[i : i + 1]) for i, array in enumerate(given)]
        expected = [tuple(tensor.shape[1:]) for tensor in cut.model.inputs]
        shapes = [array.shape[1:] for array in arrays]
        if expected != shapes:
            raise PermGradError(f"the model takes inputs with rows of shape {listing(expected)}, got {listing(shapes)}")
        if len({len(array) for array in arrays}) != 1 or len(arrays[0]) == 0:
            raise PermGradError(f"inputs must have the same number of rows, at least 1, got {[*map(len, arrays)]}")
        return cls(cut, arrays, free_memory() // 4 if max_memory is None else max_memory, shared)

    def __len__(self) -> int:
        return len(self.arrays[0])

    def of_branch(self, branch: Branch) -> Rows:
        """Return the array that `branch` starts from."""
        return self.arrays[branch.input_index]

    def blocks(self, floats_per_row: int, most: int = 8192) -> Iterator[slice]:
        """Walk the rows in blocks of nearly one size, `floats_per_row` float32 a row staying within `MEMORY`."""
        return self.parts(slice(0, len(self)), floats_per_row, most)

    def parts(self, rows: slice, floats_per_row: int, most: int = 8192) -> Iterator[slice]:
        """Walk some of the rows in such blocks."""
        allowed = max(1, min(MEMORY, self.max_memory // 4) // (4 * floats_per_row))
        step = even_size(rows.stop - rows.start, min(most, allowed))
        for start in range(rows.start, rows.stop, step):
            yield slice(start, min(start + step, rows.stop))

    def encode(self, branch: Branch, rows: slice) -> Any:
        """Return the branch's code for a block of rows, shape (n_rows, ...)."""
        if branch not in self._codes and self.caches(branch):
            self.cache(branch, [self._encoded(branch, slice(0, len(self)))])
        if branch not in self._codes:
            return self._encoded(branch, rows)
        whole = rows == slice(0, len(self))
        return self._codes[branch] if whole else self._codes[branch][rows]

    def encode_taken(self, branch: Branch, rows: np.ndarray) -> Any:
        """Return the branch's code for some rows, in any order; they must be few enough for one call."""
        if branch in self._codes:
            return keras.ops.take(self._codes[branch], rows, axis=0)
        return self._encoder(branch)(self.of_branch(branch)[rows])

    def _encoded(self, branch: Branch, rows: slice) -> Any:
        parts = self.parts(rows, largest_tensor(branch.encoder))
        codes = [self._encoder(branch)(self.of_branch(branch)[part]) for part in parts]
        return joined(codes)

    def caches(self, branch: Branch) -> bool:
        """Tell whether the codes of all rows are wanted again, and fit into `MEMORY`."""
        return self.shared and 4 * len(self) * math.prod(branch.code.shape[1:]) <= MEMORY

    def once(self, key: Any, floats: int, make: Callable[[], T]) -> T:
        """Return what `make` returns; kept for whoever asks again, if inputs are shared and memory allows.

        Parameters
        ----------
        key : hashable
        floats : int
            So many float32 it takes.
        make : callable
        """
        if key in self._kept:
            return self._kept[key]
        made = make()
        if self.shared and 4 * floats <= self.max_memory // 4:
            self._kept[key] = made
        return made

    def cache(self, branch: Branch, codes: list[Any]) -> None:
        """Keep the codes of all rows, given block after block."""
        self._codes[branch] = joined(codes)

    def _encoder(self, branch: Branch) -> Any:
        encoder = branch.encoder
        return self.cut.once(("encode", branch), lambda: compiled(lambda rows: encoder(rows, training=False), encoder))

    def floats_per_row(self) -> int:
        """Count the floats of the largest tensor of each branch, for one row."""
        return sum(largest_tensor(branch.encoder) for branch in self.cut.branches)


def joined(blocks: list[Any]) -> Any:
    """Put blocks of rows together; a single one is not copied."""
    return keras.ops.concatenate(blocks) if len(blocks) > 1 else blocks[0]


def even_size(n_items: int, most: int) -> int:
    """Return the size of as few parts of `n_items` as hold at most `most`: equal sizes need compiling once."""
    return math.ceil(n_items / math.ceil(n_items / most))


class Rows:
    """One of a model's inputs, as an array whose first axis is the row.

    Parameters
    ----------
    array : array
    dtype : str
        Of the model's input.

    Attributes
    ----------
    shape : tuple of int
        (n_rows, ...).
    dtype : numpy.dtype
        In which rows are read: the input's if both are whole numbers, else float32.
    """

    def __init__(self, array: Any, dtype: str = "float32") -> None:
        self._array = _as_array(array)
        self.shape: tuple[int, ...] = self._array.shape
        kind = np.dtype(getattr(self._array, "dtype", np.float32)).kind
        whole = kind in "iu" and dtype.lstrip("u").startswith("int")
        self.dtype = np.dtype(dtype if whole else np.float32)
        self._check()
        if type(self._array) is np.ndarray:
            self._array = self._array.astype(self.dtype, copy=False)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def array(self) -> Any:
        """The array itself."""
        return self._array

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """Return these rows, dense."""
        return self._dense(self._array[rows])

    def columns(self, positions: np.ndarray) -> np.ndarray:
        """Return some columns of all rows, shape (n_rows, n_positions), dense.

        A row of several axes counts as laid out flat, last axis fastest.
        """
        if isinstance(self._array, RowsOnDisk):
            some = self._array.only(positions)
            return np.concatenate([self._dense(some[block]) for block in self._blocks()])
        if sparse.issparse(self._array):
            return self._dense(self._by_column[:, positions])
        flat = self._array.reshape(len(self), -1)
        low, high = (int(positions.min()), int(positions.max()) + 1) if len(positions) else (0, 0)
        if high - low <= 2 * len(positions):  # neighbours: read together, which is what a file is good at
            return self._dense(flat[:, low:high])[:, positions - low]
        return self._dense(flat[:, positions])

    @property
    def width(self) -> int:
        """Count the numbers of one row."""
        return math.prod(self.shape[1:])

    @cached_property
    def _by_column(self) -> Any:
        return self._array.tocsc()

    def _blocks(self) -> Iterator[slice]:
        step = max(1, CHECKED_AT_A_TIME // max(1, self.width))
        yield from (slice(i, min(i + step, len(self))) for i in range(0, len(self), step))

    def _check(self) -> None:
        """Refuse numbers that are not finite, and whole ones that the model would see as others."""
        blocks = [self._array.data] if sparse.issparse(self._array) else (self._array[b] for b in self._blocks())
        for block in blocks:
            numbers = block.toarray() if sparse.issparse(block) else np.asarray(block)
            with np.errstate(invalid="ignore"):  # what is beyond a dtype's range
                seen = numbers.astype(self.dtype)
            if numbers.dtype.kind in "iu" and (seen.astype(numbers.dtype) != numbers).any():
                raise PermGradError(
                    f"inputs hold whole numbers that {self.dtype} cannot tell apart (float32: above {MOST_EXACT:,});"
                    " number the codes from 0, subtract a constant, or give the model an input of an integer dtype"
                )
            if not np.isfinite(seen).all():
                raise PermGradError("inputs must be finite, without missing values; impute or drop them first")

    def _dense(self, rows: Any) -> np.ndarray:
        return np.asarray(rows.toarray() if sparse.issparse(rows) else rows, self.dtype)


def _as_array(array: Any) -> Any:
    """Return a CSR matrix, an array in a file as it is, or anything else as an array of numbers."""
    if isinstance(array, (pd.DataFrame, Table)):
        array = array.X if isinstance(array, Table) else array
        check_numeric(array)
    if sparse.issparse(array):
        return array.tocsr()
    if isinstance(array, RowsOnDisk) or (isinstance(array, np.memmap) and array.dtype.kind in "iubf"):
        return array
    try:
        numbers = np.asarray(array)
        return numbers if numbers.dtype.kind in "iu" else numbers.astype(np.float32)
    except (TypeError, ValueError) as error:
        raise PermGradError(
            f"inputs must be numeric arrays, one for each of the model's inputs: {one_line(error)}"
        ) from error
