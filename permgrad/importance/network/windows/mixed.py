"""An image branch at all steps of a walk, by cells: what a cell is depends on those features alone that it sees.

Of a pair, a row and a donor, a coalition's features come from the row and all others from the donor. Where few pixels
are drawn, a cell of a map sees few features. As long as none of them has joined, the cell is the donor's; once all have,
it is the row's: both are known from the maps of whole rows. Only in between is it *mixed*, and has to be computed: of a
cell that sees p features, p - 1 times in a walk, and never where it sees but one.

How many mixed states there are does not depend on the order in which features join, so one compiled function serves all
walks; the order says which states of the map in front they are computed from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from permgrad.backend import fused, keras
from permgrad.importance.network.windows.ends import Sums
from permgrad.importance.network.windows.engine import WindowedBranch
from permgrad.importance.network.windows.live import MOST_OF_KERNELS, LiveBend, LiveConvolution
from permgrad.importance.network.windows.stages import COST_OF_A_FLOAT

ops = keras.ops

DONORS, ROWS = -2, -1
"""States of a cell that are not mixed."""


class MixedStates:
    """Which states of which cells are mixed, of each map: an enumeration that holds for any order.

    Parameters
    ----------
    engine : WindowedBranch
        One that `has_cells`.
    features : sequence of ndarray of int
        The columns of each.
    anew : bool
        Each step of a walk starts from where nothing is seen, so a coalition has but one feature.
    """

    def __init__(self, engine: WindowedBranch, features: Sequence[np.ndarray], *, anew: bool) -> None:
        self.engine, self.anew = engine, anew
        steps = self.steps = [engine.live_steps[i] for i in range(1, len(engine.stages) + 1)]
        sees = [_pixels_of(engine, features)]
        for step in steps:
            seen = np.vstack([sees[-1], np.zeros((1, len(features)), bool)])  # a cell that sees none
            reads = [np.minimum(read, len(seen) - 1) for read in _reads(step, len(seen) - 1)]
            sees.append(np.concatenate([seen[read].any(axis=1) for read in reads]))
        self.maps = [_Map(of_map, anew) for of_map in sees]
        self.needed = [self._read_of(level) for level in range(len(steps))]
        self.needed.append(np.arange(len(sees[-1])))

    def _read_of(self, level: int) -> np.ndarray:
        """Return which live cells of a map the mixed states of the next read."""
        n_cells = len(self.maps[level].sees)
        cells = np.unique(np.concatenate([read.reshape(-1) for read in self.reads(level + 1)]))
        return cells[cells < n_cells]

    def reads(self, level: int) -> list[np.ndarray]:
        """Return which cells in front each mixed state reads, group by group: (n_mixed, n_read)."""
        cell, start, found = self.maps[level].cell, 0, []
        for read in _reads(self.steps[level - 1], len(self.maps[level - 1].sees)):
            inside = cell[(cell >= start) & (cell < start + len(read))] - start
            found.append(read[inside])
            start += len(read)
        return found

    def sources(self, order: np.ndarray) -> tuple[list[list[np.ndarray]], np.ndarray]:
        """Return where the states of a walk come from.

        Parameters
        ----------
        order : ndarray of int
            Features as they join.

        Returns
        -------
        list of list of ndarray
            For each map behind the image, for each group of its mixed states: which states in front they read,
            (n_mixed, n_read). States are counted as `run` stacks them.
        ndarray of shape (n_steps + 1, n_states), float32
            Which states the last map's cells have at each time; 0 and 1.
        """
        states = [of_map.states(order) for of_map in self.maps]
        found = []
        for level in range(1, len(self.maps)):
            time, start, groups = self.maps[level].times(order), 0, []
            for read in self.reads(level):
                at = time[start : start + len(read), None]
                groups.append(self._stacked(level - 1, states[level - 1], read, at).astype(np.int32))
                start += len(read)
            found.append(groups)
        last = len(self.maps) - 1
        n_cells, n_times = states[-1].shape
        cells = np.arange(n_cells)
        at = self._stacked(last, states[-1], cells[:, None], np.arange(n_times)[None])
        which = np.zeros((n_times, 2 * n_cells + len(self.maps[last].cell)), np.float32)
        which[np.arange(n_times)[None], at] = 1
        return found, which

    def _stacked(self, level: int, states: np.ndarray, read: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Return the place of cells at a time among donors', rows', mixed states, and cells that are not live."""
        needed, (n_cells, _) = self.needed[level], states.shape
        place, n_mixed = np.zeros(n_cells, int), len(self.maps[level].cell)
        place[needed] = np.arange(len(needed))
        live = np.minimum(read, n_cells - 1)
        state, at = states[live, time], place[live]
        stacked = np.where(state == DONORS, at, np.where(state == ROWS, len(needed) + at, 2 * len(needed) + state))
        return np.where(read < n_cells, stacked, 2 * len(needed) + n_mixed + read - n_cells)


