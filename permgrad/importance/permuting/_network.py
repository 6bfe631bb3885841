"""The network as permutations see it: what they cannot change is computed once, the rest for changed rows alone.

The unit of work is a *pair*: one row under one permutation. A call of the network takes many pairs, of
whatever permutations. A pair that the permutation leaves as it is (the column holds the same value) needs
no work at all. Each branch has its way:

- not permuted: what it contributes where branches meet is computed once per row, and gathered;
- permuted, a first Dense layer in front, maybe behind layers that bend or embed each column (`FirstLayer`): the layer's
  sums are computed once per row, and changed by the permuted columns alone;
- permuted, anything else: the whole branch is computed for the pair.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from permgrad.backend import compiled, fused, has_accelerator, keras
from permgrad.importance.network._inputs import Inputs, joined
from permgrad.importance.network._target import select
from permgrad.importance.network.branches import Branch, CutModel, largest_tensor
from permgrad.importance.network.first_layer import FirstLayer, first_layer
from permgrad.importance.network.fusion_point import FusionPoint, fusion_point
from permgrad.importance.permuting._pairs import Change, Pairs
from permgrad.metrics.task import Task

ops = keras.ops

CALL_FLOATS = 2**22
"""Floats of the widest tensor in one call on a CPU: what a step leaves should be in the cache for the next."""
WIDE_CALL = (4096, 2**25)
"""But as many pairs as this, up to so many floats: wide layers' weights are rearranged in every call."""
ACCELERATOR_FLOATS = 2**27
COLUMNS_PER_CALL = 64
"""Columns that the features of one call have together, where features have several; or one feature has more."""
NARROW = 512
"""Units up to which it pays to have all of a network's steps fused: their time goes into memory, not into products."""
TENSORS_AT_A_TIME = 4
"""How many tensors of the widest size a call is taken to hold at once: operand, result, a compiler's copies."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """What `PermutedNetwork.prepare` computed, for the rows from `start` on."""

    tensors: list[Any]
    start: int


class PermutedNetwork:
    """A cut model with some of its branches permuted; it holds no data.

    Parameters
    ----------
    cut : CutModel
    permuted : sequence of Branch
    task : Task
        What its output means.
    fuse : bool
        Compile element-wise steps to one pass over memory, see `fused`. TensorFlow keeps what is compiled so for as
        long as the process lives.
    """

    def __init__(self, cut: CutModel, permuted: Sequence[Branch], task: Task, *, fuse: bool) -> None:
        self.fusion_point, self.task = fusion_point(cut), task
        self.ways = [
            _way(branch, fuse) if branch in permuted else Unpermuted(self.fusion_point, i, branch)
            for i, branch in enumerate(cut.branches)
        ]
        self.floats_per_row = sum(way.floats_per_row for way in self.ways)
        """Floats that are computed beforehand for each row."""
        self.widest = max(self.fusion_point.widest, *(way.widest for way in self.ways))
        models = [cut.model, *(model for way in self.ways for model in way.models)]
        narrow = self.widest <= NARROW and not any(isinstance(way, Recomputed) for way in self.ways)
        self._predict = compiled(self._selected, *models, fuse=fuse and narrow)

    def pairs_per_call(self, max_memory: int) -> int:
        """Return how many pairs to take in one call."""
        allowed = max_memory // (2 * TENSORS_AT_A_TIME * 4)
        if has_accelerator():
            return max(1, min(ACCELERATOR_FLOATS, allowed) // self.widest)
        pairs, floats = WIDE_CALL
        wide = min(pairs, floats // self.widest)
        return max(1, min(max(CALL_FLOATS // self.widest, wide), allowed // self.widest))

    def calls(self, pairs: Pairs, size: int, changes: list[Any]) -> Iterator[slice]:
        """Part the pairs into calls of at most `size`, fewer where features have several columns.

        Their changes are a matrix of pairs × columns of the call's features: it stays narrow, and no larger than the
        network's widest tensor.
        """
        widths = np.max([[len(columns) for columns in change.columns] for change in changes if change], axis=0)
        if widths.max() == 1:
            yield from (slice(i, min(i + size, len(pairs))) for i in range(0, len(pairs), size))
            return
        start, stop, columns = 0, 0, 0
        for feature, of_feature in pairs.by_feature():
            width = int(widths[feature])
            most = max(1, min(size, size * self.widest // next_size(width)))
            if columns + width > COLUMNS_PER_CALL or of_feature.stop - start > most:
                if stop > start:
                    yield slice(start, stop)
                start, columns = of_feature.start, 0
                while of_feature.stop - start > most:
                    yield slice(start, start + most)
                    start += most
            stop, columns = of_feature.stop, columns + width
        if stop > start:
            yield slice(start, stop)

    def prepare(self, data: Inputs, rows: slice) -> Prepared:
        """Compute what permutations do not change, for a block of rows: a tensor for each branch."""
        return Prepared([way.prepare(data, rows) for way in self.ways], rows.start)

    def size(self, branch: Branch) -> int:
        """Return how many columns of a `Change` one column of this branch becomes; see `embedded`."""
        return next(way.size for way in self.ways if way.branch is branch)

    def embedded(self, changes: list[Any]) -> list[Any]:
        """Return these changes as each branch's way takes them: in what an embedding makes of the columns."""
        return [way.embedded(change) if change else None for way, change in zip(self.ways, changes, strict=True)]

    def weights_of(self, changes: list[Any]) -> list[list[Any]]:
        """Fetch what these changes need of the weights, for each branch."""
        return [way.weights_of(change) for way, change in zip(self.ways, changes, strict=True)]

    def predict(
        self, data: Inputs, pairs: Pairs, changes: list[Any], weights: list[Any], prepared: Prepared, truth: Any
    ) -> np.ndarray:
        """Return what `select` leaves of each pair's prediction."""
        parts = [way.arguments(data, pairs, change) for way, change in zip(self.ways, changes, strict=True)]
        local = _integers(pairs.rows - prepared.start)
        return np.asarray(ops.convert_to_numpy(self._predict(local, truth, prepared.tensors, weights, parts)))

    def _selected(self, local: Any, truth: Any, prepared: list[Any], weights: list[Any], parts: list[Any]) -> Any:
        contributions = []
        for i, (way, *given) in enumerate(zip(self.ways, prepared, weights, parts, strict=True)):
            code = way.code(local, *given)
            contributions.append(code if isinstance(way, Unpermuted) else self.fusion_point.contribute(i, code))
        return select(self.fusion_point.finish(contributions), truth, self.task)


