"""An image branch at all steps of a walk at once, where little is drawn: its mixed cells, and nothing else.

See `mixed` for which those are, and `cell_steps` for how a layer makes them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from permgrad.backend import keras
from permgrad.importance.network.windows.cell_steps import CellStep, Products, Source, steps_of
from permgrad.importance.network.windows.ends import Sums
from permgrad.importance.network.windows.engine import WindowedBranch
from permgrad.importance.network.windows.mixed import MixedStates
from permgrad.importance.network.windows.stages import COST_OF_A_FLOAT

ops = keras.ops

MOST_SEEN = 2**24
"""Of drawn pixels times features: the tables of what sees what."""
MOST_OF_KERNELS = 2**24
"""Floats of the kernels that mixed states are multiplied by, laid out for each."""


class CellWalk:
    """Walks through a branch by cells; it holds no data.

    Parameters
    ----------
    engine : WindowedBranch
    features : sequence of ndarray of int
        The columns of each.
    anew : bool
        Each step of a walk starts from where nothing is seen.
    fuse : bool
        Compile what bends to one pass over memory.
    """

    def __init__(self, engine: WindowedBranch, features: Sequence[np.ndarray], *, anew: bool, fuse: bool) -> None:
        self.engine, self.fuse = engine, fuse
        sees = [pixels_of(engine, features)]
        self.steps: list[CellStep] = []
        self.empty_of = [0]
        """Of each map, the number of the stage whose map of the empty image it belongs to."""
        place = np.arange(len(sees[0]))
        for number in range(1, len(engine.stages) + 1):
            steps, place = steps_of(engine.live_steps[number], place, sees[-1], engine.shapes[number][2])
            for step in steps:
                self.steps.append(step)
                self.empty_of.append(number)
                front = np.vstack([sees[-1], np.zeros_like(sees[-1][:1])])  # what is alike sees no feature
                sees.append(
                    np.concatenate([front[np.minimum(read, len(front) - 1)].any(axis=1) for read in step.reads])
                )
        self.at = np.zeros(len(place), int)
        self.at[place] = engine.live[len(engine.stages)]
        """The cells of the last map, by their numbers in it."""
        self.states = MixedStates(sees, [step.reads for step in self.steps], anew=anew)
        self.channels = [engine.shapes[0][2], *(step.channels for step in self.steps)]

    @cached_property
    def end(self) -> Sums:
        """What the last map leads to."""
        assert isinstance(self.engine.end, Sums)  # noqa: S101 - `walk_by_cells`
        return self.engine.end

    @property
    def widths(self) -> list[int]:
        """Floats that are kept of a cell of each map: of the last, what it adds to the sums."""
        return [*self.channels[:-1], self.end.units]

    @property
    def floats_per_row(self) -> int:
        """Count the floats that `table` returns of a row."""
        return sum(len(needed) * width for needed, width in zip(self.states.needed, self.widths, strict=True))

    @property
    def floats_of_start(self) -> int:
        """Count the floats of the widest map of one row."""
        return max(len(cells) * width for cells, width in zip(self.states.maps, self.channels, strict=True))

    @cached_property
    def products(self) -> int:
        """Count the multiplications of a walk of one pair."""
        total = len(self.states.maps[-1].cell) * self.channels[-1] * self.end.units
        for level, step in enumerate(self.steps, 1):
            if isinstance(step, Products):
                total += sum(s.cell.size for s in self.states.slots[level]) * self.channels[level - 1] * step.channels
        return total

    @cached_property
    def floats(self) -> int:
        """Count the floats that are read and written for one pair."""
        last, total = len(self.channels) - 1, 0
        for level, width in enumerate(self.channels):
            read = sum(slots.cell.size for slots in self.states.slots[level]) * self.channels[max(0, level - 1)]
            total += read + len(self.states.maps[level].cell) * width
        return total + (2 * len(self.at) + len(self.states.maps[last].cell)) * self.end.units

    @property
    def work(self) -> int:
        """Count the multiplications of a walk of one pair, and the floats in their measure."""
        return self.products + COST_OF_A_FLOAT * self.floats

    def table(self, rows: Any) -> list[Any]:
        """Return what walks need of whole rows: of each map some cells, (n_cells, n_rows, channels).

        Of the last, what each cell adds to the sums over what it adds in the empty image, (n_cells, n_rows, units).
        """
        empty = self.engine.of_empty()
        x, kept = self.engine.drawing.draw_written(rows), []
        for level, step in enumerate(self.steps):
            kept.append(_take(x, self.states.needed[level]))
            x = step.whole(x, empty[self.empty_of[level]], empty[self.empty_of[level + 1]])
        kernels, of_empty = self._kernels_of_end(self.states.needed[-1], empty)
        return [*kept, ops.matmul(x, kernels) - of_empty]

    def flat(self, level: int, table: Any) -> Any:
        """Return a map's table with one axis for cells and rows, and behind it the cells that are alike in all rows."""
        flat = ops.reshape(table, (-1, table.shape[2]))
        if level == len(self.steps):
            return flat
        return ops.concatenate([flat, self.steps[level].alike(self.engine.of_empty()[self.empty_of[level]])])

    def _kernels_of_end(self, cells: np.ndarray, empty: list[Any]) -> tuple[Any, Any]:
        """Return what cells of the last map are multiplied by, and what that makes of the empty image."""
        at = self.at[cells]
        kernels = ops.reshape(_take(self.end.weights()[0], at), (len(at), self.channels[-1], self.end.units))
        return kernels, ops.matmul(_take(empty[-2], at)[:, None], kernels)

    def weights(self) -> Any:
        """Return what `run` needs of the weights, as one tensor: many take long to hand over.

        They are those of each step, the end's, and the empty image's sums.
        """
        empty, found = self.engine.of_empty(), []
        for level, step in enumerate(self.steps, 1):
            groups = [slots.out for slots in self.states.slots[level]]
            for of_group in step.weights(groups, empty[self.empty_of[level - 1]], empty[self.empty_of[level]]):
                found += of_group
        found += [*self._kernels_of_end(self.states.maps[-1].cell, empty), empty[-1]]
        return ops.concatenate([ops.reshape(each, (-1,)) for each in found])

    def _unpacked(self, weights: Any) -> tuple[list[list[list[Any]]], Any, Any, Any]:
        """Return what `weights` put into one tensor: of each step and group, the end's kernels, and so on."""
        of_groups = [
            [step.shapes(*slots.cell.shape) for slots in self.states.slots[level]]
            for level, step in enumerate(self.steps, 1)
        ]
        n_mixed, units = len(self.states.maps[-1].cell), self.end.units
        ends = [(n_mixed, self.channels[-1], units), (n_mixed, 1, units), (1, units)]
        parts = iter(_parted(weights, [shape for level in of_groups for group in level for shape in group] + ends))
        found = [[[next(parts) for _ in group] for group in level] for level in of_groups]
        return found, *parts

    def run(self, tables: list[Any], weights: Any, rows: Any, donors: Any, sources: Any, which: Any) -> Any:
        """Return the pairs' sums at all times of a walk, (n_steps + 1, n_pairs, units).

        Parameters
        ----------
        tables : list of tensor
            `flat` of each map's `table`, of all rows.
        weights : tensor
            From `weights`.
        rows, donors : tensors of shape (n_pairs,), int32
            Places in the tables.
        sources, which
            From `MixedStates.sources`; the first as one tensor, see `packed`.
        """
        of_steps, kernels, of_empty, started = self._unpacked(weights)
        table = ops.reshape(tables[-1], (len(self.at), -1, self.end.units))
        mixed = self._mixed(tables, of_steps, ops.stack([donors, rows, ops.zeros_like(rows)]), sources)
        stacked = [ops.take(table, donors, axis=1), ops.take(table, rows, axis=1)]
        if mixed is not None:
            stacked.append(ops.matmul(mixed, kernels) - of_empty)
        states = ops.concatenate(stacked)
        flat = ops.reshape(states, (states.shape[0], -1))
        return started + ops.reshape(ops.matmul(which, flat), (-1, rows.shape[0], self.end.units))

    def _mixed(self, tables: list[Any], weights: list[list[list[Any]]], whose: Any, sources: Any) -> Any:
        """Return the last map's mixed states, (n_mixed, n_pairs, channels), or None; `whose` are `DONORS` and so on."""
        n_rows, mixed = tables[-1].shape[0] // len(self.at), None
        of_slots = iter(_parted(sources, [s.cell.shape for of in self.states.slots for s in of for _ in range(2)]))
        for level, step in enumerate(self.steps, 1):
            groups = []
            for place, of_group in zip(self.states.places(level), weights[level - 1], strict=True):
                of_each, number = next(of_slots), next(of_slots)
                if len(place):
                    first = self._first(level - 1, place, n_rows)
                    at = first[:, :, None] + ops.take(whose, of_each, axis=0)
                    groups.append(step.mix(Source(tables[level - 1], mixed, at, number), of_group, fuse=self.fuse))
            mixed = ops.concatenate(groups) if groups else None
        return mixed

    def _first(self, level: int, place: np.ndarray, n_rows: int) -> np.ndarray:
        """Return where in a flat table a place's first row is."""
        live = np.minimum(place, len(self.states.needed[level]))
        return (live * n_rows + place - live).astype(np.int32)


