"""What stands in a column's place when it is taken from the network: a constant, or another row's values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.neighbors import NearestNeighbors

from permgrad.evaluation.baselines import sample
from permgrad.evaluation.explained import ExplainedModel

DONOR_ROWS = 5000
"""Training rows that values are taken from."""
NEIGHBOURS = 5
TIE = 1e-3
"""Size, in standard deviations, of the noise that makes rows with equal kept values equally likely donors."""

Replace = Callable[[np.ndarray], np.ndarray]
"""Positions of the encoded columns to replace → rows of shape (n_draws, n_rows, n_columns)."""


def replacers(explained: ExplainedModel, rows: np.ndarray, n_draws: int) -> dict[str, Replace]:
    """Return the ways of replacing columns of encoded rows.

    Parameters
    ----------
    explained : ExplainedModel
    rows : ndarray of shape (n_rows, n_columns)
        Encoded test rows.
    n_draws : int
        Of the random replacements, at most 5; the others have one.

    Returns
    -------
    dict of callables
        ``mean``: the training mean; for 0/1 columns, the categories' shares.
        ``marginal``: the values of a random training row, all replaced columns from the same one.
        ``conditional``: as ``marginal``, but from one of the 5 training rows nearest in the columns that are
        *kept*, each table column scaled to variance 1. In few columns neighbours are alike; the more columns
        are kept, the farther they are, and the nearer this comes to ``marginal``.
    """
    train = explained.train_rows
    donors = train[sample(len(train), DONOR_ROWS, [explained.random_state, 4])]
    rng = np.random.default_rng([explained.random_state, 5])
    random = np.stack([donors[rng.integers(len(donors), size=len(rows))] for _ in range(n_draws)])
    nearest = _Nearest(explained, rows, donors, n_draws)

    def constant(values: np.ndarray) -> Replace:
        whole = np.broadcast_to(values.astype(np.float32), (1, *rows.shape))
        return lambda at: _put(rows, whole, at)

    return {
        "mean": constant(train.mean(axis=0, dtype=float)),
        "marginal": lambda at: _put(rows, random, at),
        "conditional": lambda at: _put(rows, nearest.donors_of(at), at),
    }


def _put(rows: np.ndarray, values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return the rows, once per draw, with the columns `at` taken from `values`."""
    replaced = np.repeat(rows[None], len(values), axis=0)
    replaced[..., at] = values[..., at]
    return replaced


class _Nearest:
    """Training rows that are alike in the kept columns."""

    def __init__(self, explained: ExplainedModel, rows: np.ndarray, donors: np.ndarray, n_draws: int) -> None:
        self.donors = donors
        scale = np.ones(rows.shape[1])
        for at in explained.groups.values():
            number = at < explained.n_numbers  # beside it, a 0/1 column may say where it is missing
            parts = [part for part in (at[number], at[~number]) if len(part)]
            for part in parts:
                scale[part] = np.sqrt(max(len(parts) * donors[:, part].var(axis=0, dtype=float).sum(), 1e-30))
        rng = np.random.default_rng([explained.random_state, 6])
        noise = rng.normal(scale=TIE, size=(len(donors) + len(rows), 1))
        scaled = np.hstack([np.vstack([donors, rows]) / scale, noise]).astype(np.float32)
        self.scaled_donors, self.scaled_rows = scaled[: len(donors)], scaled[len(donors) :]
        n_neighbours = min(NEIGHBOURS, len(donors))
        places = np.tile(np.arange(n_neighbours), (len(rows), 1))
        self.drawn = rng.permuted(places, axis=1)[:, : min(n_draws, n_neighbours)]

    def donors_of(self, replaced: np.ndarray) -> np.ndarray:
        """Return one like row for each row and draw, shape (n_draws, n_rows, n_columns)."""
        unchanged = np.setdiff1d(np.arange(self.scaled_rows.shape[1]), replaced)  # the noise is never replaced
        search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(self.donors)), algorithm="brute")
        near = search.fit(self.scaled_donors[:, unchanged]).kneighbors(
            self.scaled_rows[:, unchanged], return_distance=False
        )
        return self.donors[np.take_along_axis(near, self.drawn, axis=1).T]