class Unpermuted:
    """A branch that is not permuted: what it contributes is gathered by row."""

    size = 1

    def __init__(self, point: FusionPoint, position: int, branch: Branch) -> None:
        self.fusion_point, self.position, self.branch = point, position, branch
        self.floats_per_row = self.widest = math.prod(point.shape(position))
        self.models: list[Any] = []

    def prepare(self, data: Inputs, rows: slice) -> Any:
        """Return the contributions of a block of rows; codes may be far larger than contributions."""
        floats = max(largest_tensor(self.branch.encoder), math.prod(self.branch.code.shape[1:]))
        parts = data.parts(rows, floats)
        contributions = [self.fusion_point.contribute(self.position, data.encode(self.branch, part)) for part in parts]
        return joined(contributions)

    def embedded(self, change: Change) -> Change:
        """Return the change as it is."""
        return change

    def weights_of(self, change: Change | None) -> list[Any]:
        """Return nothing."""
        return []

    def arguments(self, data: Inputs, pairs: Pairs, change: Change | None) -> list[Any]:
        """Return nothing."""
        return []

    def code(self, local: Any, prepared: Any, weights: list[Any], part: list[Any]) -> Any:
        """Return the pairs' contributions."""
        return ops.take(prepared, local, axis=0)


class Updated:
    """A branch with a first Dense layer: its sums are changed by the permuted columns alone."""

    def __init__(self, branch: Branch, first: FirstLayer, fuse: bool) -> None:
        self.branch, self.first = branch, first
        self.size = 1 if first.linear else first.size
        self.floats_per_row = first.width
        self.widest = max(first.width, 0 if first.after is None else largest_tensor(first.after))
        self.models = first.models
        self._sums = compiled(first.sums, *first.models)
        several, one = self._change_several, self._change_one
        self._one, self._several = (fused(one), fused(several)) if fuse else (one, several)

    def prepare(self, data: Inputs, rows: slice) -> Any:
        """Return the layer's sums of a block of rows, from as many dense rows at a time as memory allows."""
        X = data.of_branch(self.branch)
        sums = [self._sums(X[part]) for part in data.parts(rows, 2 * X.width * self.first.size + self.first.width)]
        return joined(sums)

    def embedded(self, change: Change) -> Change:
        """Return the change of the layer's inputs, where they are no mere multiples of the columns."""
        if self.first.linear:
            return change
        values = self.first.embedded(np.concatenate(change.columns), change.values)
        return Change([self.first.positions(columns) for columns in change.columns], values)

    def weights_of(self, change: Change) -> list[Any]:
        """Return the weights of the permuted columns, scaled as the columns are: (n_columns or more, width)."""
        columns = np.concatenate(change.columns)
        columns = np.pad(columns, (0, next_size(len(columns)) - len(columns)), mode="edge")
        if not self.first.linear:
            return [self.first.kernel_rows(_integers(columns))]
        scale = ops.convert_to_tensor(self.first.scale[columns][:, None])
        return [self.first.kernel_rows(_integers(columns)) * scale]

    def arguments(self, data: Inputs, pairs: Pairs, change: Change) -> list[Any]:
        """Return by how much columns change, and which: for each pair a number, or a row if features have several."""
        values = change.values
        if values.shape[1] == len(change.columns):
            difference = values[pairs.taken, pairs.feature] - values[pairs.rows, pairs.feature]
            return [ops.convert_to_tensor(difference), _integers(pairs.feature)]
        low, high = change.ends[pairs.feature[0]], change.ends[pairs.feature[-1] + 1]
        width = next_size(high - low)
        low = max(0, min(low, next_size(values.shape[1]) - width))
        difference = np.zeros((len(pairs), width), np.float32)
        for feature, part in pairs.by_feature():
            columns = change.of_feature(feature)
            moved = values[pairs.taken[part], columns] - values[pairs.rows[part], columns]
            difference[part, columns.start - low : columns.stop - low] = moved
        return [ops.convert_to_tensor(difference), _integers(np.arange(low, low + width))]

    def code(self, local: Any, prepared: Any, weights: list[Any], part: list[Any]) -> Any:
        """Return the pairs' code."""
        change = self._one if len(part[0].shape) == 1 else self._several
        return self.first.finish(change(local, prepared, *weights, *part))

    def _change_one(self, local: Any, sums: Any, kernel: Any, difference: Any, column: Any) -> Any:
        moved = difference[:, None] * ops.take(kernel, column, axis=0)
        return self.first.activate(ops.take(sums, local, axis=0) + moved)

    def _change_several(self, local: Any, sums: Any, kernel: Any, difference: Any, columns: Any) -> Any:
        moved = ops.matmul(difference, ops.take(kernel, columns, axis=0))
        return self.first.activate(ops.take(sums, local, axis=0) + moved)


