"""An image branch at all steps of a walk at once, where little is drawn: its mixed cells, and nothing else.

See `mixed` for which those are. A convolution is taken in two steps. What a set of features adds to an output is a
product, and known from whole rows unless the set itself is mixed; the output is a sum of these. So where features meet
behind a convolution, what is left of it is sums of what is looked up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from permgrad.backend import fused, keras
from permgrad.importance.network.windows.ends import Sums
from permgrad.importance.network.windows.engine import WindowedBranch
from permgrad.importance.network.windows.live import LiveBend, LiveConvolution
from permgrad.importance.network.windows.mixed import MixedStates
from permgrad.importance.network.windows.stages import COST_OF_A_FLOAT

ops = keras.ops

MOST_SEEN = 2**24
"""Of drawn pixels times features: the tables of what sees what."""
MOST_OF_KERNELS = 2**24
"""Floats of the kernels that mixed states are multiplied by, laid out for each."""


@dataclass(frozen=True, eq=False)
class Source:
    """Where the mixed states of a group read.

    Attributes
    ----------
    table : tensor of shape (n_cells * n_rows + n_alike, channels)
    mixed : tensor of shape (n_mixed, n_pairs, channels) or None
        The mixed states in front.
    at : tensor of shape (n_slots, n_read, n_pairs), int32
        In the table.
    number : tensor of shape (n_slots, n_read), int32
        Among the mixed states; less than 0 for what is in the table.
    """

    table: Any
    mixed: Any
    at: Any
    number: Any

    @property
    def tensors(self) -> list[Any]:
        """The tensors, as `one_by_one` takes them."""
        return [self.table, self.at, *([] if self.mixed is None else [self.mixed, self.number])]


def one_by_one(table: Any, at: Any, mixed: Any = None, number: Any = None) -> list[Any]:
    """Return each of the cells that are read, (n_slots, n_pairs, channels)."""
    cells = []
    for i in range(at.shape[1]):
        cell = ops.take(table, at[:, i], axis=0)
        if mixed is not None:
            of_mixed = ops.take(mixed, ops.maximum(number[:, i], 0), axis=0)
            cell = ops.where(number[:, i, None, None] < 0, cell, of_mixed)
        cells.append(cell)
    return cells


class CellStep(Protocol):
    """A step from the cells of a map to those of the next."""

    @property
    def reads(self) -> list[np.ndarray]:
        """Which cells in front each cell reads, group by group: (n_cells, n_read).

        From the number of cells in front on, those that are alike in all rows.
        """
        ...

    @property
    def channels(self) -> int:
        """Count the channels that come out."""
        ...

    def whole(self, x: Any, before: Any, behind: Any) -> Any:
        """Return the cells of rows, (n_cells, n_rows, channels); `before` and `behind` are the empty image's maps."""
        ...

    def alike(self, before: Any) -> Any:
        """Return the cells in front that are alike in all rows, (n_alike, channels)."""
        ...

    def weights(self, groups: Sequence[np.ndarray], before: Any, behind: Any) -> list[list[Any]]:
        """Return what each group's mixed states need of the weights; `groups` say which cells they are of."""
        ...

    def shapes(self, n_mixed: int, n_read: int) -> list[tuple[int, ...]]:
        """Return the shapes of a group's weights."""
        ...

    def mix(self, source: Source, weights: list[Any], *, fuse: bool) -> Any:
        """Return a group's mixed states, (n_mixed, n_pairs, channels)."""
        ...


