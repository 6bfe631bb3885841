"""What follows the last map that windows are followed to, up to where branches meet.

Mostly the map is laid flat and goes into a Dense layer: its sums change by ``(new - old) @ kernel`` of the changed
cells alone. Where branches meet in a Dense layer, the branch has a share of the kernel, and the same holds. Of a global
mean, the mean changes. Anything else takes the whole map, with the changed cells in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from permgrad.backend import keras
from permgrad.importance.network.branches import Graph, largest_tensor
from permgrad.importance.network.first_layer import FirstLayer, behind
from permgrad.importance.network.fusion_point import FusionPoint
from permgrad.importance.network.windows.deltas import Delta, Where
from permgrad.importance.network.windows.reading import SAME
from permgrad.importance.network.windows.spans import Area
from permgrad.importance.network.windows.stages import COST_OF_A_FLOAT, multiplications
from permgrad.layers.batch_ensemble import EnsembleDense

ops = keras.ops
layers = keras.layers


class End(Protocol):
    """From the last map to the branch's code, or to its contribution where branches meet."""

    @property
    def contributes(self) -> bool:
        """Tell whether it leads to the contribution."""
        ...

    @property
    def needs_map(self) -> bool:
        """Tell whether it takes the map itself of all rows, besides what `start` makes of it."""
        ...

    @property
    def floats_per_row(self) -> int:
        """Count what `start` returns of a row."""
        ...

    @property
    def widest(self) -> int:
        """Count the floats of the largest tensor for one pair."""
        ...

    def start(self, x: Any) -> Any:
        """Return what is kept of each row, from its map."""
        ...

    def weights(self) -> list[Any]:
        """Return what `run` needs of the weights in another form."""
        ...

    def run(self, delta: Delta, where: Where, started: Any, x: Any, weights: list[Any]) -> Any:
        """Return each pair's code."""
        ...

    def work(self, area: Area) -> int:
        """Count multiplications for a pair."""
        ...


@dataclass(frozen=True, eq=False)
class Sums:
    """The map laid flat and multiplied by a kernel, (height * width * channels, units)."""

    kernel: Callable[[], Any]
    sums: Callable[[Any], Any]
    finish: Callable[[Any], Any]
    units: int
    n_channels: int
    contributes: bool
    work_after: int = 0
    widest_after: int = 0
    needs_map: bool = False

    @property
    def floats_per_row(self) -> int:
        """Count what `start` returns of a row."""
        return self.units

    @property
    def widest(self) -> int:
        """Count the floats of the largest tensor for one pair."""
        return max(self.units, self.widest_after)

    def start(self, x: Any) -> Any:
        """Return the sums."""
        return ops.cast(self.sums(x), "float32")

    def start_live(self, x: Any, empty: Any, started: Any, live: np.ndarray) -> Any:
        """Return the sums where few cells of the map differ from the empty image's.

        Parameters
        ----------
        x : tensor of shape (n_live, n_rows, channels)
        empty : tensor of shape (height * width, channels)
        started : tensor of shape (1, units)
            The empty image's sums.
        live : ndarray of int
            Which cells differ.
        """
        at = live.astype(np.int32)
        moved = ops.cast(x, "float32") - ops.cast(ops.take(empty, at, axis=0), "float32")[:, None]
        moved = ops.reshape(ops.transpose(moved, (1, 0, 2)), (-1, len(live) * self.n_channels))
        kernel = ops.take(self.weights()[0], at, axis=0)
        return started + ops.matmul(moved, ops.reshape(kernel, (-1, self.units)))

    def weights(self) -> list[Any]:
        """Return the kernel by cells, (height * width, channels * units)."""
        return [ops.reshape(ops.cast(self.kernel(), "float32"), (-1, self.n_channels * self.units))]

    def run(self, delta: Delta, where: Where, started: Any, x: Any, weights: list[Any]) -> Any:
        """Add what the changed cells add to the sums."""
        return self.finish(self.moved(delta, where, started, weights))

    def moved(self, delta: Delta, where: Where, started: Any, weights: list[Any]) -> Any:
        """Return the pairs' sums."""
        area = delta.area.inside()
        changed = ops.reshape(
            ops.cast(where.moved(delta, area), "float32"), (where.n_blocks, -1, area.n_cells * self.n_channels)
        )
        kernel = ops.take(weights[0], where.cells(area), axis=0)
        kernel = ops.reshape(kernel, (-1, area.n_cells * self.n_channels, self.units))
        moved = ops.reshape(ops.matmul(changed, kernel), (-1, self.units))
        return ops.take(started, where.local, axis=0) + moved

    def work(self, area: Area) -> int:
        """Count the cells' products."""
        return area.inside().n_cells * self.n_channels * self.units + self.work_after


