"""The maps of all rows where few pixels are drawn: a cell that none of them reaches is the same in every row.

Such cells are computed once, of an image that is empty. The others, the *live* ones, are computed for each row, by how
much they differ from the empty image's: a convolution then multiplies what a live cell reads of live ones, and nothing
else. So the pass over all rows takes no longer for a larger image.

Of a live map the first axis is the cell, in an order of its own: (n_live, n_rows, channels).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from permgrad.backend import keras
from permgrad.importance.network.windows.spans import Sliding
from permgrad.importance.network.windows.stages import Bend, Convolution, Stage

ops = keras.ops

WORTH_IT = 0.7
"""Share of a convolution's products up to which it pays to leave out those of cells that are alike in all rows."""
MOST_OF_KERNELS = 2**24
"""Floats of the kernels that live cells are multiplied by, laid out for each."""


class LiveStep(Protocol):
    """A stage at work on live cells."""

    @property
    def at(self) -> np.ndarray:
        """The numbers of the cells that come out."""
        ...

    def run(self, x: Any, before: Any, behind: Any) -> Any:
        """Return the live cells behind the stage.

        Parameters
        ----------
        x : tensor of shape (n_live, n_rows, channels)
        before, behind : tensors of shape (height * width, channels)
            The maps of the empty image in front of the stage, and behind it.
        """
        ...


def live_steps(stages: Sequence[Stage], pixels: np.ndarray) -> dict[int, LiveStep]:
    """Follow drawn pixels, given by number, as far as that pays; return each step by the number of its value."""
    at, steps = {0: pixels}, {}
    for number, stage in enumerate(stages, 1):
        known = at.get(stage.inputs[0]) if len(stage.inputs) == 1 else None
        step = None if known is None else _step(stage, known)
        if step is not None:
            at[number], steps[number] = step.at, step
    return steps


def whole_map(x: Any, constant: Any, at: np.ndarray, shape: tuple[int, int]) -> Any:
    """Lay live cells into the empty image's map: (n_rows, height, width, channels)."""
    n_cells = shape[0] * shape[1]
    fill = np.setdiff1d(np.arange(n_cells), at)
    order = np.argsort(np.concatenate([at, fill]))
    cells = ops.take(_with_constant(x, constant, fill), order.astype(np.int32), axis=0)
    return ops.reshape(ops.transpose(cells, (1, 0, 2)), (-1, *shape, constant.shape[-1]))


def _step(stage: Stage, at: np.ndarray) -> LiveStep | None:
    if isinstance(stage, Convolution):
        return LiveConvolution.of(stage, at)
    return LiveBend.of(stage, at) if isinstance(stage, Bend) else None


@dataclass(frozen=True, eq=False)
class LiveConvolution:
    """A convolution of live cells; outputs that read equally many of them are computed together.

    Attributes
    ----------
    known : ndarray of int
        The live cells in front of it.
    groups : list of (ndarray, ndarray)
        For each group, (n_outputs, n_read): which live cells an output reads, and by which cell of the kernel.
    """

    layer: Any
    known: np.ndarray
    at: np.ndarray
    groups: list[tuple[np.ndarray, np.ndarray]]

    @property
    def products(self) -> int:
        """Count the multiplications for a row."""
        return sum(read.size for read, _ in self.groups) * math.prod(self.layer.kernel.shape[2:])

    @classmethod
    def of(cls, stage: Convolution, at: np.ndarray) -> LiveConvolution | None:
        """Plan; None where the whole convolution is about as quick, or of another kind."""
        if not stage.is_plain or stage.layer.compute_dtype != "float32":
            return None
        reads = _read(stage.slidings)
        place = _places(at, stage.slidings)
        found = np.where(reads >= 0, place[reads], -1)
        n_read = (found >= 0).sum(axis=1)
        kernel = stage.layer.kernel.shape
        if n_read.sum() > min(WORTH_IT * found.size, MOST_OF_KERNELS / (kernel[2] * kernel[3])):
            return None
        groups, order = [], []
        for n in range(1, found.shape[1] + 1):
            outputs = np.flatnonzero(n_read == n)
            if len(outputs):
                taps = np.argsort(found[outputs] < 0, axis=1, kind="stable")[:, :n]
                groups.append((np.take_along_axis(found[outputs], taps, 1), taps))
                order.append(outputs)
        return cls(stage.layer, at, np.concatenate(order), groups) if order else None

    def run(self, x: Any, before: Any, behind: Any) -> Any:
        """See `LiveStep.run`; linear, so the empty image's sums change by those of the differences."""
        n_in, n_out = before.shape[-1], behind.shape[-1]
        kernel = ops.reshape(ops.cast(self.layer.kernel, "float32"), (-1, n_in * n_out))
        x, sums = x - _take(before, self.known)[:, None], []
        for read, taps in self.groups:
            n_outputs, n_read = read.shape
            cells = ops.reshape(_take(x, read.reshape(-1)), (n_outputs, n_read, -1, n_in))
            cells = ops.reshape(ops.transpose(cells, (0, 2, 1, 3)), (n_outputs, -1, n_read * n_in))
            of_each = ops.reshape(_take(kernel, taps.reshape(-1)), (n_outputs, n_read * n_in, n_out))
            sums.append(ops.matmul(cells, of_each) if n_read * n_in > 1 else cells * of_each)
        return ops.concatenate(sums) + _take(behind, self.at)[:, None]


