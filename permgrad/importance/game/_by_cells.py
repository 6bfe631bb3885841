"""The walk of an image branch on which little is drawn: what a walk makes of its cells, at all steps at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from permgrad.backend import compiled, keras
from permgrad.importance.game._ways import Way
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network.branches import Branch, CutModel
from permgrad.importance.network.fusion_point import FusionPoint, fusion_point
from permgrad.importance.network.windows.cells import CellWalk, packed, walk_by_cells
from permgrad.importance.permuting._network import windows_of

ops = keras.ops

SHARE_AT_A_TIME = 16
"""Of what a walk reads and writes, one in so many floats is there at a time."""


class ByCells(Way):
    """An image branch of which a walk computes the cells that are mixed, see `MixedStates`.

    Parameters
    ----------
    cut, branch, point
    walks : dict of bool to CellWalk
        Through the branch, by whether each step is made from the start.
    """

    def __init__(self, cut: CutModel, branch: Branch, point: FusionPoint, walks: dict[bool, CellWalk]) -> None:
        super().__init__(cut, branch, point)
        self.walks, engine = walks, walks[False].engine
        self.widest, self.models = walks[False].end.units, [branch.encoder]
        self.table = compiled(walks[False].table, engine.model)
        self.flat = compiled(lambda tables: [walks[False].flat(i, each) for i, each in enumerate(tables)], engine.model)
        self.weights = {anew: compiled(walk.weights, engine.model) for anew, walk in walks.items()}

    def stock(self, data: Inputs, positions: Sequence[np.ndarray]) -> CellStock:
        """See `Way.stock`."""
        return CellStock(self, data, positions)

    def floats_of_stock(self, n_rows: int, positions: Sequence[np.ndarray]) -> int:
        """See `Way.floats_of_stock`."""
        return n_rows * self.walks[False].floats_per_row + sum(walk.products for walk in self.walks.values())

    def floats_of_walk(self, n_steps: int) -> int:
        """See `Way.floats_of_walk`."""
        return (n_steps + 1) * self.widest + self.walks[False].floats // SHARE_AT_A_TIME

    def stages(self, given: Sequence[Any], kept: Any, *, anew: bool) -> Any:
        """See `Way.stages`."""
        tables, weights = kept
        walk = self.walks[anew]
        sums = ops.reshape(walk.run(tables, weights, *given), (-1, walk.end.units))
        code = walk.end.finish(sums)
        return code if walk.end.contributes else self.point.contribute(self.at, code)


class CellStock:
    """What walks by cells need: tables of all rows' cells, the weights, what the image shows of each feature."""

    def __init__(self, way: ByCells, data: Inputs, positions: Sequence[np.ndarray]) -> None:
        self.way, walk = way, way.walks[False]
        X, drawing = data.of_branch(way.branch), walk.engine.drawing
        parts = data.parts(slice(0, len(data)), walk.floats_of_start)
        tables = [way.table(X[part]) for part in parts]
        self.tables = way.flat([ops.concatenate(of_map, axis=1) for of_map in zip(*tables, strict=True)])
        self.weights: dict[bool, Any] = {}
        drawn = [columns if len(drawing.pixels(columns)[1]) else columns[:0] for columns in positions]
        self.shown = [drawing.drawn(columns, X.columns(columns).astype(np.float32)) for columns in drawn]
        self._sources: tuple[Any, list[Any]] = (None, [])

    def kept(self, *, anew: bool) -> Any:
        """Return tables and weights."""
        if anew not in self.weights:
            self.weights[anew] = self.way.weights[anew]()
        return self.tables, self.weights[anew]

    def moved(self, rows: np.ndarray, donors: np.ndarray) -> np.ndarray:
        """See `Stock.moved`."""
        return np.stack([(shown[rows] != shown[donors]).any(axis=1) for shown in self.shown])

    def given(self, rows: np.ndarray, donors: np.ndarray, order: np.ndarray, *, anew: bool) -> list[Any]:
        """Return where rows and donors are in the tables, and where each state comes from."""
        key = anew, order.tobytes()
        if self._sources[0] != key:
            sources, which = self.way.walks[anew].states.sources(order)
            self._sources = key, [packed(sources), which]
        return [rows.astype(np.int32), donors.astype(np.int32), *self._sources[1]]


def cell_walks(
    cut: CutModel, branch: Branch, positions: Sequence[np.ndarray], *, fuse: bool
) -> dict[bool, CellWalk] | None:
    """Plan walks by cells through a branch; None where there are none."""
    if branch.kind != "image" or not len(positions):
        return None

    def planned() -> dict[bool, CellWalk] | None:
        engine = windows_of(cut, branch, fusion_point(cut), fuse)
        if engine is None:
            return None
        found = {anew: walk_by_cells(engine, positions, anew=anew, fuse=fuse) for anew in (False, True)}
        walks = {anew: walk for anew, walk in found.items() if walk is not None}
        return walks if len(walks) == len(found) else None

    return cut.once(("cells", branch, fuse, *(columns.tobytes() for columns in positions)), planned)


def work_by_cells(cut: CutModel, branch: Branch, positions: Sequence[np.ndarray]) -> float:
    """Return the work of a walk by cells over that of computing the branch as a whole at each step; inf without one."""
    walks = cell_walks(cut, branch, positions, fuse=False)
    if walks is None:
        return math.inf
    return walks[False].work / (walks[False].engine.whole_work * len(positions))