class _Map:
    """The live cells of a map: the features that each sees, (n_live, n_features), and its mixed states."""

    def __init__(self, sees: np.ndarray, anew: bool) -> None:
        self.sees, self.anew, self.n_seen = sees, anew, sees.sum(axis=1)
        n_mixed = np.where(self.n_seen > 1, self.n_seen if anew else self.n_seen - 1, 0)
        self.first = np.cumsum(n_mixed) - n_mixed
        self.cell = np.repeat(np.arange(len(sees)), n_mixed)
        self.number = np.arange(len(self.cell)) - self.first[self.cell]
        """Of a mixed state among those of its cell: how many features are seen, less one; or which feature."""

    def states(self, order: np.ndarray) -> np.ndarray:
        """Return the state of each cell at each time, (n_live, n_steps + 1): `DONORS`, `ROWS`, or which mixed one."""
        seen = self.sees[:, order]
        if self.anew:
            number, whole = (np.cumsum(self.sees, axis=1) - 1)[:, order], seen & (self.n_seen[:, None] == 1)
        else:
            n_so_far = np.cumsum(seen, axis=1)
            number, seen, whole = n_so_far - 1, n_so_far > 0, n_so_far == self.n_seen[:, None]
        after = np.where(whole, ROWS, np.where(seen, self.first[:, None] + number, DONORS))
        return np.pad(after, [(0, 0), (1, 0)], constant_values=DONORS)

    def times(self, order: np.ndarray) -> np.ndarray:
        """Return a time at which each mixed state is there, (n_mixed,); 0 for those that no step leads to."""
        is_there = self.states(order)[self.cell] == np.arange(len(self.cell))[:, None]
        return is_there.argmax(axis=1)


