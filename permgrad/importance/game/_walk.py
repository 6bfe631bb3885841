"""A walk from knowing nothing to knowing the row: one player after another sees the row's own value.

A batch is made of pairs: a row, and a donor whose values stand in for whatever the coalition does not see. All pairs
of a batch follow one order of the players, so a step changes one feature of one branch in all of them: the sums of a
first Dense layer by one term (`FirstLayer`), the maps of an image branch in the windows that the feature's pixels reach
(`Windowed`), or where few pixels are drawn in the cells that see several features (`ByCells`), anything else by
computing that branch anew. The other branches' contributions, where branches meet, stay as they are.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from permgrad.backend import compiled, keras
from permgrad.importance.game._by_cells import ByCells
from permgrad.importance.game._ways import Summed, Way, Whole
from permgrad.importance.game._windowed import Windowed
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network._target import select
from permgrad.importance.network.branches import Branch, CutModel
from permgrad.importance.network.first_layer import first_layer
from permgrad.importance.network.fusion_point import FusionPoint, fusion_point
from permgrad.importance.network.windows.cells import CellWalk
from permgrad.importance.permuting._network import windows_of
from permgrad.metrics.task import Task

ops = keras.ops


@dataclass(frozen=True, eq=False)
class State:
    """Where a batch is on its way.

    Attributes
    ----------
    kept : tuple
        For each branch what its next step starts from.
    contributions : tuple of tensor
        Of each branch, where branches meet.
    """

    kept: tuple[Any, ...]
    contributions: tuple[Any, ...]

    def moved(self, branch: int, kept: Any, contribution: Any) -> State:
        """Return the state with one branch changed."""
        return replace(
            self,
            kept=(*self.kept[:branch], kept, *self.kept[branch + 1 :]),
            contributions=(*self.contributions[:branch], contribution, *self.contributions[branch + 1 :]),
        )


class Walker:
    """Walks batches of pairs through a cut model; it holds no data.

    Parameters
    ----------
    cut : CutModel
    task : Task
    fuse : bool
        Compile element-wise steps to one pass over memory, see `fused`: for long games.
    windowed : container of Branch
        Image branches of which windows are computed, see `work_of_steps`.
    cells : mapping of Branch to dict, optional
        Those that are walked by cells, at all steps at once only, and how: see `cell_walks`.
    """

    def __init__(
        self,
        cut: CutModel,
        task: Task,
        *,
        fuse: bool,
        windowed: Container[Branch] = (),
        cells: Mapping[Branch, dict[bool, CellWalk]] | None = None,
    ) -> None:
        self.task, self.point = task, fusion_point(cut)
        self.ways = [
            ByCells(cut, branch, self.point, cells[branch])
            if cells and branch in cells
            else _way(cut, branch, self.point, fuse, branch in windowed)
            for branch in cut.branches
        ]
        self.widest = max(self.point.widest, *(way.widest for way in self.ways))
        self._step = [compiled(self._stepping(at), cut.model, *way.models) for at, way in enumerate(self.ways)]
        self._finish = compiled(self._selected, cut.model)

    def _selected(self, contributions: Sequence[Any], truth: Any) -> Any:
        return select(self.point.finish(list(contributions)), truth, self.task)

    def _stepping(self, at: int) -> Any:
        way = self.ways[at]

        def step(kept: Any, others: Sequence[Any], truth: Any, *change: Any) -> tuple[Any, Any, Any]:
            kept, contribution = way.step(kept, *change)
            return kept, contribution, self._selected([*others[:at], contribution, *others[at:]], truth)

        return step

    def start(self, data: Inputs, rows: np.ndarray, donors: np.ndarray) -> State:
        """Return the state in which nothing of the rows is seen."""
        begun = [way.start(data, rows, donors) for way in self.ways]
        return State(tuple(kept for kept, _ in begun), tuple(contribution for _, contribution in begun))

    def selected(self, state: State, truth: Any) -> np.ndarray:
        """Return what `select` leaves of the predictions of a state, (n_pairs, k)."""
        return np.asarray(ops.convert_to_numpy(self._finish(list(state.contributions), truth)))

    def move(self, state: State, at: int, change: Any, truth: Any) -> tuple[State, np.ndarray]:
        """Let branch `at` see one more feature: (the new state, what `select` leaves of the predictions)."""
        others = [part for i, part in enumerate(state.contributions) if i != at]
        way, kept = self.ways[at], state.kept[at]
        moves = way.moves(change)
        if not moves:
            return state, self.selected(state, truth)
        for moved in moves:
            part, contribution, selected = self._step[at](way.part(kept, moved), others, truth, *way.tensors(moved))
            kept = way.replaced(kept, moved, part)
        return state.moved(at, kept, contribution), np.asarray(ops.convert_to_numpy(selected))


def _way(cut: CutModel, branch: Branch, point: FusionPoint, fuse: bool, windowed: bool) -> Way:
    first = first_layer(branch.encoder)
    if first is not None:
        return Summed(cut, branch, point, first, fuse)
    engine = windows_of(cut, branch, point, fuse) if windowed else None
    return Whole(cut, branch, point) if engine is None else Windowed(cut, branch, point, engine)
