"""How a branch walks: what is kept between the steps of a batch, and what a step does to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from permgrad.backend import compiled, fused, keras
from permgrad.importance.game._stocks import Stock, SummedStock, WholeStock
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network.branches import Branch, CutModel, largest_tensor
from permgrad.importance.network.first_layer import FirstLayer
from permgrad.importance.network.fusion_point import FusionPoint
from permgrad.importance.permuting._ways import next_size

ops = keras.ops

SHORT = 128
"""Steps up to which a product with ones is faster than TensorFlow's running sum."""


class Way:
    """How a branch walks: what is kept between steps, and what a step does to it."""

    widest: int
    models: list[Any]

    def __init__(self, cut: CutModel, branch: Branch, point: FusionPoint) -> None:
        self.at, self.branch, self.point = cut.branches.index(branch), branch, point

    def start(self, data: Inputs, rows: np.ndarray, donors: np.ndarray) -> tuple[Any, Any]:
        """Return what the first step starts from where nothing is seen, and the branch's contribution."""
        raise NotImplementedError

    def feature(self, data: Inputs, columns: np.ndarray) -> Any:
        """Return what a step of this feature needs of all rows and weights."""
        raise NotImplementedError

    def change(self, feature: Any, rows: np.ndarray, donors: np.ndarray) -> Any:
        """Return what the rows' own values of a feature change in a batch."""
        raise NotImplementedError

    def moves(self, change: Any) -> list[Any]:
        """Part a change into moves that are made one after the other."""
        return [change]

    def tensors(self, move: Any) -> Any:
        """Return what `step` takes of a move."""
        return move

    def part(self, kept: Any, move: Any) -> Any:
        """Return the part of what is kept that a move reads or replaces."""
        return kept

    def replaced(self, kept: Any, move: Any, part: Any) -> Any:
        """Return what is kept with that part replaced."""
        return part

    def step(self, part: Any, *given: Any) -> tuple[Any, Any]:
        """Return the new part, and the branch's contribution."""
        raise NotImplementedError

    def stock(self, data: Inputs, positions: Sequence[np.ndarray]) -> Stock:
        """Return what walks at once need of all rows and weights, given each feature's columns."""
        raise NotImplementedError

    def floats_of_stock(self, n_rows: int, positions: Sequence[np.ndarray]) -> int:
        """Count the numbers that a stock holds, before it is made."""
        raise NotImplementedError

    def floats_of_walk(self, n_steps: int) -> int:
        """Count the floats of the widest tensor of so many steps at once, for a pair."""
        return (n_steps + 1) * self.widest

    def stages(self, given: Sequence[Any], kept: Any, *, anew: bool) -> Any:
        """Return the branch's contribution where nothing is seen and after each step, flat; see `Stock`."""
        raise NotImplementedError


class Summed(Way):
    """A branch with a first Dense layer: a step adds one term to the layer's sums."""

    def __init__(self, cut: CutModel, branch: Branch, point: FusionPoint, first: FirstLayer, fuse: bool) -> None:
        super().__init__(cut, branch, point)
        self.first = first
        self.widest = max(first.width, 0 if first.after is None else largest_tensor(first.after))
        self.models = first.models
        self._add = fused(self._added) if fuse else self._added
        self._begin = compiled(self.begin, cut.model, *self.models)

    def start(self, data: Inputs, rows: np.ndarray, donors: np.ndarray) -> tuple[Any, Any]:
        """See `Way.start`."""
        return self._begin(data.of_branch(self.branch)[donors])

    def begin(self, donors: Any) -> tuple[Any, Any]:
        """Return the sums, and the branch's contribution."""
        sums = self.first.sums(donors)
        return sums, self.point.contribute(self.at, self.first.finish(self.first.activate(sums)))

    def feature(self, data: Inputs, columns: np.ndarray) -> Term:
        """Return what the layer sees of a feature in all rows, and its weights; padded to few different widths."""
        values, at = data.of_branch(self.branch).columns(columns), columns
        if not self.first.linear:
            values, at = self.first.embedded(columns, values), self.first.positions(columns)
        missing = next_size(len(at)) - len(at)
        kernel = np.asarray(ops.convert_to_numpy(self.first.kernel_rows(at.astype(np.int32))))
        if self.first.linear:
            kernel = kernel * self.first.scale[columns][:, None]
        kernel = ops.convert_to_tensor(np.pad(kernel, [(0, missing), (0, 0)]).astype(np.float32))
        return Term(np.pad(values, [(0, 0), (0, missing)]), kernel)

    def change(self, term: Term, rows: np.ndarray, donors: np.ndarray) -> list[Any]:
        """Return by how much the layer's inputs change, (n_pairs, n_inputs), and their weights."""
        return [ops.convert_to_tensor(term.values[rows] - term.values[donors]), term.kernel]

    def step(self, sums: Any, difference: Any, kernel: Any) -> tuple[Any, Any]:
        """Return the new sums, and the branch's contribution."""
        sums, activations = self._add(sums, ops.matmul(difference, kernel))
        return sums, self.point.contribute(self.at, self.first.finish(activations))

    def _added(self, sums: Any, moved: Any) -> tuple[Any, Any]:
        sums = sums + moved
        return sums, self.first.activate(sums)

    def stock(self, data: Inputs, positions: Sequence[np.ndarray]) -> Stock:
        """See `Way.stock`."""
        return SummedStock(data.of_branch(self.branch), [self.feature(data, columns) for columns in positions])

    def floats_of_stock(self, n_rows: int, positions: Sequence[np.ndarray]) -> int:
        """See `Way.floats_of_stock`."""
        width = max(map(len, positions)) * (1 if self.first.linear else self.first.size)
        return 2 * len(positions) * width * (n_rows + self.first.width)

    def stages(self, given: Sequence[Any], kept: Any, *, anew: bool) -> Any:
        """See `Way.stages`."""
        donors, change, order = given
        moved = ops.matmul(change, ops.take(kept, order, axis=0))
        stages = ops.reshape(self.first.sums(donors)[None] + _running(moved, anew), (-1, self.first.width))
        return self.point.contribute(self.at, self.first.finish(self.first.activate(stages)))


