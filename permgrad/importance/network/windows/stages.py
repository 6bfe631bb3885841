"""The layers of an image branch that a window can be followed through: what each does to a whole map, and to a window.

A stage plans a step for a given size of the change; the step takes what changed in front of the layer to what changes
behind it. Linear layers need nothing but the change. What bends (activations, maximum pooling) needs the map as it was:
in front, to bend anew, and behind, to know by how much that differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from permgrad.backend import fused, keras, pool_maximum
from permgrad.importance.network.windows import multiplying
from permgrad.importance.network.windows.deltas import Delta, Kept, Where
from permgrad.importance.network.windows.spans import Area, Sliding

ops = keras.ops

COST_OF_A_FLOAT = 8
"""A float that a step writes down takes as long as so many multiplications of a product of matrices."""
MOST_IN_A_MATRIX = 2**22
"""Floats of a matrix that takes windows to windows."""


@dataclass(frozen=True, eq=False)
class Step:
    """A layer at work on windows of one size.

    Attributes
    ----------
    area : Area
        What of the layer's output changes.
    channels : int
    run : callable
        (changes of the layer's inputs, where, kept maps by number, weights) → `Delta`.
    products, floats : int
        Multiplications for one pair, and floats that are written down.
    widest : int
        Floats of the largest tensor, for one pair.
    weights : callable
        Returns what `run` needs of the weights in another form, the same for all pairs.
    reads : dict of int to Area
        What it reads of kept maps, by their numbers.
    """

    area: Area
    channels: int
    run: Callable[[list[Delta], Where, dict[int, Kept], list[Any]], Delta]
    products: int
    floats: int
    widest: int
    weights: Callable[[], list[Any]] = list
    reads: dict[int, Area] = field(default_factory=dict)

    @property
    def work(self) -> int:
        """Count the multiplications, and the floats in their measure."""
        return self.products + COST_OF_A_FLOAT * self.floats


class Stage(Protocol):
    """One understood layer, or several in a row.

    Attributes
    ----------
    inputs : tuple of int
        Numbers of the values that go in: 0 is the image, i + 1 the output of stage i.
    """

    inputs: tuple[int, ...]

    def whole(self, *maps: Any) -> Any:
        """Compute the layer's output."""
        ...

    def step(self, areas: Sequence[Area], channels: Sequence[int]) -> Step:
        """Plan what becomes of changes in these areas of its inputs."""
        ...


@dataclass(eq=False)
class Convolution:
    """A convolution up to its activation; of every kind that Keras has on two axes."""

    layer: Any
    inputs: tuple[int, ...]
    slidings: tuple[Sliding, Sliding]

    def whole(self, x: Any) -> Any:
        """Convolve maps."""
        z = self._convolve(ops.cast(x, self.layer.compute_dtype), self.layer.padding)
        return z + ops.cast(self.layer.bias, z.dtype) if self.layer.use_bias else z

    def step(self, areas: Sequence[Area], channels: Sequence[int]) -> Step:
        """Choose the way that takes the fewest operations."""
        ways = [self._by_sliding, self._by_matrix, self._at_points]
        steps = [step for step in (way(areas[0], channels[0]) for way in ways) if step is not None]
        return min(steps, key=lambda step: step.work)

    @property
    def n_filters(self) -> int:
        """Count the channels that come out."""
        return int(self.layer.output.shape[-1])

    def _convolve(self, x: Any, padding: str) -> Any:
        layer, dtype = self.layer, self.layer.compute_dtype
        how = {"strides": layer.strides, "padding": padding, "dilation_rate": layer.dilation_rate}
        if isinstance(layer, keras.layers.SeparableConv2D):
            kernels = ops.cast(layer.depthwise_kernel, dtype), ops.cast(layer.pointwise_kernel, dtype)
            return ops.separable_conv(x, *kernels, **how, data_format="channels_last")
        one_by_one = isinstance(layer, keras.layers.DepthwiseConv2D)
        convolve = ops.depthwise_conv if one_by_one else ops.conv
        return convolve(x, ops.cast(layer.kernel, dtype), **how, data_format="channels_last")

    def _by_sliding(self, area: Area, n_in: int) -> Step:
        """Cut out what the changed outputs read, and convolve that."""
        out = area.reached(self.slidings).inside()
        region = out.read_by(self.slidings)

        def run(deltas: list[Delta], where: Where, kept: dict[int, Kept], weights: list[Any]) -> Delta:
            x = ops.reshape(where.moved(deltas[0], region), (-1, *region.size, n_in))
            z = self._convolve(ops.cast(x, self.layer.compute_dtype), "valid")
            return Delta(ops.reshape(z, (-1, out.n_cells, self.n_filters)), out)

        read, written = region.n_cells * n_in, out.n_cells * self.n_filters
        products = out.n_cells * multiplications(self.layer)
        return Step(out, self.n_filters, run, products, 2 * read + written, max(read, written))

    def _by_matrix(self, area: Area, n_in: int) -> Step | None:
        """Multiply the window by the matrix that the kernel is when it slides over it."""
        reads, out = area.aligned(self.slidings), area.reached(self.slidings)
        size = reads.n_cells * n_in * (out.n_cells + 1) * self.n_filters
        if not self.is_plain or size > MOST_IN_A_MATRIX:
            return None

        def run(deltas: list[Delta], where: Where, kept: dict[int, Kept], weights: list[Any]) -> Delta:
            x = ops.reshape(where.moved(deltas[0], reads), (-1, reads.n_cells * n_in))
            x, matrix = ops.cast(x, self.layer.compute_dtype), weights[0]
            z = ops.matmul(x, matrix) if x.shape[1] > 1 else x * matrix  # one number: twice as quick
            return Delta(ops.reshape(z, (-1, out.n_cells + 1, self.n_filters)), out, padded=True)

        read, written = reads.n_cells * n_in, (out.n_cells + 1) * self.n_filters
        return Step(
            out, self.n_filters, run, size, read + written, max(read, written), lambda: [self._matrix(reads, out, n_in)]
        )

    def _matrix(self, reads: Area, out: Area, n_in: int) -> Any:
        tap = [
            multiplying.taps(r, o, s.kernel, s.stride, s.dilation)
            for r, o, s in zip(reads.size, out.size, self.slidings, strict=True)
        ]
        kernel = ops.pad(ops.cast(self.layer.kernel, self.layer.compute_dtype), [(0, 1), (0, 1), (0, 0), (0, 0)])
        kernel = ops.reshape(kernel, (-1, n_in, self.n_filters))  # the last cell of both axes is 0
        at = tap[0][:, None, :, None] * (self.slidings[1].kernel + 1) + tap[1][None, :, None, :]
        at = at.reshape(reads.n_cells, out.n_cells).astype(np.int32)
        matrix = ops.transpose(ops.take(kernel, at, axis=0), (0, 2, 1, 3))  # (cells, n_in, cells, n_filters)
        matrix = ops.pad(matrix, [(0, 0), (0, 0), (0, 1), (0, 0)])
        return ops.reshape(matrix, (reads.n_cells * n_in, -1))

    def _at_points(self, area: Area, n_in: int) -> Step | None:
        """Multiply values at points, see `multiplying`."""
        out = area.reached(self.slidings)
        steps = {(s.stride, s.dilation) for s in self.slidings}
        if not self.is_plain or steps != {(1, 1)} or max(out.size) > multiplying.MOST or min(area.size) == 1:
            return None
        if self.layer.compute_dtype != "float32":
            return None
        down, across = out.size
        values = multiplying.on_both_axes(
            multiplying.evaluation(area.rows.size, down), multiplying.evaluation(area.cols.size, across)
        )
        sums = multiplying.on_both_axes(multiplying.interpolation(down), multiplying.interpolation(across))
        sums = np.vstack([sums, np.zeros_like(sums[:1])])  # a cell that is 0

        def run(deltas: list[Delta], where: Where, kept: dict[int, Kept], weights: list[Any]) -> Delta:
            x = ops.transpose(where.moved(deltas[0], area), (1, 0, 2))
            x = ops.matmul(values.astype(np.float32), ops.reshape(x, (area.n_cells, -1)))
            z = ops.matmul(ops.reshape(x, (out.n_cells, -1, n_in)), weights[0])  # (points, n_pairs, n_filters)
            z = ops.matmul(sums.astype(np.float32), ops.reshape(z, (out.n_cells, -1)))
            return Delta(ops.reshape(z, (out.n_cells + 1, -1, self.n_filters)), out, by_cell=True, padded=True)

        small = 2 * (values.size * n_in + sums.size * self.n_filters)  # such products are half as quick
        floats = area.n_cells * n_in + out.n_cells * n_in + 2 * out.n_cells * self.n_filters
        products = out.n_cells * n_in * self.n_filters + small
        widest = (out.n_cells + 1) * max(n_in, self.n_filters)
        return Step(out, self.n_filters, run, products, floats, widest, lambda: [self._kernel_at_points(out, n_in)])

    def _kernel_at_points(self, out: Area, n_in: int) -> Any:
        by_axis = [multiplying.evaluation(s.kernel, n) for s, n in zip(self.slidings, out.size, strict=True)]
        values = multiplying.on_both_axes(*by_axis).astype(np.float32)
        kernel = ops.flip(ops.cast(self.layer.kernel, "float32"), axis=(0, 1))
        return ops.reshape(ops.matmul(values, ops.reshape(kernel, (values.shape[1], -1))), (-1, n_in, self.n_filters))

    @property
    def is_plain(self) -> bool:
        """Tell whether it is a convolution of all channels by one kernel."""
        return type(self.layer) is keras.layers.Conv2D and self.layer.groups == 1


@dataclass(eq=False)
class MeanPooling:
    """Average pooling: each output is the mean of those cells under it that exist."""

    layer: Any
    inputs: tuple[int, ...]
    slidings: tuple[Sliding, Sliding]

    def whole(self, x: Any) -> Any:
        """Pool maps."""
        return self.layer(x)

    def step(self, areas: Sequence[Area], channels: Sequence[int]) -> Step:
        """Sum the changed cells under each output."""
        out = areas[0].reached(self.slidings).inside()
        region = out.read_by(self.slidings)
        counts = [_cells_under(sliding) for sliding in self.slidings]
        kernels = tuple(sliding.kernel for sliding in self.slidings)

        def run(deltas: list[Delta], where: Where, kept: dict[int, Kept], weights: list[Any]) -> Delta:
            x = ops.reshape(where.moved(deltas[0], region), (-1, *region.size, channels[0]))
            mean = ops.average_pool(x, kernels, tuple(self.layer.strides), "valid", "channels_last")
            share = where.of_cells(np.outer(*counts).reshape(-1) / math.prod(kernels), out)
            cells = ops.reshape(mean, (-1, out.n_cells, channels[0]))
            return Delta(cells / ops.cast(share[:, :, None], cells.dtype), out)

        floats = region.n_cells * channels[0]
        return Step(out, channels[0], run, 0, 3 * floats, floats)


def _cells_under(sliding: Sliding) -> np.ndarray:
    """Count the cells that exist under each output of one axis."""
    first = np.arange(sliding.n_out) * sliding.stride - sliding.before
    return np.minimum(first + sliding.kernel, sliding.n_in) - np.maximum(first, 0)


@dataclass(eq=False)
class Bend:
    """Layers that act on each cell alone, with at most one maximum pooling among them.

    Attributes
    ----------
    inputs : tuple of int
    before, after : list of callable
        Layers and activations in front of the pooling, and behind it.
    pooling : keras.layers.MaxPooling2D, optional
    slidings : tuple of Sliding, optional
        The pooling's.
    number : int
        Of its output among the values.
    fuse : bool
        Whether it is compiled to one pass over memory, see `fused`: four times as quick, once compiled.
    """

    inputs: tuple[int, ...]
    before: list[Callable[[Any], Any]] = field(default_factory=list)
    pooling: Any = None
    slidings: tuple[Sliding, Sliding] | None = None
    after: list[Callable[[Any], Any]] = field(default_factory=list)
    number: int = 0
    fuse: bool = False

    def whole(self, x: Any) -> Any:
        """Go through all the layers."""
        return self.through(x, self.pooling)

    def step(self, areas: Sequence[Area], channels: Sequence[int]) -> Step:
        """Go through the layers anew, from the changed cells and the others that are pooled with them."""
        out = areas[0].inside()
        out = region = out if self.slidings is None else out.reached(self.slidings).inside()
        pool: Callable[[Any], Any] | None = None
        if self.slidings is not None:
            region, sizes = out.read_by(self.slidings), [sliding.kernel for sliding in self.slidings]
            pool = lambda x: pool_maximum(x, sizes, self.pooling.strides, fuse=self.fuse)  # noqa: E731

        def changed(before: Any, old: Any, delta: Any, *at: Any) -> Any:
            z, old, delta = (ops.take(cells, i, axis=0) for cells, i in zip((before, old, delta), at, strict=True))
            new = self.through(ops.reshape(z + ops.cast(delta, z.dtype), (-1, *region.size, channels[0])), pool)
            return ops.reshape(new, (-1, out.n_cells, channels[0])) - old

        of_pairs = fused(changed) if self.fuse else changed

        def run(deltas: list[Delta], where: Where, kept: dict[int, Kept], weights: list[Any]) -> Delta:
            # Where cells are is computed before: what is fused would do it for each channel anew.
            delta, at = where.in_delta(deltas[0], region, border="nearest")
            before, behind = kept[self.inputs[0]], kept[self.number]
            at = (where.in_kept(before, region), where.in_kept(behind, out), at)
            return Delta(of_pairs(before.cells, behind.cells, delta, *at), out)

        n_passes = 3 + len(self.before)
        floats = channels[0] * (n_passes * region.n_cells + 2 * out.n_cells)
        reads = {self.inputs[0]: region, self.number: out}
        return Step(out, channels[0], run, 0, floats, region.n_cells * channels[0], reads=reads)

    def through(self, x: Any, pool: Callable[[Any], Any] | None) -> Any:
        """Go through the layers, with `pool` for the pooling."""
        for layer in self.before:
            x = layer(x)
        x = x if pool is None else pool(x)
        for layer in self.after:
            x = layer(x)
        return x


@dataclass(eq=False)
class Meeting:
    """Maps that are added, or laid behind each other."""

    layer: Any
    inputs: tuple[int, ...]

    def whole(self, *maps: Any) -> Any:
        """Add or concatenate maps."""
        return self.layer(list(maps))

    def step(self, areas: Sequence[Area], channels: Sequence[int]) -> Step:
        """Bring the changes to one rectangle that holds all."""
        out = areas[0]
        for area in areas[1:]:
            out = out.joined(area)
        out = out.inside()
        adds = isinstance(self.layer, keras.layers.Add)
        n_channels = channels[0] if adds else sum(channels)

        def run(deltas: list[Delta], where: Where, kept: dict[int, Kept], weights: list[Any]) -> Delta:
            moved = [ops.cast(where.moved(delta, out), self.layer.compute_dtype) for delta in deltas]
            return Delta(sum(moved[1:], start=moved[0]) if adds else ops.concatenate(moved, axis=-1), out)

        floats = out.n_cells * sum(channels)
        return Step(out, n_channels, run, 0, 2 * floats, floats)


def multiplications(layer: Any) -> int:
    """Count those of a layer's kernel for one cell of its output, all channels; 0 for a layer without a kernel."""
    if isinstance(layer, keras.layers.SeparableConv2D):
        return math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape)
    return math.prod(getattr(layer, "kernel", np.zeros(0)).shape)