@dataclass(frozen=True, eq=False)
class Products:
    """What each set of features adds to each output of a convolution.

    Attributes
    ----------
    known : ndarray of int
        The cells in front, by their numbers in the map.
    reads, taps : lists of ndarray
        Which of them are multiplied by which cell of the kernel.
    """

    layer: Any
    known: np.ndarray
    reads: list[np.ndarray]
    taps: list[np.ndarray]
    channels: int

    def whole(self, x: Any, before: Any, behind: Any) -> Any:
        """See `CellStep.whole`."""
        x = x - _take(before, self.known)[:, None]
        pairs = zip(self.reads, self.taps, strict=True)
        return ops.concatenate([self._multiplied(_take(x, read), self._kernels(taps)) for read, taps in pairs])

    def alike(self, before: Any) -> Any:
        """See `CellStep.alike`."""
        return before[:0]

    def weights(self, groups: Sequence[np.ndarray], before: Any, behind: Any) -> list[list[Any]]:
        """Return the kernels, and what they make of the empty image."""
        found = []
        for read, taps, of_group in zip(self.reads, self.taps, groups, strict=True):
            kernels = self._kernels(taps[of_group])
            n_inputs = read.shape[1] * before.shape[1]
            empty = ops.reshape(_take(before, self.known[read[of_group]]), (len(of_group), 1, n_inputs))
            found.append([kernels, ops.matmul(empty, kernels)])
        return found

    def shapes(self, n_mixed: int, n_read: int) -> list[tuple[int, ...]]:
        """See `CellStep.shapes`."""
        n_inputs = n_read * int(self.layer.kernel.shape[2])
        return [(n_mixed, n_inputs, self.channels), (n_mixed, 1, self.channels)]

    def mix(self, source: Source, weights: list[Any], *, fuse: bool) -> Any:
        """See `CellStep.mix`."""
        kernels, empty = weights
        return self._multiplied(ops.stack(one_by_one(*source.tensors), axis=1), kernels) - empty

    def _kernels(self, taps: np.ndarray) -> Any:
        kernel = ops.cast(self.layer.kernel, "float32")
        flat = ops.reshape(kernel, (-1, kernel.shape[2] * kernel.shape[3]))
        return ops.reshape(_take(flat, taps), (len(taps), taps.shape[1] * kernel.shape[2], kernel.shape[3]))

    def _multiplied(self, cells: Any, kernels: Any) -> Any:
        """Multiply cells, (n, n_read, n_rows, channels), by a kernel for each."""
        n, n_read, n_rows, n_in = cells.shape
        cells = ops.reshape(ops.transpose(cells, (0, 2, 1, 3)), (n, n_rows, n_read * n_in))
        return ops.matmul(cells, kernels)


@dataclass(frozen=True, eq=False)
class Sum:
    """The outputs of a convolution, each the sum of what sets of features add to it.

    Attributes
    ----------
    at : ndarray of int
        The outputs, by their numbers in the map.
    """

    at: np.ndarray
    reads: list[np.ndarray]
    channels: int

    def whole(self, x: Any, before: Any, behind: Any) -> Any:
        """See `CellStep.whole`."""
        sums = [sum(_take(x, of_each) for of_each in read.T) for read in self.reads]
        return ops.concatenate(sums) + _take(behind, self.at)[:, None]

    def alike(self, before: Any) -> Any:
        """See `CellStep.alike`."""
        return before[:0]

    def weights(self, groups: Sequence[np.ndarray], before: Any, behind: Any) -> list[list[Any]]:
        """Return the empty image's sums."""
        start, found = 0, []
        for read, of_group in zip(self.reads, groups, strict=True):
            found.append([_take(behind, self.at[start + of_group])[:, None]])
            start += len(read)
        return found

    def shapes(self, n_mixed: int, n_read: int) -> list[tuple[int, ...]]:
        """See `CellStep.shapes`."""
        return [(n_mixed, 1, self.channels)]

    def mix(self, source: Source, weights: list[Any], *, fuse: bool) -> Any:
        """See `CellStep.mix`."""
        add = lambda empty, *tensors: sum(one_by_one(*tensors), start=empty)  # noqa: E731
        return (fused(add) if fuse else add)(weights[0], *source.tensors)