@dataclass(frozen=True, eq=False)
class LiveBend:
    """Activations and pooling of live cells, and of those that are pooled with them.

    Attributes
    ----------
    fill : ndarray of int
        Cells in front of the pooling that are not live, but pooled with others that are.
    pooled : ndarray of shape (n_live, n_pooled) or None
        Which cells each output is the maximum of, by their place among live ones and `fill`.
    """

    stage: Bend
    at: np.ndarray
    fill: np.ndarray
    pooled: np.ndarray | None

    @classmethod
    def of(cls, stage: Bend, at: np.ndarray) -> LiveBend | None:
        """Plan; None where no live cell is pooled."""
        if stage.slidings is None:
            return cls(stage, at, np.zeros(0, int), None)
        reads, place = _read(stage.slidings, nearest=True), _places(at, stage.slidings)
        out = np.flatnonzero((place[reads] >= 0).any(axis=1))
        reads = reads[out]
        fill = np.unique(reads[place[reads] < 0])
        place[fill] = len(at) + np.arange(len(fill))
        return cls(stage, out, fill, place[reads]) if len(out) else None

    def run(self, x: Any, before: Any, behind: Any) -> Any:
        """See `LiveStep.run`."""
        pooled = self.pooled
        cells = _with_constant(x, before, self.fill)[:, :, None]  # (cells, rows, 1, channels)
        if pooled is None:
            return self.stage.through(cells, None)[:, :, 0]
        pool = lambda z: functools.reduce(ops.maximum, [_take(z, of_each) for of_each in pooled.T])  # noqa: E731
        return self.stage.through(cells, pool)[:, :, 0]


def _with_constant(x: Any, constant: Any, fill: np.ndarray) -> Any:
    """Append some cells of the empty image to the live ones, the same in all rows."""
    if not len(fill):
        return x
    alike = ops.broadcast_to(_take(constant, fill)[:, None], (len(fill), ops.shape(x)[1], x.shape[2]))
    return ops.concatenate([x, ops.cast(alike, x.dtype)])


def _read(slidings: tuple[Sliding, Sliding], *, nearest: bool = False) -> np.ndarray:
    """Return which cells each output reads, (n_outputs, n_kernel); outside of the map -1, or the nearest that exist."""
    of_axes = []
    for sliding in slidings:
        start = np.arange(sliding.n_out)[:, None] * sliding.stride - sliding.before
        at = start + sliding.dilation * np.arange(sliding.kernel)
        inside = np.clip(at, 0, sliding.n_in - 1)
        of_axes.append(inside if nearest else np.where(at == inside, at, -1))
    down, across = of_axes
    cells = down[:, None, :, None] * slidings[1].n_in + across[None, :, None, :]
    cells = np.where((down[:, None, :, None] < 0) | (across[None, :, None, :] < 0), -1, cells)
    return cells.reshape(slidings[0].n_out * slidings[1].n_out, -1)


def _places(at: np.ndarray, slidings: tuple[Sliding, Sliding]) -> np.ndarray:
    """Return the place of each cell of a map among the live ones, -1 of those that are not."""
    place = np.full(slidings[0].n_in * slidings[1].n_in, -1)
    place[at] = np.arange(len(at))
    return place


def _take(tensor: Any, at: np.ndarray) -> Any:
    return ops.take(tensor, at.astype(np.int32), axis=0)
