"""The game: players are (feature, branch), a coalition's worth is the loss that is saved by what its players see."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field

import numpy as np
from tqdm.auto import tqdm

from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.budget import Budget
from permgrad.importance.game._tally import Tally
from permgrad.importance.game._walk import State, Walker
from permgrad.importance.network._inputs import Inputs, even_size
from permgrad.importance.network._target import Target
from permgrad.importance.network.branches import Branch
from permgrad.importance.network.first_layer import open_columns
from permgrad.importance.permuting._checkpoint import Checkpoint

DONORS = 8
"""Rows drawn anew for each row and walk: over their values the predictions are averaged, where nothing is seen."""
MOST_ROWS = 4096
"""Rows that play, drawn at random where there are more."""
MOST_PAIRS = 1024
"""Pairs of row and donor in a batch that shares an order: smaller batches have more orders, larger ones cost less."""
BLOCKS, LEAST_BLOCK = 16, 8
"""Blocks that small tables are parted into, as far as each has so many rows; and differences between rounds, over
blocks, from which on the error that they tell is believed."""
CALL_FLOATS = 2**22
"""Floats of a batch's widest tensor: what a step leaves should be in the cache for the next."""
FUSED_FROM = 100_000
"""Steps of a walk from which on it pays to fuse them: compiling takes half a second."""
LEAST_ROUNDS, MOST_ROUNDS = 2, 64
"""Of orders, each walked in both directions, for each row."""