@dataclass(frozen=True, eq=False)
class CellWalk:
    """Walks through a branch by cells, see `MixedStates`; it holds no data.

    Attributes
    ----------
    states : MixedStates
    fuse : bool
        Compile what bends to one pass over memory.
    """

    states: MixedStates
    fuse: bool

    @property
    def engine(self) -> WindowedBranch:
        """The branch."""
        return self.states.engine

    @cached_property
    def end(self) -> Sums:
        """What the last map leads to."""
        assert isinstance(self.engine.end, Sums)  # noqa: S101 - `has_cells`
        return self.engine.end

    @cached_property
    def channels(self) -> list[int]:
        """Channels of each map."""
        return [shape[2] for shape in self.engine.shapes]

    @property
    def floats_per_row(self) -> int:
        """Count the floats that `table` returns of a row."""
        widths = [*self.channels[:-1], self.end.units]
        return sum(len(needed) * width for needed, width in zip(self.states.needed, widths, strict=True))

    @property
    def floats_of_start(self) -> int:
        """Count the floats of the widest map of one row."""
        return max(len(of_map.sees) * width for of_map, width in zip(self.states.maps, self.channels, strict=True))

    @cached_property
    def products(self) -> int:
        """Count the multiplications of a walk of one pair."""
        total = len(self.states.maps[-1].cell) * self.channels[-1] * self.end.units
        for level, step in enumerate(self.states.steps, 1):
            if isinstance(step, LiveConvolution):
                n_read = sum(read.size for read in self.states.reads(level))
                total += n_read * self.channels[level - 1] * self.channels[level]
        return total

    @cached_property
    def floats(self) -> list[int]:
        """Count the floats of each map's states, and of what the next reads of them, for one pair."""
        counts = []
        for level, needed in enumerate(self.states.needed):
            width = self.channels[level] if level + 1 < len(self.channels) else self.end.units
            read = sum(each.size for each in self.states.reads(level + 1)) if level + 1 < len(self.channels) else 0
            counts.append((2 * len(needed) + len(self.states.maps[level].cell) + read) * width)
        return counts

    @property
    def work(self) -> int:
        """Count the multiplications of a walk of one pair, and the floats in their measure."""
        return self.products + 2 * COST_OF_A_FLOAT * sum(self.floats)

    def table(self, rows: Any) -> list[Any]:
        """Return what walks need of whole rows: of each map some cells, (n_cells, n_rows, channels).

        Of the last, what each cell adds to the sums, (n_live, n_rows, units), over what it adds in the empty image.
        """
        empty, engine = self.engine._of_empty(), self.engine
        values = [engine.drawing.draw_written(rows)]
        for level, step in enumerate(self.states.steps):
            values.append(step.run(values[-1], empty[level], empty[level + 1]))
        kept = [_take(x, needed) for x, needed in zip(values[:-1], self.states.needed, strict=False)]
        kernel, lacking = self._kernel_of_end(self.states.needed[-1], empty)
        return [*kept, ops.matmul(values[-1], kernel) - lacking]

    def _kernel_of_end(self, cells: np.ndarray, empty: list[Any]) -> tuple[Any, Any]:
        """Return what live cells of the last map are multiplied by, and what they add to the empty image's sums."""
        at = self.engine.live[len(self.channels) - 1][cells]
        kernel = ops.reshape(_take(self.end.weights()[0], at), (len(at), -1, self.end.units))
        return kernel, ops.matmul(_take(empty[-2], at)[:, None], kernel)

    def weights(self) -> list[Any]:
        """Return what `run` needs of the weights: of each map, and the sums that nothing drawn leads to."""
        empty, found = self.engine._of_empty(), []
        for level, step in enumerate(self.states.steps, 1):
            found.append(self._weights_of(level, step, empty) if self._is_computed(level) else [])
        return [*found, self._kernel_of_end(self.states.maps[-1].cell, empty), empty[-1]]

    def _is_computed(self, level: int) -> bool:
        return bool(len(self.states.maps[level].cell))

    def _weights_of(self, level: int, step: Any, empty: list[Any]) -> list[Any]:
        """Return a constant for each mixed state, and each group's kernels; or the cells that are not live."""
        if isinstance(step, LiveBend):
            return [_take(empty[level - 1], step.fill)] if len(step.fill) else []
        n_in, n_out = self.channels[level - 1], self.channels[level]
        kernel = ops.reshape(ops.cast(step.layer.kernel, "float32"), (-1, n_in * n_out))
        cell, start, constants, kernels = self.states.maps[level].cell, 0, [], []
        for read, taps in step.groups:
            inside = cell[(cell >= start) & (cell < start + len(read))] - start
            start += len(read)
            of_each = ops.reshape(_take(kernel, taps[inside].reshape(-1)), (len(inside), -1, n_out))
            alike = ops.reshape(_take(empty[level - 1], step.known[read[inside]].reshape(-1)), (len(inside), 1, -1))
            constants.append(ops.matmul(alike, of_each))
            kernels.append(of_each)
        return [_take(empty[level], step.at[cell])[:, None] - ops.concatenate(constants), *kernels]

    def run(
        self, tables: list[Any], weights: list[Any], rows: Any, donors: Any, sources: Sequence[Any], which: Any
    ) -> Any:
        """Return the pairs' sums at all times of a walk, (n_steps + 1, n_pairs, units).

        Parameters
        ----------
        tables : list of tensor
            `table`, of all rows.
        weights : list
            From `weights`.
        rows, donors : tensors of shape (n_pairs,), int32
            Places in the tables.
        sources, which
            From `MixedStates.sources`.
        """
        n_pairs, mixed = rows.shape[0], None
        for level, step in enumerate(self.states.steps, 1):
            if self._is_computed(level):
                states = self._states(level - 1, tables, rows, donors, mixed)
                compute = self._convolved if isinstance(step, LiveConvolution) else self._bent
                mixed = compute(step, states, sources[level - 1], weights[level - 1])
            else:
                mixed = None
        kernel, lacking = weights[-2]
        added = None if mixed is None else ops.matmul(mixed, kernel) - lacking
        stacked = self._states(len(self.channels) - 1, tables, rows, donors, added)
        sums = ops.reshape(ops.matmul(which, ops.reshape(stacked, (stacked.shape[0], -1))), (-1, n_pairs, self.end.units))
        return weights[-1] + sums

    def _states(self, level: int, tables: list[Any], rows: Any, donors: Any, mixed: Any) -> Any:
        """Stack the states of a map, (n_states, n_pairs, channels)."""
        table = tables[level]
        parts = [ops.take(table, donors, axis=1), ops.take(table, rows, axis=1)]
        return ops.concatenate(parts if mixed is None else [*parts, mixed])

    def _convolved(self, step: LiveConvolution, states: Any, sources: Sequence[Any], weights: list[Any]) -> Any:
        n_pairs, n_in = states.shape[1:]
        constant, *kernels = weights
        sums = []
        for read, kernel in zip(sources, kernels, strict=True):
            n_mixed, n_read = read.shape
            cells = ops.reshape(ops.take(states, ops.reshape(read, (-1,)), axis=0), (n_mixed, n_read, n_pairs, n_in))
            cells = ops.reshape(ops.transpose(cells, (0, 2, 1, 3)), (n_mixed, n_pairs, n_read * n_in))
            sums.append(ops.matmul(cells, kernel))
        return ops.concatenate(sums) + constant

    def _bent(self, step: LiveBend, states: Any, sources: Sequence[Any], weights: list[Any]) -> Any:
        if weights:
            alike = weights[0]
            alike = ops.broadcast_to(alike[:, None], (alike.shape[0], states.shape[1], alike.shape[1]))
            states = ops.concatenate([states, ops.cast(alike, states.dtype)])

        def bend(x: Any, read: Any) -> Any:
            return step.of_pooled([ops.take(x, read[:, i], axis=0) for i in range(read.shape[1])])

        return (fused(bend) if self.fuse else bend)(states, sources[0])


