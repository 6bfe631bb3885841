"""What a model says of rows while more and more of their features come into sight; of donors' values otherwise."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from permgrad.importance.game._at_once import AtOnce, Route
from permgrad.importance.game._by_cells import cell_walks, work_by_cells
from permgrad.importance.game._stocks import Stock
from permgrad.importance.game._walk import Walker
from permgrad.importance.game._windowed import work_of_steps
from permgrad.importance.network._inputs import Inputs
from permgrad.importance.network._target import Target
from permgrad.importance.network.branches import Branch
from permgrad.importance.network.first_layer import open_columns
from permgrad.importance.network.opaque import Opaque

Player = tuple[int, int]
"""(feature, branch), by their numbers."""
CALL_FLOATS = 2**22
"""Floats of a batch's widest tensor: what a step leaves should be in the cache for the next."""
MOST_PAIRS = 1024
"""Pairs of row and donor in a batch that shares an order: smaller batches have more orders, larger ones cost less."""
STOCK_FLOATS = 2**25
"""That are kept of rows and weights for walks at once; by cells, a quarter of the memory that may be taken."""
FUSED_FROM = 100_000
"""Steps of a walk from which on it pays to fuse them: compiling takes half a second."""
CELLS_PER_CALL = 2_000_000
"""Of a table that a model is asked about at once."""


class View(Protocol):
    """A model, its rows and true values, as the game asks for them.

    Attributes
    ----------
    target : Target
    n_features : int
    branches : list of str
    players : list of (feature, branch)
        Those that can be worth anything.
    pairs : int
        Pairs of row and donor to walk together.
    """

    target: Target
    n_features: int
    branches: list[str]
    players: list[Player]
    pairs: int

    def __len__(self) -> int: ...

    def walk(
        self, rows: np.ndarray, donors: np.ndarray, steps: Sequence[Sequence[Player]], *, anew: bool = False
    ) -> Iterator[np.ndarray]:
        """Yield what is said, see `Target.said`, before the first step and after each: (n_pairs, k).

        With `anew`, each step is made from the start, not from where the last one led.
        """
        ...


