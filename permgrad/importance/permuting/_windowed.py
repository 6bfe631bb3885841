"""The way of an image branch in which only the windows that changed pixels reach are computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from permgrad.backend import has_accelerator, keras
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network.branches import Branch
from permgrad.importance.network.fusion_point import FusionPoint
from permgrad.importance.network.windows.deltas import Where
from permgrad.importance.network.windows.drawing import Drawing
from permgrad.importance.network.windows.engine import WindowedBranch
from permgrad.importance.permuting._pairs import Change, Pairs
from permgrad.importance.permuting._ways import Recomputed, integers, next_size

ops = keras.ops

CACHED_FLOATS = 2**22
"""Floats of maps that are computed at a time on a CPU: what a layer leaves should be in the cache for the next."""
ROWS_AT_A_TIME = 8192


@dataclass(frozen=True, eq=False)
class Square:
    """The square of pixels that holds all that a feature writes.

    Attributes
    ----------
    size, top, left : int
        Pixels of a side, and the first row and column.
    matrix : ndarray of shape (n_columns, size * size * channels), float32
        By how much the square's pixels change for one unit of each of the feature's columns.
    """

    size: int
    top: int
    left: int
    matrix: np.ndarray

    @classmethod
    def around(cls, drawing: Drawing, columns: np.ndarray) -> Square:
        """Return the smallest whose side is a power of two; size 0 if the image has no room for such a one."""
        height, width, channels = drawing.shape
        column, number, weight = drawing.pixels(columns)
        row, col, channel = np.unravel_index(number, (height, width, channels))
        if not len(number):
            return cls(1, 0, 0, np.zeros((len(columns), channels), np.float32))
        top, left = int(row.min()), int(col.min())
        size = next_size(max(row.max() - top, col.max() - left) + 1)
        if size > min(height, width):
            return cls(0, 0, 0, np.zeros((len(columns), 0), np.float32))
        top, left = min(top, height - size), min(left, width - size)
        matrix = np.zeros((len(columns), size, size, channels), np.float32)
        np.add.at(matrix, (column, row - top, col - left, channel), weight)
        return cls(size, top, left, matrix.reshape(len(columns), -1))


def kept_maps(data: Inputs, branch: Branch, engine: WindowedBranch, rows: slice) -> list[Any]:
    """Return what is kept of a block of rows, see `WindowedBranch.start`; once for all explainers."""
    X, largest = data.of_branch(branch), max(engine.widest_of_start, engine.floats_per_row)
    most = ROWS_AT_A_TIME if has_accelerator() else max(1, CACHED_FLOATS // largest)

    def start() -> list[Any]:
        return engine.start(X[part] for part in data.parts(rows, largest, most))

    return data.once(("kept", branch, rows.start, rows.stop), (rows.stop - rows.start) * engine.floats_per_row, start)


@dataclass(frozen=True, eq=False)
class Drawn(Change):
    """A change, as the table holds it and as the image shows it.

    Attributes
    ----------
    shown : ndarray of shape (n_rows, n_columns)
        `values`, as they are drawn.
    squares : list of Square
        Of each feature.
    """

    shown: np.ndarray
    squares: list[Square]

    @cached_property
    def sizes(self) -> np.ndarray:
        """Pixels of a side of each feature's square, (n_features,); 0 where the whole branch is computed."""
        return np.array([square.size for square in self.squares])

    @cached_property
    def weights(self) -> np.ndarray:
        """What one unit of each column writes in its only pixel, (n_features, channels), if features have but one."""
        return np.concatenate([square.matrix for square in self.squares])

    def in_square(self, pairs: Pairs, size: int) -> np.ndarray:
        """Return by how much the pairs' squares change, (n_pairs, size * size * channels)."""
        if size == 1 and self.shown.shape[1] == len(self.columns) == len(self.weights):
            difference = self.shown[pairs.taken, pairs.feature] - self.shown[pairs.rows, pairs.feature]
            return difference[:, None] * self.weights[pairs.feature]
        first = int(pairs.feature[0])
        moved = np.zeros((len(pairs), self.squares[first].matrix.shape[1]), np.float32)
        for feature, part in pairs.by_feature():
            columns = self.of_feature(feature)
            difference = self.shown[pairs.taken[part], columns] - self.shown[pairs.rows[part], columns]
            moved[part] = difference @ self.squares[feature].matrix
        return moved


class Windowed(Recomputed):
    """An image branch: kept for each row, and computed for a pair in the windows that its pixels reach.

    A feature whose pixels are so far apart that this is more work than all of the branch is `Recomputed`.
    """

    contributes = True

    def __init__(self, point: FusionPoint, position: int, branch: Branch, engine: WindowedBranch) -> None:
        super().__init__(branch)
        self.fusion_point, self.position, self.engine = point, position, engine
        self.whole_widest, self.widest = self.widest, engine.plan(1).widest
        self.floats_per_row = engine.floats_per_row

    def prepare(self, data: Inputs, rows: slice) -> Any:
        """Return the maps that are kept of a block of rows, and what is behind them."""
        return kept_maps(data, self.branch, self.engine, rows)

    def embedded(self, change: Change) -> Drawn:
        """Return the change with what the image shows of it."""
        squares = [self.square(columns) for columns in change.columns]
        shown = self.engine.drawing.drawn(np.concatenate(change.columns), change.values.astype(np.float32, copy=False))
        return Drawn(change.columns, change.values, shown, squares)

    def square(self, columns: np.ndarray) -> Square:
        """Return a feature's square; of size 0 if to compute the whole branch is less work."""
        square = Square.around(self.engine.drawing, columns)
        if square.size > 1 and self.engine.plan(square.size).work > self.engine.whole_work:
            return Square(0, 0, 0, square.matrix[:, :0])
        return square

    def widest_of(self, size: int) -> int:
        """Return the floats of the largest tensor for a pair whose square has this size."""
        return self.engine.plan(size).widest if size else self.whole_widest

    def weights_of(self, change: Drawn) -> dict[int, list[Any]]:
        """Return the weights by the size of squares."""
        return {size: self.engine.weights(size) for size in np.unique(change.sizes).tolist() if size}

    def of_call(self, weights: Any, pairs: Pairs, change: Drawn) -> Any:
        """Return the weights for the squares of these pairs, which are of one size."""
        return weights.get(change.squares[pairs.feature[0]].size, [])

    def arguments(self, data: Inputs, pairs: Pairs, change: Any) -> list[Any]:
        """Return by how much squares change, and where those of each block are; or whole rows."""
        size = change.squares[pairs.feature[0]].size
        if not size:
            return super().arguments(data, pairs, change)
        moved = change.in_square(pairs, size).reshape(len(pairs), size * size, -1)
        of_block = pairs.feature.reshape(pairs.n_blocks, -1)[:, 0]
        places = [(change.squares[feature].top, change.squares[feature].left) for feature in of_block]
        return [ops.convert_to_tensor(moved.astype(np.float32)), integers(np.array(places))]

    def code(self, local: Any, prepared: Any, weights: list[Any], part: list[Any]) -> Any:
        """Return the pairs' contributions."""
        if len(part) == 1:
            return self.fusion_point.contribute(self.position, super().code(local, prepared, weights, part))
        moved, places = part
        where = Where(local, places[:, 0], places[:, 1])
        code = self.engine.finish(math.isqrt(moved.shape[1]), moved, where, prepared, weights)
        return code if self.engine.end.contributes else self.fusion_point.contribute(self.position, code)