def _running(moved: Any, anew: bool) -> Any:
    """Return what was moved up to each time, (n_steps + 1, ...); with `anew`, in the step before it alone."""
    n, shape = moved.shape[0], moved.shape[1:]
    if not anew and n <= SHORT:
        before = np.tril(np.ones((n + 1, n), np.float32), -1)
        return ops.reshape(ops.matmul(before, ops.reshape(moved, (n, -1))), (n + 1, *shape))
    return ops.concatenate([ops.zeros((1, *shape)), moved if anew else ops.cumsum(moved, axis=0)])


@dataclass(frozen=True, eq=False)
class Term:
    """A feature's part in the sums of a first layer: its values, (n_rows, n_inputs), and its weights."""

    values: np.ndarray
    kernel: Any


class Whole(Way):
    """Any other branch: its input is changed, and the branch computed anew."""

    def __init__(self, cut: CutModel, branch: Branch, point: FusionPoint) -> None:
        super().__init__(cut, branch, point)
        self.shape = tuple(branch.encoder.inputs[0].shape[1:])
        self.widest = max(math.prod(self.shape), largest_tensor(branch.encoder))
        self.models = [branch.encoder]
        self._begin = compiled(self.begin, cut.model, *self.models)

    def start(self, data: Inputs, rows: np.ndarray, donors: np.ndarray) -> tuple[Any, Any]:
        """See `Way.start`."""
        inputs = data.of_branch(self.branch)
        return self._begin(inputs[donors], inputs[rows])

    def begin(self, donors: Any, rows: Any) -> tuple[Any, Any]:
        """Return the branch's input with the rows' own, and its contribution."""
        return (ops.convert_to_tensor(donors), ops.convert_to_tensor(rows)), self._contribution(donors)

    def feature(self, data: Inputs, columns: np.ndarray) -> Any:
        """Return where the feature is in the branch's input."""
        at = np.zeros(math.prod(self.shape), bool)
        at[columns] = True
        return ops.convert_to_tensor(at.reshape(1, *self.shape))

    def change(self, at: Any, rows: np.ndarray, donors: np.ndarray) -> list[Any]:
        """Return where the rows' own values come in."""
        return [at]

    def step(self, kept: Any, at: Any) -> tuple[Any, Any]:
        """Return the new input with the rows' own, and the branch's contribution."""
        seen, own = kept
        seen = ops.where(at, own, seen)
        return (seen, own), self._contribution(seen)

    def _contribution(self, seen: Any) -> Any:
        return self.point.contribute(self.at, self.branch.encoder(seen, training=False))

    def stock(self, data: Inputs, positions: Sequence[np.ndarray]) -> Stock:
        """See `Way.stock`."""
        places = ops.stack([self.feature(data, columns) for columns in positions])
        return WholeStock(data.of_branch(self.branch), places)

    def floats_of_stock(self, n_rows: int, positions: Sequence[np.ndarray]) -> int:
        """See `Way.floats_of_stock`."""
        return len(positions) * math.prod(self.shape) // 4

    def stages(self, given: Sequence[Any], kept: Any, *, anew: bool) -> Any:
        """See `Way.stages`."""
        donors, rows = ops.convert_to_tensor(given[0]), ops.convert_to_tensor(given[1])
        places = ops.take(kept, given[2], axis=0)
        seen = places if anew else ops.cumsum(ops.cast(places, "int32"), axis=0) > 0
        after = ops.where(seen, rows[None], donors[None])
        return self._contribution(ops.reshape(ops.concatenate([donors[None], after]), (-1, *self.shape)))