def pairs_of(n_steps: int) -> int:
    """Return about how many pairs a batch has in a game of so many pairs, see `Game`."""
    return min(max(128, n_steps // 8), MOST_PAIRS)


class NetworkView:
    """A cut model; `positions` are where each feature is in each branch's flat rows."""

    def __init__(self, data: Inputs, target: Target, positions: dict[Branch, list[np.ndarray]], n_steps: int) -> None:
        self.data, self.target = data, target
        self.positions = [positions[branch] for branch in data.cut.branches]
        self.branches = [branch.name for branch in data.cut.branches]
        self.n_features = len(self.positions[0])
        fuse = n_steps * self.n_features >= FUSED_FROM
        windows = {branch: work_of_steps(data.cut, branch, of, pairs_of(n_steps)) for branch, of in positions.items()}
        windowed = [branch for branch, share in windows.items() if share < 1]
        cells = [branch for branch in windowed if work_by_cells(data.cut, branch, positions[branch]) < windows[branch]]
        self._make(fuse, windowed=[branch for branch in windowed if branch not in cells], cells=cells)
        if cells and not self.at_once:
            self._make(fuse, windowed=windowed, cells=[])
        self.pairs = min(MOST_PAIRS, CALL_FLOATS // self.walker.widest)
        self._terms: dict[Player, Any] = {}

    def _make(self, fuse: bool, *, windowed: Sequence[Branch], cells: Sequence[Branch]) -> None:
        """Compile the network's walks, or take them from those who have walked so before."""
        cut, task, at = self.data.cut, self.target.task, self.data.cut.branches.index
        planned = {b: cell_walks(cut, b, self.positions[at(b)], fuse=fuse) or {} for b in cells}
        key = (task, fuse, *windowed, *((b, *(of.tobytes() for of in self.positions[at(b)])) for b in cells))
        make = functools.partial(Walker, cut, task, fuse=fuse, windowed=windowed, cells=planned)
        self.walker: Walker = cut.once(("game", *key), make)
        self.whole: AtOnce = cut.once(("game at once", *key), lambda: AtOnce(self.walker, cut.model))
        self.players = [player for b, branch in enumerate(cut.branches) for player in self._players(b, branch)]
        self.at_once = not windowed and self._fits(cells) and (bool(cells) or self._saves_calls())

    def _fits(self, cells: Sequence[Branch]) -> bool:
        """Tell whether memory allows for what walks at once keep of all rows."""
        parts = zip(self.walker.ways, self.positions, strict=True)
        floats = sum(way.floats_of_stock(len(self), of) for way, of in parts)
        return floats <= (self.data.max_memory // 16 if cells else STOCK_FLOATS)

    def _saves_calls(self) -> bool:
        own = [sum(b == each for _, b in self.players) for each in range(len(self.branches))]
        return self.whole.saves_calls(min(MOST_PAIRS, CALL_FLOATS // self.walker.widest), own)

    def __len__(self) -> int:
        return len(self.data)

    def _players(self, b: int, branch: Branch) -> list[Player]:
        """List the features that a mask in front of a branch lets pass."""
        passing = self.data.cut.once(("open", branch), lambda: open_columns(branch.encoder))
        columns = self.positions[b]
        return [(f, b) for f in range(self.n_features) if passing is None or passing[columns[f]].any()]

    def walk(
        self, rows: np.ndarray, donors: np.ndarray, steps: Sequence[Sequence[Player]], *, anew: bool = False
    ) -> Iterator[np.ndarray]:
        """See `View.walk`."""
        truth = self.target.truth(rows)
        if self.at_once:
            route = Route(steps, len(self.branches), anew=anew)
            for selected in self.whole.walk(self.stocks, rows, donors, truth, route, anew=anew):
                yield self.target.said(selected)
            return
        state = start = self.walker.start(self.data, rows, donors)
        yield self.target.said(self.walker.selected(state, truth))
        for step in steps:
            state = start if anew else state
            for feature, b in step:
                change = self.walker.ways[b].change(self._term((feature, b)), rows, donors)
                state, selected = self.walker.move(state, b, change, truth)
            yield self.target.said(selected)

    @functools.cached_property
    def stocks(self) -> list[Stock]:
        """What walks at once need of all rows and weights, for each branch."""
        return [way.stock(self.data, of) for way, of in zip(self.walker.ways, self.positions, strict=True)]

    def _term(self, player: Player) -> Any:
        """Return what a step of this player needs of all rows and weights; computed once."""
        if player not in self._terms:
            feature, b = player
            self._terms[player] = self.walker.ways[b].feature(self.data, self.positions[b][feature])
        return self._terms[player]


class ModelView:
    """A model that cannot be cut; `columns` are each feature's."""

    def __init__(self, opaque: Opaque, columns: Sequence[np.ndarray]) -> None:
        self.opaque, self.columns, self.target = opaque, columns, opaque.target
        self.branches, self.n_features = ["model"], len(columns)
        self.players = [(feature, 0) for feature in range(self.n_features)]
        self.pairs = 4 * MOST_PAIRS

    def __len__(self) -> int:
        return len(self.opaque)

    def walk(
        self, rows: np.ndarray, donors: np.ndarray, steps: Sequence[Sequence[Player]], *, anew: bool = False
    ) -> Iterator[np.ndarray]:
        """See `View.walk`; the model is asked about many steps at once."""
        own, start = self._rows(rows), self._rows(donors)
        seen = start
        at_once = max(1, CELLS_PER_CALL // (len(rows) * self.opaque.n_columns))
        waiting = [seen]
        for step in steps:
            seen = (start if anew else seen).copy()
            for feature, _ in step:
                for column in self.columns[feature]:
                    _put(seen, own, column)
            waiting.append(seen)
            if len(waiting) >= at_once:
                yield from self._said(waiting, rows)
                waiting = []
        if waiting:
            yield from self._said(waiting, rows)

    def _rows(self, at: np.ndarray) -> Any:
        rows = self.opaque.rows
        return rows.iloc[at].reset_index(drop=True) if isinstance(rows, pd.DataFrame) else rows[at]

    def _said(self, tables: list[Any], rows: np.ndarray) -> Iterator[np.ndarray]:
        whole = pd.concat(tables, ignore_index=True) if isinstance(tables[0], pd.DataFrame) else np.concatenate(tables)
        said = self.target.task.probabilities(self.opaque.predict(whole)).reshape(len(tables), len(rows), -1)
        if self.target.classes:
            said = said[:, np.arange(len(rows)), self.target.y[rows], None]
        yield from said


def _put(seen: Any, own: Any, column: int) -> None:
    if isinstance(seen, pd.DataFrame):
        seen.isetitem(column, own.iloc[:, column])
    else:
        seen[:, column] = own[:, column]
