"""A curve with its interval, over rows drawn anew."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from permgrad.importance.bootstrap import Bootstrap, percentiles
from permgrad.importance.responding.answers import Answers
from permgrad.importance.responding.grid import Grid


class Curve(NamedTuple):
    """An effect at each value of a grid, (n_grid, width), the ends of its 95 % interval, the share of rows at each."""

    effect: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    shares: np.ndarray


def bootstrap_of(answers: Answers, random_state: int) -> Bootstrap:
    """Draw the rows anew, groups as wholes."""
    return Bootstrap.of(len(answers), random_state, groups=answers.groups, weights=answers.weights)


def ends_of(effects: np.ndarray, bootstrap: Bootstrap) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of 95 % intervals, of the first effect of an array and the others, its replicates."""
    low, high = percentiles(bootstrap.widened(effects[0], effects[1:]))
    return np.minimum(low, effects[0]), np.maximum(high, effects[0])


def shares_of(grid: Grid, weights: np.ndarray, bootstrap: Bootstrap) -> np.ndarray:
    """Return what the rows of each bundle count at each value, (n_grid, n_bundles)."""
    rows, values, parts = grid.hats()
    return bootstrap.sums(rows, parts * weights[rows], values, len(grid))
