"""A walk from knowing nothing to knowing the row: one player after another sees the row's own value.

A batch is made of pairs: a row, and a donor whose values stand in for whatever the coalition does not see. All pairs
of a batch follow one order of the players, so a step changes one feature of one branch in all of them: the sums of a
first Dense layer by one term (`FirstLayer`), anything else by computing that branch anew. The other branches'
contributions, where branches meet, stay as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from permgrad.backend import compiled, fused, keras
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network._target import select
from permgrad.importance.network.branches import Branch, CutModel, largest_tensor
from permgrad.importance.network.first_layer import FirstLayer, first_layer
from permgrad.importance.network.fusion_point import FusionPoint, fusion_point
from permgrad.importance.permuting._ways import next_size
from permgrad.metrics.task import Task

ops = keras.ops


@dataclass(frozen=True, eq=False)
class State:
    """Where a batch is on its way.

    Attributes
    ----------
    kept : tuple
        For each branch what its next step starts from.
    contributions : tuple of tensor
        Of each branch, where branches meet.
    """

    kept: tuple[Any, ...]
    contributions: tuple[Any, ...]

    def moved(self, branch: int, kept: Any, contribution: Any) -> State:
        """Return the state with one branch changed."""
        return replace(
            self,
            kept=(*self.kept[:branch], kept, *self.kept[branch + 1 :]),
            contributions=(*self.contributions[:branch], contribution, *self.contributions[branch + 1 :]),
        )


class Walker:
    """Walks batches of pairs through a cut model; it holds no data.

    Parameters
    ----------
    cut : CutModel
    task : Task
    fuse : bool
        Compile element-wise steps to one pass over memory, see `fused`: for long games.
    """

    def __init__(self, cut: CutModel, task: Task, *, fuse: bool) -> None:
        self.task, self.point = task, fusion_point(cut)
        self.ways = [_way(branch, at, self.point, fuse) for at, branch in enumerate(cut.branches)]
        self.widest = max(self.point.widest, *(way.widest for way in self.ways))
        self._begin = [compiled(way.begin, cut.model, *way.models) for way in self.ways]
        self._step = [compiled(self._stepping(at), cut.model, *way.models) for at, way in enumerate(self.ways)]
        self._finish = compiled(self._selected, cut.model)

    def _selected(self, contributions: Sequence[Any], truth: Any) -> Any:
        return select(self.point.finish(list(contributions)), truth, self.task)

    def _stepping(self, at: int) -> Any:
        way = self.ways[at]

        def step(kept: Any, others: Sequence[Any], truth: Any, *change: Any) -> tuple[Any, Any, Any]:
            kept, contribution = way.step(kept, *change)
            return kept, contribution, self._selected([*others[:at], contribution, *others[at:]], truth)

        return step

    def start(self, data: Inputs, rows: np.ndarray, donors: np.ndarray) -> State:
        """Return the state in which nothing of the rows is seen."""
        begun = [begin(*way.given(data, rows, donors)) for begin, way in zip(self._begin, self.ways, strict=True)]
        return State(tuple(kept for kept, _ in begun), tuple(contribution for _, contribution in begun))

    def selected(self, state: State, truth: Any) -> np.ndarray:
        """Return what `select` leaves of the predictions of a state, (n_pairs, k)."""
        return np.asarray(ops.convert_to_numpy(self._finish(list(state.contributions), truth)))

    def move(self, state: State, at: int, change: Sequence[Any], truth: Any) -> tuple[State, np.ndarray]:
        """Let branch `at` see one more feature: (the new state, what `select` leaves of the predictions)."""
        others = [part for i, part in enumerate(state.contributions) if i != at]
        kept, contribution, selected = self._step[at](state.kept[at], others, truth, *change)
        return state.moved(at, kept, contribution), np.asarray(ops.convert_to_numpy(selected))


class Summed:
    """A branch with a first Dense layer: a step adds one term to the layer's sums."""

    def __init__(self, branch: Branch, at: int, point: FusionPoint, first: FirstLayer, fuse: bool) -> None:
        self.branch, self.at, self.point, self.first = branch, at, point, first
        self.widest = max(first.width, 0 if first.after is None else largest_tensor(first.after))
        self.models = first.models
        self._add = fused(self._added) if fuse else self._added

    def given(self, data: Inputs, rows: np.ndarray, donors: np.ndarray) -> list[Any]:
        """Return what `begin` takes."""
        return [data.of_branch(self.branch)[donors]]

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


@dataclass(frozen=True, eq=False)
class Term:
    """A feature's part in the sums of a first layer: its values, (n_rows, n_inputs), and its weights."""

    values: np.ndarray
    kernel: Any


class Whole:
    """Any other branch: its input is changed, and the branch computed anew."""

    def __init__(self, branch: Branch, at: int, point: FusionPoint) -> None:
        self.branch, self.at, self.point = branch, at, point
        self.shape = tuple(branch.encoder.inputs[0].shape[1:])
        self.widest = max(math.prod(self.shape), largest_tensor(branch.encoder))
        self.models = [branch.encoder]

    def given(self, data: Inputs, rows: np.ndarray, donors: np.ndarray) -> list[Any]:
        """Return what `begin` takes."""
        inputs = data.of_branch(self.branch)
        return [inputs[donors], inputs[rows]]

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


def _way(branch: Branch, at: int, point: FusionPoint, fuse: bool) -> Summed | Whole:
    first = first_layer(branch.encoder)
    return Whole(branch, at, point) if first is None else Summed(branch, at, point, first, fuse)
