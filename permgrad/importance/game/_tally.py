"""What walks have found so far: each player's worth, by the rows that it came from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from permgrad.importance.bootstrap import Bootstrap

FURTHER = 5.0
"""Times what the jackknife takes off that may be taken off beyond it; more would be the noise of few walks."""
TOLD = 0.2
"""Share of the features' parts in the bias that must not cancel, for the bias to be parted by them."""


@dataclass(eq=False)
class Tally:
    """Sums over walks.

    Attributes
    ----------
    taking : ndarray of shape (n_features, n_branches, n_bundles)
        Worths, added up by the bootstrap's bundle of the row that walks.
    giving : ndarray of shape (n_features, n_branches, n_classes or 1, n_bundles)
        To first order, what each donor adds to the worths of others' walks; by the class of the row that walks, and
        the bundle of the donor.
    uses : ndarray of shape (n_features, n_branches, n_classes or 1)
        What is added to `giving`, squared and added up over all donors and walks: how far `giving` would vary if it did
        not matter who the donor is.
    bending : ndarray of shape (n_features, n_branches, n_bundles)
        What half as many donors would take off these worths, added up as `taking` is: as far as the loss bends, few
        donors bias it, see `unbent`.
    walks : ndarray of shape (n_bundles,)
        How many walks the rows of a bundle have had, each counting as its row weighs.
    sums, squares : ndarray of shape (n_blocks, n_features + n_branches)
        Of the mean worth of a block's rows, over rounds: each feature's, then each branch's. How far the rounds of a
        block differ is the error that more rounds would take away.
    rounds : ndarray of shape (n_blocks,), int
        Rounds that a block has had.
    """

    taking: np.ndarray
    giving: np.ndarray
    uses: np.ndarray
    bending: np.ndarray
    walks: np.ndarray
    sums: np.ndarray
    squares: np.ndarray
    rounds: np.ndarray
    NAMES: ClassVar = ("taking", "giving", "uses", "bending", "walks", "sums", "squares", "rounds")

    @classmethod
    def empty(cls, n_features: int, n_branches: int, n_classes: int, n_blocks: int, n_bundles: int) -> Tally:
        """Return that of no walk."""
        return cls(
            np.zeros((n_features, n_branches, n_bundles)),
            np.zeros((n_features, n_branches, max(1, n_classes), n_bundles)),
            np.zeros((n_features, n_branches, max(1, n_classes))),
            np.zeros((n_features, n_branches, n_bundles)),
            np.zeros(n_bundles),
            np.zeros((n_blocks, n_features + n_branches)),
            np.zeros((n_blocks, n_features + n_branches)),
            np.zeros(n_blocks, int),
        )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return them by name, as a checkpoint keeps them."""
        return {name: getattr(self, name) for name in self.NAMES}

    def add_round(self, block: int, worths: np.ndarray) -> None:
        """Note down the mean worths of a block's rows in one round, (n_features, n_branches)."""
        watched = np.concatenate([worths.sum(axis=1), worths.sum(axis=0)])
        self.sums[block] += watched
        self.squares[block] += watched**2
        self.rounds[block] += 1

    def error(self, sizes: np.ndarray) -> np.ndarray:
        """Return the standard error of each feature's and each branch's mean worth that more rounds would take away.

        Parameters
        ----------
        sizes : ndarray of shape (n_blocks,)
            Rows of each block.

        Returns
        -------
        ndarray of shape (n_features + n_branches,)
            inf as long as no block has had two rounds. Where only some have, the others' rounds are taken to differ
            as much.
        """
        several = self.rounds > 1
        if not several.any():
            return np.full(self.sums.shape[1], np.inf)
        rounds = self.rounds[several][:, None]
        spread = (self.squares[several] - self.sums[several] ** 2 / rounds) / (rounds - 1)
        of_rows = np.average(np.maximum(spread, 0) * sizes[several][:, None], axis=0, weights=sizes[several])
        return np.sqrt(of_rows / (sizes * self.rounds).sum())

    def unbent(self, further: float) -> Tally:
        """Return the tally with more of the donors' bias taken off: so many times what the jackknife did."""
        return replace(self, taking=self.taking + further * self.bending)

    def missing(self, total: float) -> float:
        """Return how many times more of the donors' bias must be taken off for the mean worths to add up to a total.

        A walk's gains add up to what its two ends differ by. At the end that sees all, no donor counts; at the one that
        sees nothing, the loss is known without donors. So what they miss of the total is the bias of so few donors,
        and the part of each step in it is the part that half as many donors show. 0 where that is not to be told.
        """
        shown, walks = self.bending.sum(axis=-1), self.walks.sum() or 1.0
        if abs(shown.sum()) <= TOLD * np.abs(shown).sum():
            return 0.0
        return float(np.clip((total * walks - self.taking.sum()) / shown.sum(), -FURTHER, FURTHER))

    def means(self, bootstrap: Bootstrap, of_class: int | None = None) -> np.ndarray:
        """Return the mean worths over rows, or over the rows of a class: (n_features, n_branches)."""
        at = slice(None) if of_class is None else bootstrap.classes == of_class
        return self.taking[..., at].sum(axis=-1) / (self.walks[at].sum() or 1)

    def replicates(self, bootstrap: Bootstrap, of_class: int | None = None) -> np.ndarray:
        """Return the bootstrap's replicates of the mean worths: (n_replicates, n_features, n_branches).

        A row that is drawn anew is so in both its roles: as one that walks, and as a donor of others, which counts
        to first order (the Hájek projection of a V-statistic). What a pair of row and donor has beyond both is in what
        the row takes already: of what donors give, the part that it makes up is taken off the variance.
        """
        at = slice(None) if of_class is None else bootstrap.classes == of_class
        weights = bootstrap.weights.astype(float)
        walks = weights[:, at] @ self.walks[at]
        walks[walks == 0] = 1
        taken = np.tensordot(weights[:, at], self.taking[..., at], (1, 2)) / walks[:, None, None]
        given, uses = (
            each.sum(axis=2) if of_class is None else each[:, :, of_class] for each in (self.giving, self.uses)
        )
        spread = (given**2).sum(axis=-1)
        own = np.sqrt(np.maximum(0, 1 - np.divide(uses, spread, out=np.ones_like(uses), where=spread > 0)))
        given = given * own[..., None]
        drawn = taken + np.tensordot(weights - 1, given, (1, 2)) / (self.walks[at].sum() or 1)
        return bootstrap.widened(self.means(bootstrap, of_class), drawn)