@dataclass(eq=False)
class Game:
    """The game of a cut model on some rows.

    A coalition is a set of (feature, branch). The model's answer to a row under a coalition is the mean of its
    predictions over donors: rows drawn anew, whose values stand where the coalition does not see. The coalition's
    worth is the loss of the answer that sees nothing less the loss of that one.

    Parameters
    ----------
    data : Inputs
    target : Target
    positions : dict of Branch to list of ndarray
        For each branch that plays and each feature: its positions in the branch's flat rows.
    random_state : int
    """

    data: Inputs
    target: Target
    positions: dict[Branch, list[np.ndarray]]
    random_state: int
    rows: np.ndarray = field(init=False)
    bootstrap: Bootstrap = field(init=False)
    tally: Tally = field(init=False)

    def __post_init__(self) -> None:
        self.branches = list(self.positions)
        self.n_features = len(self.positions[self.branches[0]])
        classes = len(self.target.classes or ())
        rng = np.random.default_rng([self.random_state, len(self.data), MOST_ROWS])
        self.rows = rng.permutation(len(self.data))[:MOST_ROWS]
        self.of_class = self.target.y[self.rows] if classes else np.zeros(len(self.rows), int)
        self.bootstrap = Bootstrap.of(len(self.rows), self.random_state, self.of_class if classes else None)
        fuse = len(self.rows) * DONORS * self.n_features >= FUSED_FROM
        task = self.target.task
        make = functools.partial(Walker, self.data.cut, task, fuse=fuse)
        self.walker: Walker = self.data.cut.once(("game", task, fuse), make)
        most = max(2, min(MOST_PAIRS, CALL_FLOATS // self.walker.widest) // DONORS)
        self.step = even_size(len(self.rows), min(most, max(LEAST_BLOCK, len(self.rows) // BLOCKS)))
        starts = range(0, len(self.rows), self.step)
        self.blocks = [np.arange(i, min(i + self.step, len(self.rows))) for i in starts]
        shape = (self.n_features, len(self.branches), classes, len(self.blocks), self.bootstrap.n_bundles)
        self.tally, self.first = Tally.empty(*shape), Tally.empty(*shape)
        self.least_rounds = max(LEAST_ROUNDS, 1 + math.ceil(BLOCKS / len(self.blocks)))
        self.players = self._players()
        self._terms: dict[tuple[int, int], object] = {}

    def run(self, checkpoint: Checkpoint, budget: Budget, total: float, verbose: bool) -> None:
        """Walk until the scores' error is below ``budget.precision`` of the total, or time is over."""
        earlier = checkpoint.read()
        if earlier is not None:
            self.tally = Tally(**earlier)
        sizes = np.array([len(block) for block in self.blocks])
        bar = tqdm(desc="walking", unit="walk", disable=not verbose, initial=int(self.tally.walks.sum()))
        try:
            for turn in range(int(self.tally.rounds.min()), MOST_ROUNDS):
                error = 1.96 * self.tally.error(sizes)[: self.n_features].max(initial=0)
                bar.set_postfix_str(f"error ±{error / abs(total):.1%} of the total" if np.isfinite(error) else "")
                if turn >= self.least_rounds and error <= budget.precision * abs(total):
                    break
                for number in np.flatnonzero(self.tally.rounds <= turn):
                    if budget.is_spent and self.tally.rounds.any():
                        return
                    self._walk(int(number), turn)
                    checkpoint.write(self.tally.arrays())
                    bar.update(2 * len(self.blocks[number]))
        finally:
            bar.close()
            checkpoint.write(self.tally.arrays(), now=True)

    def _players(self) -> list[tuple[int, int]]:
        """List (feature, branch) that can be worth anything: those that a mask in front of a branch lets pass."""
        players = []
        for b, branch in enumerate(self.branches):
            passing = self.data.cut.once(("open", branch), lambda branch=branch: open_columns(branch.encoder))
            columns = self.positions[branch]
            players += [(f, b) for f in range(self.n_features) if passing is None or passing[columns[f]].any()]
        return players

    def draw_donors(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw donors for these rows: (donors, (n_rows * DONORS,); each one's share, (n_rows, DONORS)).

        Of a row's donors every other one is of its own class, and counts by the class's share of all rows: where a
        class is rare, few donors drawn from all rows would mostly hold none for which the network tells the class.
        """
        shape = (len(rows), DONORS)
        donors, shares = rng.integers(0, len(self.rows), shape), np.full(shape, 1 / DONORS)
        if self.target.classes:
            for label in np.unique(self.of_class[rows]):
                at, own = np.flatnonzero(self.of_class[rows] == label), self.of_class == label
                if not own.all():
                    half = (len(at), DONORS // 2)
                    donors[at, ::2] = rng.choice(np.flatnonzero(own), half)
                    donors[at, 1::2] = rng.choice(np.flatnonzero(~own), half)
                    shares[at, ::2], shares[at, 1::2] = 2 * own.mean() / DONORS, 2 * (1 - own.mean()) / DONORS
        return donors.reshape(-1), shares

    def _walk(self, number: int, turn: int) -> None:
        """Walk a block's rows along one order of the players, and back."""
        rng = np.random.default_rng([self.random_state, turn, number])
        order = [self.players[i] for i in rng.permutation(len(self.players))]
        block = self.blocks[number]
        worths = np.zeros((self.n_features, len(self.branches)))
        for way in (order, order[::-1]):
            batch = Batch(self, block, rng)
            before, pull_before = batch.worth(batch.begin())
            for player in way:
                after, pull = batch.worth(batch.move(player))
                self._note(self.tally, player, batch, before - after, pull_before - pull)
                worths[player] += (before - after).mean() / 2
                before, pull_before = after, pull
            self.tally.walks += np.bincount(self.bootstrap.bundle[block], minlength=self.bootstrap.n_bundles)
        self.tally.add_round(number, worths)

    def _note(self, tally: Tally, player: tuple[int, int], batch: Batch, saved: np.ndarray, pull: np.ndarray) -> None:
        """Add what a block's rows gain by a player, by row and by donor."""
        tally.taking[player] += self.bootstrap.sums(batch.rows, saved)[0]
        n, n_bundles = tally.giving.shape[2], self.bootstrap.n_bundles
        at = np.repeat(self.of_class[batch.rows], DONORS) * n_bundles + self.bootstrap.bundle[batch.donors]
        tally.giving[player] += np.bincount(at, pull.reshape(-1), n * n_bundles).reshape(n, n_bundles)

    def first_in(self) -> None:
        """Measure what each feature saves on its own, all branches seeing it and nothing else."""
        for number, block in enumerate(self.blocks):
            batch = Batch(self, block, np.random.default_rng([self.random_state, number]))
            nothing, pull_before = batch.worth(batch.begin())
            start = batch.state
            for feature in sorted({f for f, _ in self.players}):
                batch.state = start
                for player in self.players:
                    if player[0] == feature:
                        selected = batch.move(player)
                after, pull = batch.worth(selected)
                self._note(self.first, (feature, 0), batch, nothing - after, pull_before - pull)
            self.first.walks += np.bincount(self.bootstrap.bundle[block], minlength=self.bootstrap.n_bundles)

    def term(self, player: tuple[int, int]) -> object:
        """Return what a step of this player needs of all rows and weights; computed once."""
        if player not in self._terms:
            feature, b = player
            at = self.data.cut.branches.index(self.branches[b])
            self._terms[player] = self.walker.ways[at].feature(self.data, self.positions[self.branches[b]][feature])
        return self._terms[player]


class Batch:
    """A block's rows, each beside its donors, somewhere on a walk."""

    state: State

    def __init__(self, game: Game, rows: np.ndarray, rng: np.random.Generator) -> None:
        self.game, self.rows = game, rows
        self.donors, self.weights = game.draw_donors(rows, rng)
        size = game.step * DONORS
        pad = (0, size - len(self.donors))  # each size of a batch would be compiled anew
        self._rows = game.rows[np.pad(np.repeat(rows, DONORS), pad, mode="edge")]
        self._donors = game.rows[np.pad(self.donors, pad, mode="edge")]
        self._truth = game.target.truth(self._rows)

    def begin(self) -> np.ndarray:
        """Start where nothing of the rows is seen; return what `select` leaves of the predictions."""
        self.state = self.game.walker.start(self.game.data, self._rows, self._donors)
        return self.game.walker.selected(self.state, self._truth)

    def move(self, player: tuple[int, int]) -> np.ndarray:
        """Let one more player see; return what `select` leaves of the predictions."""
        game = self.game
        at = game.data.cut.branches.index(game.branches[player[1]])
        change = game.walker.ways[at].change(game.term(player), self._rows, self._donors)
        self.state, selected = game.walker.move(self.state, at, change, self._truth)
        return selected

    def worth(self, selected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the loss of each row's mean prediction over donors, and each donor's pull on it.

        The loss of a mean over k donors is above that of the mean over all by a part that shrinks with k. Half as
        many donors show how large it is: it is taken off (the jackknife; exact for squared error).

        Returns
        -------
        losses : ndarray of shape (n_rows,)
        pull : ndarray of shape (n_rows, n_donors)
            To first order, by how much the loss rises by this donor's being among them.
        """
        game = self.game
        k, rows = DONORS, game.rows[self.rows]
        each = game.target.said(selected).reshape(-1, k, selected.shape[1])[: len(rows)]
        weighted = each * self.weights[:, :, None]
        mean, half = weighted.sum(axis=1), 2 * weighted[:, : k // 2].sum(axis=1)
        of_mean, of_halves = game.target.losses_said(rows, mean), game.target.losses_said(rows, half)
        of_halves = (of_halves + game.target.losses_said(rows, 2 * mean - half)) / 2
        pull = (game.target.slopes(rows, mean)[:, None] * (each - mean[:, None])).sum(axis=2) * self.weights
        return 2 * of_mean - of_halves, pull
