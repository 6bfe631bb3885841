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
from permgrad.importance.game._by_cells import ByCells
from permgrad.importance.game._stocks import Stock
from permgrad.importance.game._walk import Walker
from permgrad.importance.network._inputs import even_size
from permgrad.importance.network._target import select

ops = keras.ops

MOST_FLOATS = 2**20
"""Of the tensors of a call, the widest of each step: they should stay in the cache."""
MOST_BY_CELLS = 2**23
"""The same where a branch is walked by cells: that has many small steps, so a call is to have many pairs."""
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
        floats += sum(way.floats_of_walk(n) for way, n in zip(self.walker.ways, own_steps, strict=True))
        by_cells = any(isinstance(way, ByCells) for way in self.walker.ways)
        return even_size(n_pairs, max(1, (MOST_BY_CELLS if by_cells else MOST_FLOATS) // floats))

    def walk(
        self, stocks: Sequence[Stock], rows: np.ndarray, donors: np.ndarray, truth: Any, route: Route, *, anew: bool
    ) -> np.ndarray:
        """Return what `select` leaves before the first step and after each, (n_steps + 1, n_pairs, k).

        A step that changes nothing leaves exactly what the one before left: sums are rounded at each time anew.
        """
        done, per_call = [], self._pairs(len(rows), len(route.times[0]) - 1, [len(order) for order in route.orders])
        kept = [stock.kept(anew=anew) for stock in stocks]
        for start in range(0, len(rows), per_call):
            at = np.minimum(np.arange(start, start + per_call), len(rows) - 1)
            given = [
                stock.given(rows[at], donors[at], order, anew=anew)
                for stock, order in zip(stocks, route.orders, strict=True)
            ]
            selected = self._walk[anew](given, kept, list(route.times), ops.take(truth, at, axis=0))
            done.append(np.asarray(ops.convert_to_numpy(selected)).reshape(len(route.times[0]), per_call, -1))
        left = np.concatenate(done, axis=1)[:, : len(rows)]
        still = ~route.moved([stock.moved(rows, donors) for stock in stocks])
        for time, pairs in enumerate(still, 1):
            left[time, pairs] = left[0 if anew else time - 1, pairs]
        return left

    def _walked(self, given: list[Any], kept: list[Any], times: list[Any], truth: Any, *, anew: bool) -> Any:
        n_pairs, contributions = truth.shape[0], []
        for b, way in enumerate(self.walker.ways):
            shape = self.point.shape(b)
            own = ops.reshape(way.stages(given[b], kept[b], anew=anew), (-1, n_pairs, *shape))
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
