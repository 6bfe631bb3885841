"""The ways of a branch in a permuted network: what is computed once for each row, and what for each pair."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from permgrad.backend import compiled, fused, keras
from permgrad.importance.network._inputs import Inputs, joined
from permgrad.importance.network.branches import Branch, largest_tensor
from permgrad.importance.network.first_layer import FirstLayer
from permgrad.importance.network.fusion_point import FusionPoint
from permgrad.importance.permuting._pairs import Change, Pairs

ops = keras.ops


class Way:
    """What a branch's pairs are computed from; this one computes nothing beforehand.

    Attributes
    ----------
    size : int
        How many columns of a `Change` one column of the table becomes, see `embedded`.
    floats_per_row, widest : int
        Floats that are computed beforehand for each row, and of the largest tensor for one pair.
    contributes : bool
        Whether `code` returns what the branch contributes where branches meet, rather than its code.
    models : list of keras.Model
        Whose weights are used.
    """

    size = 1
    floats_per_row = 0
    widest = 1
    contributes = False
    branch: Branch
    models: list[Any]

    def prepare(self, data: Inputs, rows: slice) -> Any:
        """Compute what permutations do not change, for a block of rows."""
        return []

    def embedded(self, change: Change) -> Change:
        """Return the change in what an embedding makes of the columns."""
        return change

    def weights_of(self, change: Any) -> Any:
        """Fetch what a change needs of the weights."""
        return []

    def of_call(self, weights: Any, pairs: Pairs, change: Any) -> Any:
        """Return which of those weights one call needs."""
        return weights

    def arguments(self, data: Inputs, pairs: Pairs, change: Any) -> list[Any]:
        """Return what the call's pairs change, as tensors."""
        return []

    def code(self, local: Any, prepared: Any, weights: list[Any], part: list[Any]) -> Any:
        """Return the pairs' code, or contribution."""
        raise NotImplementedError


class Unpermuted(Way):
    """A branch that is not permuted: what it contributes is gathered by row."""

    contributes = True

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

    def code(self, local: Any, prepared: Any, weights: list[Any], part: list[Any]) -> Any:
        """Return the pairs' contributions."""
        return ops.take(prepared, local, axis=0)


class Updated(Way):
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
            return [self.first.kernel_rows(integers(columns))]
        scale = ops.convert_to_tensor(self.first.scale[columns][:, None])
        return [self.first.kernel_rows(integers(columns)) * scale]

    def arguments(self, data: Inputs, pairs: Pairs, change: Change) -> list[Any]:
        """Return by how much columns change, and which: for each pair a number, or a row if features have several."""
        values = change.values.astype(np.float32, copy=False)  # as the layer takes whole numbers, too
        if values.shape[1] == len(change.columns):
            difference = values[pairs.taken, pairs.feature] - values[pairs.rows, pairs.feature]
            return [ops.convert_to_tensor(difference), integers(pairs.feature)]
        low, high = change.ends[pairs.feature[0]], change.ends[pairs.feature[-1] + 1]
        width = next_size(high - low)
        low = max(0, min(low, next_size(values.shape[1]) - width))
        difference = np.zeros((len(pairs), width), np.float32)
        for feature, part in pairs.by_feature():
            columns = change.of_feature(feature)
            moved = values[pairs.taken[part], columns] - values[pairs.rows[part], columns]
            difference[part, columns.start - low : columns.stop - low] = moved
        return [ops.convert_to_tensor(difference), integers(np.arange(low, low + width))]

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


class Recomputed(Way):
    """A branch that is computed as a whole for each pair."""

    def __init__(self, branch: Branch) -> None:
        self.branch = branch
        self.widest = max(math.prod(branch.encoder.inputs[0].shape[1:]), largest_tensor(branch.encoder))
        self.models = [branch.encoder]

    def arguments(self, data: Inputs, pairs: Pairs, change: Any) -> list[Any]:
        """Return the permuted rows."""
        X = data.of_branch(self.branch)
        permuted = X[pairs.rows].reshape(len(pairs), -1)
        for feature, part in pairs.by_feature():
            permuted[part, change.columns[feature]] = change.values[pairs.taken[part], change.of_feature(feature)]
        return [ops.convert_to_tensor(permuted.reshape(-1, *X.shape[1:]))]

    def code(self, local: Any, prepared: Any, weights: list[Any], part: list[Any]) -> Any:
        """Return the pairs' code."""
        return self.branch.encoder(part[0], training=False)


def integers(numbers: np.ndarray) -> Any:
    """Return whole numbers as a tensor."""
    return ops.convert_to_tensor(numbers.astype(np.int32))


def next_size(n: int) -> int:
    """Round up to a power of two: other sizes would be compiled anew."""
    return 1 << (int(n) - 1).bit_length()