def walk_by_cells(engine: WindowedBranch, features: Sequence[np.ndarray], *, anew: bool, fuse: bool) -> CellWalk | None:
    """Plan walks of features, given by their columns, through a branch; None where cells cannot be told apart so.

    That takes few drawn pixels, one feature's each, and layers in a chain up to a Dense layer.
    """
    chain = all(stage.inputs == (i,) for i, stage in enumerate(engine.stages))
    known = chain and isinstance(engine.end, Sums) and len(engine.live_steps) == len(engine.stages)
    if not known or len(engine.live[0]) * len(features) > MOST_SEEN:
        return None
    if (pixels_of(engine, features).sum(axis=1) > 1).any():
        return None
    walk = CellWalk(engine, features, anew=anew, fuse=fuse)
    return walk if walk.products <= MOST_OF_KERNELS else None


def pixels_of(engine: WindowedBranch, features: Sequence[np.ndarray]) -> np.ndarray:
    """Return which features each drawn pixel is of, (n_pixels, n_features + 1).

    The last are the columns of no feature: they never join.
    """
    pixels, found = engine.live[0], np.zeros((len(engine.live[0]), len(features) + 1), bool)
    for feature, columns in enumerate(features):
        found[:, feature] = np.isin(pixels, engine.drawing.pixels(columns)[1])
    others = np.setdiff1d(np.arange(engine.drawing.n_columns), np.concatenate(features))
    found[:, -1] = np.isin(pixels, engine.drawing.pixels(others)[1])
    return found


def packed(sources: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]]) -> np.ndarray:
    """Put the sources of a walk's states into one array."""
    return np.concatenate([each.reshape(-1) for of_map in sources for group in of_map for each in group])


def _parted(flat: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """Part a tensor into several, one behind the other."""
    ends = np.cumsum([math.prod(shape) for shape in shapes]).tolist()
    return [ops.reshape(flat[a:b], shape) for a, b, shape in zip([0, *ends], ends, shapes, strict=False)]


def _take(tensor: Any, at: np.ndarray) -> Any:
    return ops.take(tensor, np.asarray(at, np.int32), axis=0)
