"""The steps of walks by cells: from the cells of one map to those of the next, of whole rows and of mixed states.

A convolution takes two. What a set of features adds to an output is a product, and known from whole rows unless the set
itself is mixed; the output is a sum of these. So where features meet behind a convolution, what is left of it is sums
of what is looked up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from permgrad.backend import fused, keras
from permgrad.importance.network.windows.live import LiveBend, LiveConvolution

ops = keras.ops


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


def steps_of(step: Any, place: np.ndarray, sees: np.ndarray, channels: int) -> tuple[list[CellStep], np.ndarray]:
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


def _take(tensor: Any, at: np.ndarray) -> Any:
    return ops.take(tensor, np.asarray(at, np.int32), axis=0)
