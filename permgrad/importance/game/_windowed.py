"""The walk of an image branch: a step computes the windows that a feature's pixels reach, and keeps them."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from permgrad.backend import compiled, keras
from permgrad.importance.game._ways import Way
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network.branches import Branch, CutModel
from permgrad.importance.network.fusion_point import FusionPoint, fusion_point
from permgrad.importance.network.windows.engine import WindowedBranch
from permgrad.importance.network.windows.walking import Walked, WalkingBranch, can_walk
from permgrad.importance.permuting._network import windows_of
from permgrad.importance.permuting._windowed import Square, kept_maps

ops = keras.ops

CALL_WORK = 1e8
"""Multiplications in whose time a step takes its many tensors and gives them back: in small batches much of it."""
SHARE_AT_A_TIME = 4
"""A batch is so large that this share of a pair's maps would be in the cache; a step touches less."""


@dataclass(frozen=True, eq=False)
class Squares:
    """A feature as squares of pixels: what the image shows of its columns in all rows, (n_rows, n_columns)."""

    shown: np.ndarray
    squares: list[Square]
    weights: dict[int, list[Any]]


@dataclass(frozen=True, eq=False)
class Move:
    """A square that changes: by how much in each pair, where, which cells of the maps that touches, and the weights."""

    moved: Any
    place: Any
    cells: dict[int, np.ndarray]
    weights: list[Any]


class Windowed(Way):
    """An image branch whose maps are kept of each pair, and changed in the windows that a feature's pixels reach."""

    def __init__(self, cut: CutModel, branch: Branch, point: FusionPoint, engine: WindowedBranch) -> None:
        super().__init__(cut, branch, point)
        self.engine, self.walking = engine, WalkingBranch(engine)
        self.widest = max(engine.plan(1).widest, engine.floats_per_row // SHARE_AT_A_TIME)
        self.models = [branch.encoder]
        self._contribution = compiled(self._contributed, engine.model)

    def start(self, data: Inputs, rows: np.ndarray, donors: np.ndarray) -> tuple[Any, Any]:
        """Return the donors' maps, of those kept of all rows if memory allows, and the contribution."""
        X, floats = data.of_branch(self.branch), len(data) * self.engine.floats_per_row
        if data.shared and 4 * floats <= data.max_memory // 4:
            kept, at = kept_maps(data, self.branch, self.engine, slice(0, len(data))), donors
        else:
            few = data.parts(slice(0, len(donors)), max(self.engine.widest_of_start, self.engine.floats_per_row))
            kept, at = self.engine.start(X[donors[part]] for part in few), np.arange(len(donors))
        walked = self.walking.begin(kept, at)
        return walked, self._contribution(walked.started)

    def feature(self, data: Inputs, columns: np.ndarray) -> Squares:
        """Return the squares that hold the feature's pixels, and the weights for each size."""
        values = data.of_branch(self.branch).columns(columns).astype(np.float32)
        squares = squares_of(self.engine, columns)
        weights = {
            size: data.once(("weights", self, size), 0, functools.partial(self.engine.weights, size))
            for size in {square.size for square in squares}
        }
        return Squares(self.engine.drawing.drawn(columns, values), squares, weights)

    def change(self, feature: Squares, rows: np.ndarray, donors: np.ndarray) -> list[Move]:
        """Return the moves: a square each, of those that differ in any pair."""
        difference = feature.shown[rows] - feature.shown[donors]
        moves = []
        for square in feature.squares:
            moved = (difference @ square.matrix).reshape(len(rows), square.size**2, -1)
            if not moved.any():
                continue
            cells = self.walking.cells(square.size, square.top, square.left)
            place = np.array([square.top, square.left], np.int32)
            tensors = ops.convert_to_tensor(moved), ops.convert_to_tensor(place)
            moves.append(Move(*tensors, cells, feature.weights[square.size]))
        return moves

    def moves(self, change: list[Move]) -> list[Move]:
        """See `Way.moves`."""
        return change

    def tensors(self, move: Move) -> Any:
        """See `Way.tensors`."""
        return move.moved, move.place, move.weights

    def part(self, kept: Walked, move: Move) -> Any:
        """See `Way.part`."""
        return kept.boxes(move.cells), kept.started

    def replaced(self, kept: Walked, move: Move, part: Any) -> Walked:
        """See `Way.replaced`."""
        return kept.replaced(move.cells, *part)

    def step(self, part: Any, moved: Any, place: Any, weights: list[Any]) -> tuple[Any, Any]:
        """Return the new cells of the maps and the sums, and the branch's contribution."""
        size = math.isqrt(moved.shape[1])
        boxes, started = part
        boxes, sums = self.walking.move(size, moved, place, boxes, started, weights)
        return (boxes, sums), self._contributed(sums)

    def _contributed(self, sums: Any) -> Any:
        code = self.walking.end.finish(sums)
        return code if self.walking.end.contributes else self.point.contribute(self.at, code)


def squares_of(engine: WindowedBranch, columns: np.ndarray) -> list[Square]:
    """Return the square around a feature's pixels, or one for each column where that is less work."""
    whole = Square.around(engine.drawing, columns)
    single = [Square.around(engine.drawing, columns[i : i + 1]) for i in range(len(columns))]
    works = [_work(engine, [whole]) if whole.size else math.inf, _work(engine, single)]
    if works[0] <= works[1]:
        return [whole]
    for i, square in enumerate(single):
        matrix = np.zeros((len(columns), square.matrix.shape[1]), np.float32)
        matrix[i] = square.matrix
        single[i] = replace(square, matrix=matrix)
    return single


def _work(engine: WindowedBranch, squares: Sequence[Square]) -> float:
    return sum(engine.plan(square.size).work if square.size else math.inf for square in squares)


def work_of_steps(cut: CutModel, branch: Branch, positions: Sequence[np.ndarray], n_pairs: int) -> float:
    """Return the work of one step of each of a branch's features by windows, over that of computing it as a whole.

    `n_pairs` are in a batch. Infinite if the branch cannot walk so.
    """
    engine = windows_of(cut, branch, fusion_point(cut), fuse=False) if branch.kind == "image" else None
    if engine is None or not can_walk(engine) or not len(positions):
        return math.inf
    squares = [squares_of(engine, columns) for columns in positions]
    work = sum(_work(engine, of_feature) + len(of_feature) * CALL_WORK / n_pairs for of_feature in squares)
    return work / (engine.whole_work * len(positions))
