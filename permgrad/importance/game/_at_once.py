"""A walk in few calls: the network at all of a walk's steps at once.

A step changes little, and a batch is small: step by step, most of the time goes into calling the network. What a branch
makes of its own steps does not depend on the other branches', so each branch is computed at all of its steps together,
and the head at all times of the walk, each with what the branches were at by then.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from permgrad.backend import compiled, keras
from permgrad.importance.game._walk import Walker
from permgrad.importance.game._ways import Summed, Whole
from permgrad.importance.network._inputs import Inputs, even_size
from permgrad.importance.network._target import select

ops = keras.ops

MOST_FLOATS = 2**20
"""Of the tensors of a call, the widest of each step: they should stay in the cache."""
SHORT = 128
"""Steps up to which a product with ones is faster than TensorFlow's running sum."""
FEWER = 2
"""Times fewer calls than steps, from which on a walk is made at once."""


class AtOnce:
    """All steps of walks through a cut model; it holds no data.

    Parameters
    ----------
    walker : Walker
        Whose ways the branches go.
    """

    def __init__(self, walker: Walker, model: Any) -> None:
        self.walker, self.point, self.task = walker, walker.point, walker.task
        models = [model, *(each for way in walker.ways for each in way.models)]
        self._walk = {anew: compiled(functools.partial(self._walked, anew=anew), *models) for anew in (False, True)}

    def saves_calls(self, n_pairs: int, own_steps: Sequence[int]) -> bool:
        """Tell whether walks of so many pairs take fewer calls at once than step by step, given each branch's steps."""
        n_steps = sum(own_steps)
        return FEWER * math.ceil(n_pairs / self._pairs(n_pairs, n_steps, own_steps)) <= n_steps

    def _pairs(self, n_pairs: int, n_steps: int, own_steps: Sequence[int]) -> int:
        """Return how many of a batch's pairs to walk in a call."""
        floats = (n_steps + 1) * self.point.widest
        floats += sum((n + 1) * way.widest for way, n in zip(self.walker.ways, own_steps, strict=True))
        return even_size(n_pairs, max(1, MOST_FLOATS // floats))

    def walk(
        self, stock: Stock, rows: np.ndarray, donors: np.ndarray, truth: Any, route: Route, *, anew: bool
    ) -> np.ndarray:
        """Return what `select` leaves before the first step and after each, (n_steps + 1, n_pairs, k).

        A step that changes nothing leaves exactly what the one before left: sums are rounded at each time anew.
        """
        done, per_call = [], self._pairs(len(rows), len(route.times[0]) - 1, [len(order) for order in route.orders])
        for start in range(0, len(rows), per_call):
            at = np.minimum(np.arange(start, start + per_call), len(rows) - 1)
            given = [stock.given(b, rows[at], donors[at], order) for b, order in enumerate(route.orders)]
            kept = [stock.kept[b] for b in range(len(given))]
            selected = self._walk[anew](given, kept, list(route.orders), list(route.times), ops.take(truth, at, axis=0))
            done.append(np.asarray(ops.convert_to_numpy(selected)).reshape(len(route.times[0]), per_call, -1))
        left = np.concatenate(done, axis=1)[:, : len(rows)]
        still = ~route.moved([stock.moved(b, rows, donors) for b in range(len(route.orders))])
        for time, pairs in enumerate(still, 1):
            left[time, pairs] = left[0 if anew else time - 1, pairs]
        return left

    def _walked(
        self, given: list[Any], kept: list[Any], orders: list[Any], times: list[Any], truth: Any, *, anew: bool
    ) -> Any:
        n_pairs, contributions = truth.shape[0], []
        for b, way in enumerate(self.walker.ways):
            own_kept = ops.take(kept[b], orders[b], axis=0)
            if isinstance(way, Summed):
                stages = _summed(way, given[b], own_kept, anew)
            elif isinstance(way, Whole):
                stages = _replaced(way, given[b], own_kept, anew)
            shape = self.point.shape(b)
            own = ops.reshape(stages, (orders[b].shape[0] + 1, n_pairs, *shape))
            contributions.append(ops.reshape(ops.take(own, times[b], axis=0), (-1, *shape)))
        everyone = ops.tile(truth, (times[0].shape[0],))
        return select(self.point.finish(contributions), everyone, self.task)


class Route:
    """The way through a walk, branch by branch: own features in order, and how many of them are seen at each time.

    Parameters
    ----------
    steps : sequence of sequences of (feature, branch)
    n_branches : int
    anew : bool
        Each step starts from where nothing is seen.
    """

    def __init__(self, steps: Sequence[Sequence[tuple[int, int]]], n_branches: int, *, anew: bool) -> None:
        orders: list[list[int]] = [[] for _ in range(n_branches)]
        times: list[list[int]] = [[0] for _ in range(n_branches)]
        for step in steps:
            for feature, b in step:
                orders[b].append(feature)
            moved = {b for _, b in step}
            for b in range(n_branches):
                times[b].append(len(orders[b]) if b in moved or not anew else 0)
        self.steps = steps
        self.orders = [np.array(order, np.int32) for order in orders]
        self.times = [np.array(time, np.int32) for time in times]

    def moved(self, by_feature: Sequence[np.ndarray]) -> np.ndarray:
        """Return in which pairs each step changes anything, (n_steps, n_pairs), given that by branch and feature."""
        return np.stack([np.any([by_feature[b][feature] for feature, b in step], axis=0) for step in self.steps])


class Stock:
    """What walks need of rows and weights: each branch's features on one axis, padded to the widest.

    Attributes
    ----------
    kept : list of tensor
        For each branch, by feature: weights, (n_features, width, units), or where in its input the feature is.
    live : list of ndarray
        The same as bool: which of a feature's numbers have a weight that is not 0, (n_features, width), or are its own,
        (n_features, n_inputs).
    """

    def __init__(self, walker: Walker, data: Inputs, positions: Sequence[Sequence[np.ndarray]]) -> None:
        self.walker, self.data = walker, data
        self.kept: list[Any] = []
        self.values: list[np.ndarray | None] = []
        self.live: list[np.ndarray] = []
        for way, columns in zip(walker.ways, positions, strict=True):
            terms = [way.feature(data, each) for each in columns]
            if isinstance(way, Whole):
                self.kept.append(ops.stack(terms))
                self.values.append(None)
                self.live.append(np.asarray(ops.convert_to_numpy(self.kept[-1])).reshape(len(terms), -1) > 0)
                continue
            width = max(term.values.shape[1] for term in terms)
            padded = [np.pad(term.values, [(0, 0), (0, width - term.values.shape[1])]) for term in terms]
            kernels = [np.asarray(ops.convert_to_numpy(term.kernel)) for term in terms]
            kernels = [np.pad(kernel, [(0, width - len(kernel)), (0, 0)]) for kernel in kernels]
            self.kept.append(ops.convert_to_tensor(np.stack(kernels)))
            self.live.append((np.stack(kernels) != 0).any(axis=2))
            self.values.append(np.stack(padded).astype(np.float32))

    def moved(self, b: int, rows: np.ndarray, donors: np.ndarray) -> np.ndarray:
        """Return in which pairs a feature, of the row or of the donor, makes a difference: (n_features, n_pairs)."""
        values, live = self.values[b], self.live[b]
        if values is None:
            inputs = self.data.of_branch(self.walker.ways[b].branch)
            differ = (inputs[rows] != inputs[donors]).reshape(len(rows), -1)
            return live.astype(np.float32) @ differ.T.astype(np.float32) > 0
        return ((values[:, rows] != values[:, donors]) & live[:, None]).any(axis=2)

    def given(self, b: int, rows: np.ndarray, donors: np.ndarray, order: np.ndarray) -> list[Any]:
        """Return what a branch starts from, and what its rows have at each step, in place of their donors'."""
        values, inputs = self.values[b], self.data.of_branch(self.walker.ways[b].branch)
        if values is None:
            return [inputs[donors], inputs[rows]]
        change = values[order[:, None], rows[None]] - values[order[:, None], donors[None]]
        return [inputs[donors], ops.convert_to_tensor(change)]


def floats_of_stock(walker: Walker, n_rows: int, positions: Sequence[Sequence[np.ndarray]]) -> int:
    """Count the numbers that a `Stock` holds, before it is made."""
    total = 0
    for way, columns in zip(walker.ways, positions, strict=True):
        if isinstance(way, Whole):
            total += len(columns) * math.prod(way.shape) // 4
        elif isinstance(way, Summed):
            width = max(map(len, columns)) * (1 if way.first.linear else way.first.size)
            total += 2 * len(columns) * width * (n_rows + way.first.width)
    return total


def _summed(way: Summed, given: list[Any], kernels: Any, anew: bool) -> Any:
    """Return a branch's contribution where nothing is seen and after each of its steps, flat."""
    donors, change = given
    stages = way.first.sums(donors)[None] + _running(ops.matmul(change, kernels), anew)
    stages = ops.reshape(stages, (-1, way.first.width))
    return way.point.contribute(way.at, way.first.finish(way.first.activate(stages)))


def _running(moved: Any, anew: bool) -> Any:
    """Return what was moved up to each time, (n_steps + 1, ...); with `anew`, in the step before it alone."""
    n, shape = moved.shape[0], moved.shape[1:]
    if not anew and n <= SHORT:
        before = np.tril(np.ones((n + 1, n), np.float32), -1)
        return ops.reshape(ops.matmul(before, ops.reshape(moved, (n, -1))), (n + 1, *shape))
    return ops.concatenate([ops.zeros((1, *shape)), moved if anew else ops.cumsum(moved, axis=0)])


def _replaced(way: Whole, given: list[Any], places: Any, anew: bool) -> Any:
    """Return the same of a branch that is computed from its input."""
    donors, rows = (ops.convert_to_tensor(each) for each in given)
    seen = places if anew else ops.cumsum(ops.cast(places, "int32"), axis=0) > 0
    after = ops.where(seen, rows[None], donors[None])
    stages = ops.reshape(ops.concatenate([donors[None], after]), (-1, *way.shape))
    return way.point.contribute(way.at, way.branch.encoder(stages, training=False))