@dataclass(frozen=True, eq=False)
class Mean:
    """The mean over the whole map, and a network behind it."""

    shape: tuple[int, int, int]
    rest: Any
    contributes: bool = False
    needs_map: bool = False

    @property
    def floats_per_row(self) -> int:
        """Count what `start` returns of a row."""
        return self.shape[2]

    @property
    def widest(self) -> int:
        """Count the floats of the largest tensor for one pair."""
        return max(self.shape[2], 0 if self.rest is None else largest_tensor(self.rest))

    def start(self, x: Any) -> Any:
        """Return the means."""
        return ops.mean(ops.cast(x, "float32"), axis=(1, 2))

    def weights(self) -> list[Any]:
        """Return nothing."""
        return []

    def run(self, delta: Delta, where: Where, started: Any, x: Any, weights: list[Any]) -> Any:
        """Add what the changed cells add to the mean."""
        cells = ops.cast(where.moved(delta, delta.area.inside()), "float32")
        mean = ops.take(started, where.local, axis=0) + ops.sum(cells, axis=1) / math.prod(self.shape[:2])
        mean = ops.cast(mean, delta.cells.dtype)
        return mean if self.rest is None else self.rest(mean, training=False)

    def work(self, area: Area) -> int:
        """Count what is behind the mean."""
        return work_of(self.rest)


@dataclass(frozen=True, eq=False)
class WholeMap:
    """A network that takes the whole map."""

    shape: tuple[int, int, int]
    rest: Any
    contributes: bool = False
    needs_map: bool = True
    floats_per_row: int = 0

    @property
    def widest(self) -> int:
        """Count the floats of the largest tensor for one pair."""
        return max(math.prod(self.shape), 0 if self.rest is None else largest_tensor(self.rest))

    def start(self, x: Any) -> Any:
        """Keep nothing but the map."""
        return ops.zeros((ops.shape(x)[0], 0))

    def weights(self) -> list[Any]:
        """Return nothing."""
        return []

    def run(self, delta: Delta, where: Where, started: Any, x: Any, weights: list[Any]) -> Any:
        """Change the cells in the map."""
        whole = delta.area.whole()
        changed = where.kept(x, whole) + ops.cast(where.moved(delta, whole), x.cells.dtype)
        changed = ops.reshape(changed, (-1, *self.shape))
        return changed if self.rest is None else self.rest(changed, training=False)

    def work(self, area: Area) -> int:
        """Count the network's multiplications, and the map."""
        return work_of(self.rest) + 3 * COST_OF_A_FLOAT * math.prod(self.shape)


def read_end(graph: Graph, tensor: Any, code: Any, point: FusionPoint, position: int) -> End:
    """Find what follows a map."""
    takers = graph.takers(tensor)
    shape = tuple(tensor.shape[1:])
    if tensor is not code and len(takers) == 1:
        layer, output = takers[0].operation, takers[0].outputs[0]
        last = getattr(layer, "data_format", None) == "channels_last"
        sums = _sums(graph, tensor, output, code, point, position) if type(layer) is layers.Flatten and last else None
        if sums is not None:
            return sums
        if type(layer) is layers.GlobalAveragePooling2D and last and not layer.keepdims:
            return Mean(shape, _between(output, code))
    return WholeMap(shape, _between(tensor, code))


def _sums(graph: Graph, tensor: Any, flat: Any, code: Any, point: FusionPoint, position: int) -> Sums | None:
    """Return the Dense layer behind a map that is laid flat, or the branch's share of one; None without."""
    n_channels = tensor.shape[-1]
    while flat is not code:
        takers = graph.takers(flat)
        if len(takers) != 1:
            return None
        if type(takers[0].operation) not in SAME:
            break
        flat = takers[0].outputs[0]
    if flat is code:
        return None if point.kernel is None else _share(point, position, n_channels)
    layer = takers[0].operation
    plain = type(layer) is layers.Dense and layer.quantization_mode is None and not layer.lora_enabled
    if not plain and type(layer) is not EnsembleDense:
        return None
    first: FirstLayer = behind(graph, layer, keras.Model(tensor, flat), takers[0].outputs[0], code, [])
    n_inputs = flat.shape[-1]
    return Sums(
        lambda: first.kernel_rows(ops.arange(n_inputs)),
        first.sums,
        lambda sums: first.finish(first.activate(sums)),
        first.width,
        n_channels,
        contributes=False,
        work_after=work_of(first.after),
        widest_after=0 if first.after is None else largest_tensor(first.after),
    )


def _share(point: FusionPoint, position: int, n_channels: int) -> Sums:
    kernel = point.kernel
    assert kernel is not None  # noqa: S101 - for mypy: the caller has seen to it
    return Sums(
        lambda: kernel(position),
        lambda x: point.contribute(position, ops.reshape(x, (ops.shape(x)[0], -1))),
        lambda sums: ops.cast(sums, kernel(position).dtype),
        point.shape(position)[0],
        n_channels,
        contributes=True,
    )


def _between(start: Any, end: Any) -> Any:
    return None if start is end else keras.Model(start, end)


def work_of(model: Any) -> int:
    """Count a model's multiplications for one row, and floats written down in their measure."""
    if model is None:
        return 0
    total = 0
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.Model) or not getattr(layer, "_inbound_nodes", None):
            continue
        shape = layer.output.shape[1:] if len(layer._inbound_nodes) == 1 else ()
        cells = math.prod(shape[:-1]) if len(shape) == 3 else 1
        total += cells * multiplications(layer) + COST_OF_A_FLOAT * math.prod(d or 1 for d in shape)
    return total