@dataclass(frozen=True, eq=False)
class Bent:
    """The cells behind what acts on each cell alone, with at most one maximum pooling."""

    step: LiveBend
    reads: list[np.ndarray]
    channels: int

    def whole(self, x: Any, before: Any, behind: Any) -> Any:
        """See `CellStep.whole`."""
        cells = x
        if len(self.step.fill):
            alike = self.alike(before)[:, None]
            cells = ops.concatenate([x, ops.broadcast_to(alike, (alike.shape[0], ops.shape(x)[1], alike.shape[2]))])
        return self._through([_take(cells, of_each) for of_each in self.reads[0].T])

    def alike(self, before: Any) -> Any:
        """See `CellStep.alike`."""
        return _take(before, self.step.fill)

    def weights(self, groups: Sequence[np.ndarray], before: Any, behind: Any) -> list[list[Any]]:
        """Return nothing."""
        return [[] for _ in groups]

    def shapes(self, n_mixed: int, n_read: int) -> list[tuple[int, ...]]:
        """See `CellStep.shapes`."""
        return []

    def mix(self, source: Source, weights: list[Any], *, fuse: bool) -> Any:
        """See `CellStep.mix`."""
        bend = lambda *tensors: self._through(one_by_one(*tensors))  # noqa: E731
        return (fused(bend) if fuse else bend)(*source.tensors)

    def _through(self, pooled: list[Any]) -> Any:
        """Go through the layers, given those cells that each is the maximum of."""
        x = ops.stack(pooled, axis=2)
        return self.step.stage.through(x, lambda z: ops.max(z, axis=2, keepdims=True))[:, :, 0]


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
            steps, place = _steps_of(engine.live_steps[number], place, sees[-1], engine.shapes[number][2])
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
        of_slots = iter(_parted(sources, [s.cell.shape for of in self.states.slots for s in of for _ in range(2)]))
        whose, mixed = ops.stack([donors, rows, ops.zeros_like(rows)]), None
        table = ops.reshape(tables[-1], (len(self.at), -1, self.end.units))
        for level, step in enumerate(self.steps, 1):
            if not self.states.mixes(level):  # nor has it anything among the sources
                mixed = None
                for _ in range(2 * len(self.states.slots[level])):
                    next(of_slots)
                continue
            groups = []
            for place, of_group in zip(self.states.places(level), of_steps[level - 1], strict=True):
                whose_each, number = next(of_slots), next(of_slots)
                if len(place):
                    first = self._first(level - 1, place, table.shape[1])
                    at = first[:, :, None] + ops.take(whose, whose_each, axis=0)
                    groups.append(step.mix(Source(tables[level - 1], mixed, at, number), of_group, fuse=self.fuse))
            mixed = ops.concatenate(groups) if len(groups) > 1 else groups[0]
        stacked = [ops.take(table, donors, axis=1), ops.take(table, rows, axis=1)]
        if mixed is not None:
            stacked.append(ops.matmul(mixed, kernels) - of_empty)
        states = ops.concatenate(stacked)
        flat = ops.reshape(states, (states.shape[0], -1))
        return started + ops.reshape(ops.matmul(which, flat), (-1, rows.shape[0], self.end.units))

    def _first(self, level: int, place: np.ndarray, n_rows: int) -> np.ndarray:
        """Return where in a flat table a place's first row is."""
        live = np.minimum(place, len(self.states.needed[level]))
        return (live * n_rows + place - live).astype(np.int32)


def _steps_of(step: Any, place: np.ndarray, sees: np.ndarray, channels: int) -> tuple[list[CellStep], np.ndarray]:
    """Return a stage's steps, and where each of its cells is among what comes out.

    `place` is where each cell in front is, which they read; those behind are in an order of their own.
    """
    if isinstance(step, LiveBend):
        pooled = np.arange(len(place))[:, None] if step.pooled is None else step.pooled
        read = np.concatenate([place, len(place) + np.arange(len(step.fill))])[pooled]
        return [Bent(step, [read], channels)], np.arange(len(read))
    sets = np.unique(sees, axis=0, return_inverse=True)[1].reshape(-1)
    out, cell, tap = (np.concatenate(each) for each in zip(*_entries(step, place), strict=True))
    n_sets = int(sets.max()) + 1
    keys, count = np.unique(out * n_sets + sets[cell], return_counts=True)
    order = np.argsort(out * n_sets + sets[cell], kind="stable")
    first = np.cumsum(count) - count
    reads, taps, added = [], [], []
    for n in np.unique(count):
        some = np.flatnonzero(count == n)
        at = order[first[some][:, None] + np.arange(n)]
        reads.append(cell[at])
        taps.append(tap[at])
        added.append(keys[some] // n_sets)
    known = np.zeros(len(place), int)
    known[place] = step.known
    products = Products(step.layer, known, reads, taps, channels)
    return _summed(products, np.concatenate(added), step.at, channels)


def _entries(step: LiveConvolution, place: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return of each group each product of a convolution: (output, cell in front, cell of the kernel)."""
    found, start = [], 0
    for read, taps in step.groups:
        out = np.repeat(start + np.arange(len(read)), read.shape[1])
        found.append((out, place[read.reshape(-1)], taps.reshape(-1)))
        start += len(read)
    return found


def _summed(products: Products, out: np.ndarray, at: np.ndarray, channels: int) -> tuple[list[CellStep], np.ndarray]:
    """Return the products and their sums, those of equally many together; `out` says to which each product belongs."""
    order, count = np.argsort(out, kind="stable"), np.bincount(out, minlength=len(at))
    first = np.cumsum(count) - count
    reads, cells = [], []
    for n in np.unique(count):
        some = np.flatnonzero(count == n)
        reads.append(order[first[some][:, None] + np.arange(n)])
        cells.append(some)
    place = np.argsort(np.concatenate(cells))
    return [products, Sum(at[np.concatenate(cells)], reads, channels)], place


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