class Recomputed:
    """A branch that is computed as a whole for each pair."""

    size = 1

    def __init__(self, branch: Branch) -> None:
        self.branch = branch
        self.floats_per_row = 0
        self.widest = max(math.prod(branch.encoder.inputs[0].shape[1:]), largest_tensor(branch.encoder))
        self.models = [branch.encoder]

    def prepare(self, data: Inputs, rows: slice) -> list[Any]:
        """Return nothing."""
        return []

    def embedded(self, change: Change) -> Change:
        """Return the change as it is."""
        return change

    def weights_of(self, change: Change) -> list[Any]:
        """Return nothing."""
        return []

    def arguments(self, data: Inputs, pairs: Pairs, change: Change) -> list[Any]:
        """Return the permuted rows."""
        X = data.of_branch(self.branch)
        permuted = X[pairs.rows].reshape(len(pairs), -1)
        for feature, part in pairs.by_feature():
            permuted[part, change.columns[feature]] = change.values[pairs.taken[part], change.of_feature(feature)]
        return [ops.convert_to_tensor(permuted.reshape(-1, *X.shape[1:]))]

    def code(self, local: Any, prepared: Any, weights: list[Any], part: list[Any]) -> Any:
        """Return the pairs' code."""
        return self.branch.encoder(part[0], training=False)


def _way(branch: Branch, fuse: bool) -> Updated | Recomputed:
    first = first_layer(branch.encoder)
    return Recomputed(branch) if first is None else Updated(branch, first, fuse)


def _integers(numbers: np.ndarray) -> Any:
    return ops.convert_to_tensor(numbers.astype(np.int32))


def next_size(n: int) -> int:
    """Round up to a power of two: other sizes would be compiled anew."""
    return 1 << (int(n) - 1).bit_length()
