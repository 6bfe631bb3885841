"""What each column adds to a row's own answer: Shapley values of the network's output, by the walks of the game.

The players are those of the global game, (feature, branch); what a coalition is worth is no loss but the answer itself:
its mean over background rows whose values stand where the coalition does not see. Each order of the players is walked
in both directions. All background rows take part equally often, so that a row's values add up to its answer less the
background's mean answer, exactly; only how the sum is divided has an error, which is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import logit

from permgrad.importance.game._views import View
from permgrad.importance.network._inputs import even_size

LEAST_ROUNDS = 8
"""Orders of the players for each row, each walked in both directions."""
LEAST_DONORS, MOST_DONORS = 8, 64
"""Background rows that one order is walked with."""
LEAST_PROBABILITY = 1e-7
"""float32 tells no smaller one apart from 0 near 1: log-odds end at ±16."""


@dataclass(frozen=True, eq=False)
class LocalValues:
    """Shapley values of rows' answers.

    Attributes
    ----------
    values : ndarray of shape (n_rows, n_features, n_branches)
        Log-odds of the class that each row is explained for, or the target's unit.
    error : ndarray of shape (n_rows, n_features)
        Standard error of a feature's value, the sum over branches, over orders. Rather too large than too small where
        rows are many: each order then has some of the background only.
    base : ndarray of shape (n_rows,)
        Mean answer of the background rows; of several classes, to the row's class.
    outputs : ndarray of shape (n_rows,)
        The row's own answer: ``base + values.sum(axis=(1, 2))``.
    """

    values: np.ndarray
    error: np.ndarray
    base: np.ndarray
    outputs: np.ndarray


def local_values(view: View, n_rows: int, random_state: int, n_rounds: int = LEAST_ROUNDS) -> LocalValues:
    """Explain the first `n_rows` of a view's rows, the others being the background.

    Parameters
    ----------
    view : View
        Its target's ``y`` holds the class that each row is explained for.
    n_rows, random_state : int
    n_rounds : int
        Orders, as far as the background's size allows: it is gone through as a whole.

    References
    ----------
    Štrumbelj & Kononenko, JMLR 11 (2010); Lundberg & Lee, NeurIPS 2017 (marginal replacement, as there called
    interventional). Mitchell, Cooper, Frank & Holmes, JMLR 23 (2022): antithetic orders.
    """
    background = np.arange(n_rows, len(view))
    donors = min(MOST_DONORS, len(background), max(LEAST_DONORS, view.pairs // n_rows))
    passes = max(1, -(-n_rounds * donors // len(background)))
    step = even_size(n_rows, max(1, view.pairs // donors))
    sums = np.zeros((n_rows, view.n_features, len(view.branches)))
    spread, ends, weight = _Spread(n_rows, view.n_features, -(-n_rows // step)), np.zeros((2, n_rows)), 0.0
    for number in range(passes):
        drawn = np.random.default_rng([random_state, number]).permutation(background)
        parts = np.array_split(drawn, max(1, -(-len(drawn) // donors)))
        for turn, part in enumerate(parts):
            share, found = len(part) / len(background), np.empty_like(sums)
            for start in range(0, n_rows, step):
                rows = np.arange(start, min(start + step, n_rows))
                rng = np.random.default_rng([random_state, number, turn, start])
                found[rows], answers = _walked(view, rows, part, step, donors, rng)
                ends[:, rows] += share * answers
            sums += share * found
            spread.add(found.sum(axis=2), share)
            weight += share
    values = sums / weight
    base, outputs = ends / weight
    return LocalValues(values, spread.error(passes * len(parts)), base, outputs)


class _Spread:
    """How far a value varies with the order in which players come into sight.

    Each order has a part of the background. What that part says of a feature in all rows alike, whatever their batch's
    order, is no error: all parts together are the background. It is taken off, where there are several batches.
    """

    def __init__(self, n_rows: int, n_features: int, n_batches: int) -> None:
        self.n_batches, self.weight = n_batches, 0.0
        self.sums, self.squares = np.zeros((n_rows, n_features)), np.zeros((n_rows, n_features))

    def add(self, found: np.ndarray, share: float) -> None:
        """Add what one part of the background gives, (n_rows, n_features), and its share."""
        own = found - found.mean(axis=0) if self.n_batches > 1 else found
        self.sums += share * own
        self.squares += share * own**2
        self.weight += share

    def error(self, n_orders: int) -> np.ndarray:
        """Return the standard error of the mean over orders."""
        variance = np.maximum(self.squares / self.weight - (self.sums / self.weight) ** 2, 0)
        # Orders are a batch's: of as many batches, the mean that was taken off has a part in what is common to each.
        lost = self.n_batches / (self.n_batches - 1) if self.n_batches > 1 else 1.0
        return np.sqrt(lost * variance / max(1, n_orders - 1))


def _walked(
    view: View, rows: np.ndarray, part: np.ndarray, step: int, donors: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Walk rows along one order and back: each player's mean gain over the donors, and the answers at both ends.

    Returns
    -------
    gains : ndarray of shape (n_rows, n_features, n_branches)
    answers : ndarray of shape (2, n_rows)
        Where nothing is seen, and where all is.
    """
    # Each size of a batch would be compiled anew: what is short of a full one is filled up, and left out again.
    own = np.repeat(np.resize(rows, step), donors)
    theirs = np.tile(np.resize(part, donors), step)
    order = [view.players[i] for i in rng.permutation(len(view.players))]
    gains, answers = np.zeros((len(rows), view.n_features, len(view.branches))), np.zeros((2, len(rows)))
    for way in (order, order[::-1]):
        last: Any = None
        for number, said in enumerate(view.walk(own, theirs, [[player] for player in way])):
            answer = _answer(view, said).reshape(step, donors)[: len(rows), : len(part)].mean(axis=1)
            if number:
                gains[:, way[number - 1][0], way[number - 1][1]] += (answer - last) / 2
            else:
                answers[0] += answer / 2
            last = answer
        answers[1] += last / 2
    return gains, answers


def _answer(view: View, said: np.ndarray) -> np.ndarray:
    """Return the answer that is explained: log-odds of a probability, or a value."""
    if not view.target.classes:
        return said[:, 0]
    return logit(np.clip(said[:, 0], LEAST_PROBABILITY, 1 - LEAST_PROBABILITY))
