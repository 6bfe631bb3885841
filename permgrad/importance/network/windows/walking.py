"""Kept maps of pairs that are changed again and again: each time at one place in all pairs, and from there on.

A map is a tensor for each of its cells, (n_pairs, channels). A change reads and replaces those of one rectangle, the
*box*; all others stay where they are, so what a step takes does not grow with the map.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.importance.network.windows.deltas import Delta, Kept, Where
from permgrad.importance.network.windows.ends import Sums
from permgrad.importance.network.windows.engine import WindowedBranch
from permgrad.importance.network.windows.spans import Area

ops = keras.ops


@dataclass(frozen=True, eq=False)
class Walked:
    """Where the pairs are.

    Attributes
    ----------
    cells : dict of int to dict of int to tensor
        Of each kept map, by the cell's number: (n_pairs, channels).
    empty : dict of int to tensor
        Of each map with live cells, the map of the empty image, for cells that are not among `cells`.
    started : tensor of shape (n_pairs, units)
        What the end makes of the map.
    """

    cells: dict[int, dict[int, Any]]
    empty: dict[int, Any]
    started: Any

    def boxes(self, at: dict[int, np.ndarray]) -> dict[int, list[Any]]:
        """Return the tensors of these cells, by the map's number."""
        n_pairs = ops.shape(self.started)[0]
        for number, cells in at.items():
            for cell in cells.tolist():
                if cell not in self.cells[number]:
                    alike = self.empty[number][cell]
                    self.cells[number][cell] = ops.broadcast_to(alike, (n_pairs, *alike.shape))
        return {number: [self.cells[number][cell] for cell in cells.tolist()] for number, cells in at.items()}

    def replaced(self, at: dict[int, np.ndarray], boxes: dict[int, list[Any]], started: Any) -> Walked:
        """Return the maps with other tensors in these cells."""
        cells = {
            number: {**self.cells[number], **dict(zip(at[number].tolist(), box, strict=True))}
            for number, box in boxes.items()
        }
        return Walked(cells, self.empty, started)


class WalkingBranch:
    """A branch whose pixels change one after the other; it leads to a Dense layer's sums.

    Parameters
    ----------
    engine : WindowedBranch
    """

    def __init__(self, engine: WindowedBranch) -> None:
        self.engine = engine
        self._boxes: dict[int, dict[int, Area]] = {}

    @cached_property
    def end(self) -> Sums:
        """What the last map leads to."""
        assert isinstance(self.engine.end, Sums)  # noqa: S101 - `can_walk`
        return self.engine.end

    def begin(self, kept: list[Any], rows: np.ndarray) -> Walked:
        """Return the maps of some rows, in any order and repeatedly, out of what was kept of all."""
        engine, at = self.engine, ops.convert_to_tensor(rows.astype(np.int32))
        cells: dict[int, dict[int, Any]] = {}
        empty = {}
        for number, tensor in zip(engine.kept, kept, strict=False):
            shape, live = engine.shapes[number], engine.live.get(number)
            n_cells = shape[0] * shape[1]
            if live is None:
                all_cells = ops.transpose(ops.take(ops.reshape(tensor, (-1, *_flat(shape))), at, axis=0), (1, 0, 2))
                cells[number] = dict(enumerate(ops.unstack(all_cells)))
            else:
                empty[number] = tensor[:n_cells]
                of_rows = ops.reshape(tensor[n_cells:], (len(live), -1, shape[2]))
                cells[number] = dict(zip(live.tolist(), ops.unstack(ops.take(of_rows, at, axis=1)), strict=True))
        return Walked(cells, empty, ops.take(kept[-1], at, axis=0))

    def boxes(self, size: int) -> dict[int, Area]:
        """Return what a change of this size reads or replaces of each kept map."""
        if size not in self._boxes:
            plan = self.engine.plan(size)
            steps = plan.steps
            boxes: dict[int, Area] = {}
            for number in self.engine.kept:
                areas = [step.reads[number] for step in steps if number in step.reads]
                areas.append(steps[number - 1].area if number else plan.area)
                box = areas[0]
                for area in areas[1:]:
                    box = box.joined(area)
                boxes[number] = box.inside()
            self._boxes[size] = boxes
        return self._boxes[size]

    def cells(self, size: int, top: int, left: int) -> dict[int, np.ndarray]:
        """Return the numbers of the boxes' cells for a change at this position."""
        return {
            number: (
                (box.rows.starts[top] + np.arange(box.rows.size))[:, None] * box.shape[1]
                + box.cols.starts[left]
                + np.arange(box.cols.size)
            ).reshape(-1)
            for number, box in self.boxes(size).items()
        }

    def move(
        self, size: int, change: Any, place: Any, boxes: dict[int, list[Any]], started: Any, weights: list[Any]
    ) -> tuple[dict[int, list[Any]], Any]:
        """Return the boxes and sums after a change.

        Parameters
        ----------
        size : int
        change : tensor of shape (n_pairs, size * size, channels)
        place : tensor of shape (2,), int32
            Top and left.
        boxes : dict of int to list of tensor
            Of each kept map: the box's cells.
        started : tensor
        weights : list
            `WindowedBranch.weights`.
        """
        engine, plan = self.engine, self.engine.plan(size)
        where = Where(ops.arange(ops.shape(change)[0], dtype="int32"), place[:1], place[1:])
        stacked = {number: ops.stack(cells) for number, cells in boxes.items()}  # (n_box, n_pairs, channels)
        areas = self.boxes(size)
        maps = {i: Kept(ops.reshape(box, (-1, box.shape[-1])), box=areas[i]) for i, box in stacked.items()}
        deltas = [Delta(change, plan.area)]
        for stage, step, of_step in zip(engine.stages, plan.steps, weights, strict=False):
            deltas.append(step.run([deltas[i] for i in stage.inputs], where, maps, of_step))
        moved = {}
        for number, box in stacked.items():
            by = ops.transpose(where.moved(deltas[number], areas[number]), (1, 0, 2))
            moved[number] = ops.unstack(box + ops.cast(by, box.dtype))
        sums = self.end.moved(deltas[-1], where, started, weights[-1])
        changed = ops.any(change != 0, axis=(1, 2))  # where nothing changes, neither may the last digit
        return moved, ops.where(changed[:, None], sums, started)


def can_walk(engine: WindowedBranch) -> bool:
    """Tell whether a branch leads to a Dense layer's sums, which is what a walk goes on from."""
    return isinstance(engine.end, Sums)


def _flat(shape: tuple[int, int, int]) -> tuple[int, int]:
    return shape[0] * shape[1], shape[2]