MOST_SEEN = 2**24
"""Of drawn pixels times features: the tables of what sees what."""


def walk_by_cells(
    engine: WindowedBranch, features: Sequence[np.ndarray], *, anew: bool, fuse: bool
) -> CellWalk | None:
    """Plan walks of features, given by their columns, through a branch; None where cells cannot be told apart so.

    That takes few drawn pixels, one feature's each, and layers in a chain up to a Dense layer.
    """
    if not has_cells(engine, features):
        return None
    walk = CellWalk(MixedStates(engine, features, anew=anew), fuse)
    return walk if walk.products <= MOST_OF_KERNELS else None


def has_cells(engine: WindowedBranch, features: Sequence[np.ndarray]) -> bool:
    """Tell whether a branch can be walked by cells: few drawn pixels, one feature's each, and a chain of known layers."""
    chain = all(stage.inputs == (i,) for i, stage in enumerate(engine.stages))
    known = chain and isinstance(engine.end, Sums) and len(engine.live_steps) == len(engine.stages)
    few = known and len(engine.live[0]) * len(features) <= MOST_SEEN
    return few and bool((_pixels_of(engine, features).sum(axis=1) <= 1).all())


def _pixels_of(engine: WindowedBranch, features: Sequence[np.ndarray]) -> np.ndarray:
    """Return which features each drawn pixel is of, (n_pixels, n_features)."""
    pixels, found = engine.live[0], np.zeros((len(engine.live[0]), len(features)), bool)
    for feature, columns in enumerate(features):
        found[:, feature] = np.isin(pixels, engine.drawing.pixels(columns)[1])
    return found


def _reads(step: Any, n_live: int) -> list[np.ndarray]:
    """Return which cells in front each output reads, group by group: (n_outputs, n_read); from `n_live` on, none live."""
    if isinstance(step, LiveConvolution):
        return [read for read, _ in step.groups]
    return [np.arange(n_live)[:, None] if step.pooled is None else step.pooled]


def _take(tensor: Any, at: np.ndarray) -> Any:
    return ops.take(tensor, np.asarray(at, np.int32), axis=0)
