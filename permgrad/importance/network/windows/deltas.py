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
class Where:
    """Which rows the pairs are of, and where their changes are.

    Attributes
    ----------
    local, top, left : tensors of shape (n_pairs,), int32
        The row's place in what is kept; the position of the change on both axes.
    """

    local: Any
    top: Any
    left: Any

    def of_block(self, blocks: int, area: Area) -> Any:
        """Return which cells of the map the rectangles are, for each of so many blocks of one position."""
        top, left = (ops.reshape(at, (blocks, -1))[:, 0] for at in (self.top, self.left))
        down, across = self._cells(area.rows, top), self._cells(area.cols, left)
        return ops.reshape(down[:, :, None] * area.shape[1] + across[:, None, :], (-1, area.n_cells))

    def of_cells(self, values: np.ndarray, area: Area) -> Any:
        """Look up a number for each cell of the rectangles, of one for each cell of the map: (n_pairs, n_cells)."""
        down, across = self._cells(area.rows, self.top), self._cells(area.cols, self.left)
        at = down[:, :, None] * area.shape[1] + across[:, None, :]
        return _take(ops.convert_to_tensor(values.astype(np.float32)), ops.reshape(at, (-1, area.n_cells)))

    def kept(self, tensor: Any, area: Area) -> Any:
        """Gather the rectangles of a kept map of all rows, (n_rows * height * width, channels)."""
        return _take(tensor, self.in_kept(area))

    def in_kept(self, area: Area) -> Any:
        """Return where the rectangles' cells are in a kept map, (n_pairs, n_cells).

        Cells that do not exist repeat the nearest one.
        """
        height, width = area.shape
        down = ops.clip(self._cells(area.rows, self.top), 0, height - 1)
        across = ops.clip(self._cells(area.cols, self.left), 0, width - 1)
        at = (self.local[:, None] * height + down)[:, :, None] * width + across[:, None, :]
        return ops.reshape(at, (-1, area.n_cells))

    def moved(self, delta: Delta, area: Area, *, border: str = "zero") -> Any:
        """Return the change of another rectangle of the same map, (n_pairs, n_cells, channels).

        Cells of the new rectangle that do not exist are 0, or with ``border="nearest"`` repeat the nearest one.
        """
        if delta.area.same(area) and area.lies_inside:
            return delta.plain()
        return _take(*self.in_delta(delta, area, border))

    def in_delta(self, delta: Delta, area: Area, border: str = "zero") -> tuple[Any, Any]:
        """Return the change as rows of channels, and where the cells of another rectangle are among them."""
        n_pairs, had = ops.shape(self.local)[0], delta.area.n_cells + int(delta.padded)
        flat = ops.reshape(delta.cells, (-1, delta.channels))
        if delta.padded:
            nothing = (had - 1) * n_pairs if delta.by_cell else had - 1
        else:
            nothing = had * n_pairs
            flat = ops.concatenate([flat, ops.zeros((1, delta.channels), flat.dtype)])
        down, is_down = self._offsets(delta.area.rows, area.rows, self.top, area.shape[0], border)
        across, is_across = self._offsets(delta.area.cols, area.cols, self.left, area.shape[1], border)
        cell = down[:, :, None] * delta.area.cols.size + across[:, None, :]
        pair = ops.arange(n_pairs, dtype="int32")[:, None, None]
        at = cell * n_pairs + pair if delta.by_cell else pair * had + cell
        at = ops.where(is_down[:, :, None] & is_across[:, None, :], at, nothing)
        return flat, ops.reshape(at, (-1, area.n_cells))

    def _cells(self, span: Span, position: Any) -> Any:
        """Return which cells of the axis the run is made of, (n_pairs, size)."""
        return _take(_table(span.starts), position)[:, None] + np.arange(span.size, dtype=np.int32)

    def _offsets(self, had: Span, wanted: Span, position: Any, n: int, border: str) -> tuple[Any, Any]:
        """Return where the wanted cells are in the run that there is, and whether they are in it at all."""
        cells = self._cells(wanted, position)
        nearest = ops.clip(cells, 0, n - 1)
        offset = nearest - _take(_table(had.starts), position)[:, None]
        is_in = (offset >= 0) & (offset < had.size)
        return ops.clip(offset, 0, had.size - 1), is_in if border == "nearest" else is_in & (cells == nearest)


def _table(numbers: np.ndarray) -> Any:
    return ops.convert_to_tensor(numbers.astype(np.int32))


def _take(tensor: Any, at: Any) -> Any:
    return ops.take(tensor, at, axis=0)
