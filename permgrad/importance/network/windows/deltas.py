"""What changed, as a tensor: for each pair of a row and a change, the cells of one rectangle of a map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.importance.network.windows.spans import Area, Span

ops = keras.ops


@dataclass(frozen=True, eq=False)
class Delta:
    """By how much a rectangle of a map changes; all other cells of the map stay as they are.

    Attributes
    ----------
    cells : tensor of shape (n_pairs, n_cells, channels), or (n_cells, n_pairs, channels) if `by_cell`
        Row after row of the rectangle. One cell more, the last, is always 0 if `padded`.
    area : Area
    by_cell, padded : bool
    """

    cells: Any
    area: Area
    by_cell: bool = False
    padded: bool = False

    @property
    def channels(self) -> int:
        """Count the channels."""
        return int(self.cells.shape[-1])

    def plain(self) -> Any:
        """Return the cells as (n_pairs, n_cells, channels)."""
        cells = ops.transpose(self.cells, (1, 0, 2)) if self.by_cell else self.cells
        return cells[:, : self.area.n_cells] if self.padded else cells


@dataclass(frozen=True, eq=False)
class Kept:
    """A map that is kept of all rows.

    Attributes
    ----------
    cells : tensor of shape (n_rows * height * width, channels)
        Or, of a map with `live` cells: the empty image's, (height * width, channels), and behind them those of all
        rows, (n_live * n_rows, channels), cell after cell.
        Of a `box`, those of all pairs alone, (n_box * n_pairs, channels), cell after cell.
    live : ndarray of int, optional
        Which cells differ between rows.
    box : Area, optional
        Only this rectangle is there.
    """

    cells: Any
    live: np.ndarray | None = None
    box: Area | None = None


@dataclass(frozen=True, eq=False)
class Where:
    """Which rows the pairs are of, and where in the image their changes are.

    The pairs are blocks of one size. Those of a block have their change at one position, so that most of what is
    reckoned here is reckoned once for a block.

    Attributes
    ----------
    local : tensor of shape (n_pairs,), int32
        The row's place in what is kept.
    top, left : tensors of shape (n_blocks,), int32
        The position of the change on both axes.
    """

    local: Any
    top: Any
    left: Any

    @property
    def n_blocks(self) -> int:
        """Count the blocks."""
        return int(self.top.shape[0])

    def cells(self, area: Area) -> Any:
        """Return which cells of the map each block's rectangle is, (n_blocks, n_cells); the nearest that exist."""
        height, width = area.shape
        return self._sums(_cells(area.rows, height) * width, _cells(area.cols, width))

    def of_cells(self, values: np.ndarray, area: Area) -> Any:
        """Look up a number for each cell of the rectangles, of one for each cell of the map: (n_pairs, n_cells)."""
        of_block = _take(ops.convert_to_tensor(values.astype(np.float32)), self.cells(area))
        return self._of_pairs(of_block, ops.zeros(ops.shape(self.local), of_block.dtype))

    def kept(self, kept: Kept, area: Area) -> Any:
        """Gather the rectangles of a kept map, (n_pairs, n_cells, channels)."""
        return _take(kept.cells, self.in_kept(kept, area))

    def in_kept(self, kept: Kept, area: Area) -> Any:
        """Return where the rectangles' cells are in a kept map, (n_pairs, n_cells).

        Cells that do not exist repeat the nearest one.
        """
        n_cells = area.shape[0] * area.shape[1]
        if kept.box is not None:
            box, (height, width) = kept.box, area.shape
            down = _offsets(box.rows, area.rows, height, "nearest") * box.cols.size
            n_pairs = ops.shape(self.local)[0]
            in_box = self._sums(down, _offsets(box.cols, area.cols, width, "nearest")) * n_pairs
            return self._of_pairs(in_box, self.local)
        if kept.live is None:
            return self._of_pairs(self.cells(area), self.local * n_cells)
        n_rows = (ops.shape(kept.cells)[0] - n_cells) // len(kept.live)
        place, differs = np.zeros(n_cells, np.int32), np.zeros(n_cells, np.int32)
        place[kept.live], differs[kept.live] = np.arange(len(kept.live)), 1
        cells = self.cells(area)
        differs_here = _take(ops.convert_to_tensor(differs), cells)
        of_block = ops.where(differs_here > 0, n_cells + _take(ops.convert_to_tensor(place), cells) * n_rows, cells)
        of_pair = ops.reshape(self.local, (self.n_blocks, -1, 1)) * differs_here[:, None, :]
        return ops.reshape(of_block[:, None, :] + of_pair, (-1, area.n_cells))

    def moved(self, delta: Delta, area: Area, *, border: str = "zero") -> Any:
        """Return the change of another rectangle of the same map, (n_pairs, n_cells, channels).

        Cells of the new rectangle that do not exist are 0, or with ``border="nearest"`` repeat the nearest one.
        """
        if delta.area.same(area) and area.lies_inside:
            return delta.plain()
        return _take(*self.in_delta(delta, area, border))

    def in_delta(self, delta: Delta, area: Area, border: str = "zero") -> tuple[Any, Any]:
        """Return the change as rows of channels, and where the cells of another rectangle are among them."""
        height, width = area.shape
        down = _offsets(delta.area.rows, area.rows, height, border)
        across = _offsets(delta.area.cols, area.cols, width, border)
        down = np.where(down < 0, NOWHERE, down * delta.area.cols.size)
        cell = self._sums(down, np.where(across < 0, NOWHERE, across))
        flat = ops.reshape(delta.cells, (-1, delta.channels))
        had = delta.area.n_cells + 1
        if not delta.padded:  # a row of zeros for each pair costs more than one for all
            flat, had = ops.concatenate([flat, ops.zeros((1, delta.channels), flat.dtype)]), had - 1
        n_pairs = ops.shape(self.local)[0]
        pair = ops.arange(n_pairs, dtype="int32")
        cell = ops.where(cell < 0, had - 1 if delta.padded else -(2**30), cell)
        at = self._of_pairs(cell * n_pairs, pair) if delta.by_cell else self._of_pairs(cell, pair * had)
        return flat, at if delta.padded else ops.where(at < 0, n_pairs * had, at)

    def _sums(self, down: np.ndarray, across: np.ndarray) -> Any:
        """Add what a table says of each block's rows, (n_positions, rows), and another of its columns."""
        of_rows = _take(ops.convert_to_tensor(down.astype(np.int32)), self.top)
        of_cols = _take(ops.convert_to_tensor(across.astype(np.int32)), self.left)
        return ops.reshape(of_rows[:, :, None] + of_cols[:, None, :], (self.n_blocks, -1))

    def _of_pairs(self, of_block: Any, of_pair: Any) -> Any:
        """Add what belongs to a block's cells, (n_blocks, n_cells), and to a pair: (n_pairs, n_cells)."""
        both = of_block[:, None, :] + ops.reshape(of_pair, (self.n_blocks, -1, 1))
        return ops.reshape(both, (-1, of_block.shape[1]))


NOWHERE = -(2**24)
"""Less than 0 by more than any map has cells."""


def _cells(span: Span, n: int) -> np.ndarray:
    """Return which cells of an axis the run is made of at each position, (n_positions, size); the nearest ones."""
    return np.clip(span.starts[:, None] + np.arange(span.size), 0, n - 1)


def _offsets(had: Span, wanted: Span, n: int, border: str) -> np.ndarray:
    """Return where the wanted cells are in the run that there is, (n_positions, size); -1 where they are not in it."""
    nearest = _cells(wanted, n)
    offset = nearest - had.starts[:, None]
    is_in = (offset >= 0) & (offset < had.size)
    if border == "zero":
        is_in &= nearest == wanted.starts[:, None] + np.arange(wanted.size)
    return np.where(is_in, offset, -1)


def _take(tensor: Any, at: Any) -> Any:
    return ops.take(tensor, at, axis=0)
