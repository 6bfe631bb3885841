"""Which cells of a map a change of a few pixels can reach: arithmetic of whole numbers, one axis at a time.

A change is a box of pixels of a fixed size; its *position* is the box's first row (on the other axis: column). A layer
that slides over the axis reads cells ``stride * o - before + dilation * j`` for its output o, j = 0 ... kernel - 1. So
a run of changed cells becomes a run of changed outputs. The run's size is the same for all positions, that one
compiled function may serve them all; where it begins is looked up in a table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sliding:
    """How a convolution or pooling slides over one axis.

    Attributes
    ----------
    kernel, stride, dilation : int
    before : int
        Cells of padding in front.
    n_in, n_out : int
        Length of the axis before and after.
    """

    kernel: int
    stride: int
    dilation: int
    before: int
    n_in: int
    n_out: int

    @classmethod
    def over(cls, n_in: int, kernel: int, stride: int, dilation: int, padding: str) -> Sliding:
        """Return what Keras does for ``padding`` "valid" or "same"."""
        extent = dilation * (kernel - 1) + 1
        if padding == "valid":
            return cls(kernel, stride, dilation, 0, n_in, (n_in - extent) // stride + 1)
        n_out = -(-n_in // stride)
        return cls(kernel, stride, dilation, max(0, (n_out - 1) * stride + extent - n_in) // 2, n_in, n_out)

    @property
    def extent(self) -> int:
        """Cells from the first to the last that one output reads."""
        return self.dilation * (self.kernel - 1) + 1


@dataclass(frozen=True, eq=False)
class Span:
    """A run of cells on one axis, for each position of the change.

    Attributes
    ----------
    starts : ndarray of shape (n_positions,), int
        Its first cell.
    size : int
        How many cells it has.
    """

    starts: np.ndarray
    size: int

    @classmethod
    def of_box(cls, n: int, size: int) -> Span:
        """Return the changed pixels themselves: a box of `size` anywhere on an axis of `n`."""
        return cls(np.arange(n - size + 1), size)

    def reached(self, sliding: Sliding) -> Span:
        """Return the outputs that read any of these cells; some may lie outside of the map."""
        first = self.starts + sliding.before - sliding.extent + 1
        size = (self.size - 1 + sliding.extent - 1) // sliding.stride + 1
        return Span(-(-first // sliding.stride), size)

    def read_by(self, sliding: Sliding) -> Span:
        """Return the cells that these, as outputs, read."""
        starts = sliding.stride * self.starts - sliding.before
        return Span(starts, sliding.stride * (self.size - 1) + sliding.extent)

    def aligned(self, sliding: Sliding) -> Span:
        """Widen the run until it stands at one distance from the outputs that it reaches, at all positions."""
        starts = sliding.stride * self.reached(sliding).starts - sliding.before + sliding.extent - sliding.stride
        return Span(starts, self.size + sliding.stride - 1)

    def inside(self, n: int) -> Span:
        """Return a run that holds the same cells as far as they exist, and lies within an axis of `n`."""
        starts, ends = np.clip(self.starts, 0, n - 1), np.clip(self.starts + self.size, 1, n)
        size = int((ends - starts).max())
        return Span(np.minimum(starts, n - size), size)

    def joined(self, other: Span) -> Span:
        """Return a run that holds both."""
        starts = np.minimum(self.starts, other.starts)
        ends = np.maximum(self.starts + self.size, other.starts + other.size)
        return Span(starts, int((ends - starts).max()))

    def lies_in(self, n: int) -> bool:
        """Tell whether all its cells exist, at all positions."""
        return bool(self.starts.min() >= 0 and self.starts.max() + self.size <= n)

    def same(self, other: Span) -> bool:
        """Tell whether both are the same cells at all positions."""
        return self.size == other.size and bool((self.starts == other.starts).all())


@dataclass(frozen=True, eq=False)
class Area:
    """A rectangle of a map, for each position of the change.

    Attributes
    ----------
    rows, cols : Span
    shape : (int, int)
        Height and width of the whole map.
    """

    rows: Span
    cols: Span
    shape: tuple[int, int]

    @property
    def n_cells(self) -> int:
        """Count its cells."""
        return self.rows.size * self.cols.size

    @property
    def size(self) -> tuple[int, int]:
        """Count its rows and columns."""
        return self.rows.size, self.cols.size

    @property
    def lies_inside(self) -> bool:
        """Tell whether all its cells exist, at all positions."""
        return self.rows.lies_in(self.shape[0]) and self.cols.lies_in(self.shape[1])

    @property
    def is_whole(self) -> bool:
        """Tell whether it is the whole map, at all positions."""
        return self.size == self.shape and self.lies_inside

    def inside(self) -> Area:
        """Return the part of it that exists."""
        return Area(self.rows.inside(self.shape[0]), self.cols.inside(self.shape[1]), self.shape)

    def whole(self) -> Area:
        """Return the whole map."""
        height, width = self.shape
        rows, cols = Span(np.zeros_like(self.rows.starts), height), Span(np.zeros_like(self.cols.starts), width)
        return Area(rows, cols, self.shape)

    def reached(self, slidings: tuple[Sliding, Sliding]) -> Area:
        """Return the outputs of a layer that read any of it."""
        down, across = slidings
        return Area(self.rows.reached(down), self.cols.reached(across), (down.n_out, across.n_out))

    def read_by(self, slidings: tuple[Sliding, Sliding]) -> Area:
        """Return the inputs of a layer that this, as its output, reads."""
        down, across = slidings
        return Area(self.rows.read_by(down), self.cols.read_by(across), (down.n_in, across.n_in))

    def aligned(self, slidings: tuple[Sliding, Sliding]) -> Area:
        """Widen it to stand at one distance from what it reaches."""
        down, across = slidings
        return Area(self.rows.aligned(down), self.cols.aligned(across), self.shape)

    def joined(self, other: Area) -> Area:
        """Return a rectangle that holds both."""
        return Area(self.rows.joined(other.rows), self.cols.joined(other.cols), self.shape)

    def same(self, other: Area) -> bool:
        """Tell whether both are the same cells at all positions."""
        return self.rows.same(other.rows) and self.cols.same(other.cols)
