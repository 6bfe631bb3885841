"""The game: players are (feature, branch), a coalition's worth is the loss that is saved by what its players see."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from permgrad.importance.bootstrap import Bootstrap
from permgrad.importance.budget import Budget
from permgrad.importance.game._tally import Tally
from permgrad.importance.game._views import Player, View
from permgrad.importance.network._inputs import even_size
from permgrad.importance.permuting._checkpoint import Checkpoint

DONORS = 8
"""Rows drawn anew for each row and walk: over their values the predictions are averaged, where nothing is seen.
The jackknife takes most of the bias of so few off; the rest by what the total tells of it (`Tally.missing`)."""
MOST_ROWS = 4096
"""Rows that play, drawn at random where there are more."""
BLOCKS, LEAST_BLOCK = 8, 16
"""Blocks that small tables are parted into, as far as each has so many rows; and differences between rounds, over
blocks, from which on the error that they tell is believed."""
STEPS_TOGETHER = 64
"""Of a walk, whose losses are computed together."""
COARSE = 0.1
"""Tolerance from which on one round will do: its error is not known."""
OF_ROWS = 1 / 6
"""Of what the test rows leave open: an error of walks up to this widens no interval by more than a hundredth or two."""
TINY = float(np.finfo(float).tiny)
LEAST_ROUNDS, MOST_ROUNDS = 2, 64
"""Of orders, each walked in both directions, for each row."""


@dataclass(eq=False)
class Game:
    """The game of a model on some rows.

    A coalition is a set of (feature, branch). The model's answer to a row under a coalition is the mean of its
    predictions over donors: rows drawn anew, whose values stand where the coalition does not see. The coalition's
    worth is the loss of the answer that sees nothing less the loss of that one.

    Parameters
    ----------
    view : View
        The model, its rows and their true values.
    random_state : int
    """

    view: View
    random_state: int
    rows: np.ndarray = field(init=False)
    bootstrap: Bootstrap = field(init=False)
    tally: Tally = field(init=False)
    finished: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.target = self.view.target
        classes = len(self.target.classes or ())
        rng = np.random.default_rng([self.random_state, len(self.view), MOST_ROWS])
        self.rows = rng.permutation(len(self.view))[:MOST_ROWS]
        self.of_class = self.target.y[self.rows] if classes else np.zeros(len(self.rows), int)
        self.weights = None if self.target.weights is None else self.target.weights[self.rows]
        groups = None if self.target.groups is None else self.target.groups[self.rows]
        known: Any = {"groups": groups, "weights": self.weights}
        self.bootstrap = Bootstrap.of(len(self.rows), self.random_state, self.of_class if classes else None, **known)
        most = max(1, self.view.pairs // DONORS)
        self.step = even_size(len(self.rows), min(most, max(LEAST_BLOCK, len(self.rows) // BLOCKS)))
        starts = range(0, len(self.rows), self.step)
        self.blocks = [np.arange(i, min(i + self.step, len(self.rows))) for i in starts]
        self.sizes = np.array([self._weighed(block, np.ones(len(block))).sum() for block in self.blocks])
        shape = (self.view.n_features, len(self.view.branches), classes, len(self.blocks), self.bootstrap.n_bundles)
        self.tally, self.first = Tally.empty(*shape), Tally.empty(*shape)
        self.least_rounds = max(LEAST_ROUNDS, 1 + math.ceil(BLOCKS / len(self.blocks)))

    def run(self, checkpoint: Checkpoint, budget: Budget, total: float, verbose: bool) -> None:
        """Walk until the scores' error is below ``budget.tolerance`` of the total, or time is over.

        Whatever the time, a block is walked twice: scores have an error. ``finished`` says whether time was enough.
        Nor is there much to gain where the error is small beside what so few test rows leave open.
        """
        earlier = checkpoint.read()
        if earlier is not None:
            self.tally = Tally(**earlier)
        self.finished = False
        least_rounds = self.least_rounds if budget.tolerance < COARSE else 1
        bar = tqdm(desc="walking", unit="walk", disable=not verbose, initial=int(self.tally.walks.sum()))
        try:
            for turn in range(int(self.tally.rounds.min()), MOST_ROUNDS):
                error = 1.96 * self.tally.error(self.sizes)[: self.view.n_features].max(initial=0)
                bar.set_postfix_str(f"error ±{error / abs(total):.1%} of the total" if np.isfinite(error) else "")
                allowed = max(budget.tolerance * abs(total), 1.96 * OF_ROWS * self._error_of_rows())
                if turn >= least_rounds and (error <= allowed or budget.tolerance >= COARSE):
                    break
                for number in np.flatnonzero(self.tally.rounds <= turn):
                    if budget.is_spent and self.tally.rounds.any():
                        if not (self.tally.rounds > 1).any():  # without a second round, no error would be known
                            self._walk(int(self.tally.rounds.argmax()), 1)
                        return
                    self._walk(int(number), turn)
                    checkpoint.write(self.tally.arrays())
                    bar.update(2 * len(self.blocks[number]))
            self.finished = True
        finally:
            bar.close()
            checkpoint.write(self.tally.arrays(), now=True)

    def rounds_of_rows(self) -> np.ndarray:
        """Return how many rounds each of the rows has had, (n_rows,)."""
        return np.repeat(self.tally.rounds, [len(block) for block in self.blocks])

    def _error_of_rows(self) -> float:
        """Return the largest standard error of a feature's score that other test rows would make."""
        return float(self.tally.replicates(self.bootstrap).sum(axis=2).std(axis=0).max(initial=0))

    def first_in(self, budget: Budget) -> None:
        """Measure what each feature saves on its own, on as many rows as there is time for.

        All branches see it, and nothing else.
        """
        seen_by: dict[int, list[Player]] = {}
        for feature, b in self.view.players:
            seen_by.setdefault(feature, []).append((feature, b))
        players = [(feature, 0) for feature in seen_by]
        for number, block in enumerate(self.blocks):
            if number and budget.is_spent:
                return
            batch = Batch(self, block, np.random.default_rng([self.random_state, number]))
            nothing, left = None, players
            for seen in batch.walk(list(seen_by.values()), anew=True):
                nothing = Losses(*(values[:1] for values in seen)) if nothing is None else nothing
                done, left = left[: len(seen.losses) - 1], left[len(seen.losses) - 1 :]
                self._note(
                    self.first, done, batch, Losses(*(at - of[1:] for at, of in zip(nothing, seen, strict=True)))
                )
            self.first.walks += self._weight_of(block)

    def _walk(self, number: int, turn: int) -> None:
        """Walk a block's rows along one order of the players, and back."""
        rng = np.random.default_rng([self.random_state, turn, number])
        order = [self.view.players[i] for i in rng.permutation(len(self.view.players))]
        block = self.blocks[number]
        worths = np.zeros((self.view.n_features, len(self.view.branches)))
        for way in (order, order[::-1]):
            batch, left = Batch(self, block, rng), way
            for seen in batch.walk([[player] for player in way]):
                done, left = left[: len(seen.losses) - 1], left[len(seen.losses) - 1 :]
                saved = Losses(*(values[:-1] - values[1:] for values in seen))
                self._note(self.tally, done, batch, saved)
                gained = self._weighed(block, saved.losses).sum(axis=1) / max(self.sizes[number], TINY)
                worths[tuple(np.transpose(done))] += gained / 2
            self.tally.walks += self._weight_of(block)
        self.tally.add_round(number, worths)

    def _weight_of(self, rows: np.ndarray) -> np.ndarray:
        """Return what some rows weigh, by bundle."""
        return self.bootstrap.sums(rows, self._weighed(rows, np.ones(len(rows))))[0]

    def _note(self, tally: Tally, players: Sequence[Player], batch: Batch, saved: Losses) -> None:
        """Add what a block's rows gain by each of some players, by row and by donor."""
        steps, n, n_bundles = np.arange(len(players)), tally.giving.shape[2], self.bootstrap.n_bundles
        at = tuple(np.transpose(players))
        of_class, pull = self.of_class[batch.rows], saved.pull
        donors = np.repeat(of_class, DONORS) * n_bundles + self.bootstrap.bundle[batch.donors]
        pull = self._weighed(batch.rows, pull.swapaxes(1, 2)).swapaxes(1, 2).reshape(len(players), -1)
        for sums, values in ((tally.taking, saved.losses), (tally.bending, saved.bend)):
            values = self._weighed(batch.rows, values)
            sums[at] += _added(steps, self.bootstrap.bundle[batch.rows], values, n_bundles)
        tally.uses[at] += _added(steps, np.repeat(of_class, DONORS), pull**2, n)
        tally.giving[at] += _added(steps, donors, pull, n * n_bundles).reshape(-1, n, n_bundles)

    def draw_donors(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw donors for these rows: (donors, (n_rows * DONORS,); each one's share, (n_rows, DONORS)).

        Of a row's donors every other one is of its own class, and counts by the class's share of all rows: where a
        class is rare, few donors drawn from all rows would mostly hold none for which the network tells the class.
        """
        shape, every = (len(rows), DONORS), np.arange(len(self.rows))
        donors, shares = self._drawn(every, shape, rng), np.full(shape, 1 / DONORS)
        if self.target.classes:
            for label in np.unique(self.of_class[rows]):
                at, own = np.flatnonzero(self.of_class[rows] == label), self.of_class == label
                share = self._weighed(every, own).sum() / self._weighed(every, np.ones(len(every))).sum()
                if 0 < share < 1:
                    half = (len(at), DONORS // 2)
                    donors[at, ::2] = self._drawn(np.flatnonzero(own), half, rng)
                    donors[at, 1::2] = self._drawn(np.flatnonzero(~own), half, rng)
                    shares[at, ::2], shares[at, 1::2] = 2 * share / DONORS, 2 * (1 - share) / DONORS
        return donors.reshape(-1), shares

    def _drawn(self, among: np.ndarray, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """Draw some of these rows with replacement, those that weigh more more often."""
        if self.weights is None:
            return rng.choice(among, shape)
        return rng.choice(among, shape, p=self.weights[among] / self.weights[among].sum())

    def _weighed(self, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        return values if self.weights is None else values * self.weights[rows]


class Losses(NamedTuple):
    """Of a batch's rows at some times, or by how much they fall from one time to the next.

    Attributes
    ----------
    losses : ndarray of shape (n_times, n_rows)
        Of the mean prediction over donors, its bias taken off.
    bend : ndarray of shape (n_times, n_rows)
        What was added for that: the loss over all donors less that over half of them.
    pull : ndarray of shape (n_times, n_rows, n_donors)
        To first order, by how much the loss rises by this donor's being among them.
    """

    losses: np.ndarray
    bend: np.ndarray
    pull: np.ndarray


class Batch:
    """A block's rows, each beside its donors."""

    def __init__(self, game: Game, rows: np.ndarray, rng: np.random.Generator) -> None:
        self.game, self.rows = game, rows
        self.donors, self.weights = game.draw_donors(rows, rng)

    def walk(self, steps: Sequence[Sequence[Player]], *, anew: bool = False) -> Iterator[Losses]:
        """Yield what `loss` returns of a part of the steps, before the first and after each; see `View.walk`.

        Each part begins where the one before ended.
        """
        pad = (0, self.game.step * DONORS - len(self.donors))  # each size of a batch would be compiled anew
        rows = self.game.rows[np.pad(np.repeat(self.rows, DONORS), pad, mode="edge")]
        donors = self.game.rows[np.pad(self.donors, pad, mode="edge")]
        waiting: list[np.ndarray] = []
        for said in self.game.view.walk(rows, donors, steps, anew=anew):
            waiting.append(said)
            if len(waiting) > STEPS_TOGETHER:
                yield self.loss(np.stack(waiting))
                waiting = waiting[-1:]
        if len(waiting) > 1:
            yield self.loss(np.stack(waiting))

    def loss(self, said: np.ndarray) -> Losses:
        """Return the loss of each row's mean prediction over donors, and each donor's pull on it.

        The loss of a mean over k donors is above that of the mean over all by a part that shrinks with k. Half as
        many donors show how large it is: it is taken off (the jackknife; exact for squared error). So it is of pulls:
        a donor is part of the mean that it pulls.

        Parameters
        ----------
        said : ndarray of shape (n_times, n_pairs, k)
        """
        target, shape, k = self.game.target, (len(said), len(self.rows)), said.shape[2]
        rows = np.tile(self.game.rows[self.rows], len(said))
        each = said.reshape(len(said), -1, DONORS, k)[:, : len(self.rows)]
        weighted = each * self.weights[:, :, None]

        def at(mean: np.ndarray, donors: slice) -> tuple[np.ndarray, np.ndarray]:
            """Return the loss of a mean over these donors, and by how much it rises by each of them, to first order."""
            flat = mean.reshape(len(rows), k)
            slope = target.slopes(rows, flat).reshape(*shape, 1, k)
            pull = (slope * (each[:, :, donors] - mean[:, :, None])).sum(axis=3)
            return target.losses_said(rows, flat).reshape(shape), pull

        half, mean = DONORS // 2, weighted.sum(axis=2)
        first = 2 * weighted[:, :, :half].sum(axis=2)
        of_all, pull = at(mean, slice(None))
        of_first, pull_first = at(first, slice(half))
        of_second, pull_second = at(2 * mean - first, slice(half, None))
        bend = of_all - (of_first + of_second) / 2
        pull = 2 * pull - np.concatenate([pull_first, pull_second], axis=2)
        return Losses(of_all + bend, bend, pull * self.weights)


def _added(steps: np.ndarray, at: np.ndarray, values: np.ndarray, n: int) -> np.ndarray:
    """Add up values, (n_steps, n_values), by step and by where they belong, (n_values,), below n."""
    places = (steps[:, None] * n + at).reshape(-1)
    return np.bincount(places, values.reshape(-1), len(steps) * n).reshape(len(steps), n)
