"""Shapley values of a game whose every coalition has been measured."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np


def shapley_values(worth: dict[frozenset[int], float], n: int) -> np.ndarray:
    """Return each player's Shapley value.

    Parameters
    ----------
    worth : dict of frozenset of int to float
        Of each of the 2**n coalitions of the players 0, ..., n - 1.
    n : int

    Returns
    -------
    ndarray of shape (n,), float64
        They sum to the worth of all players less that of none.
    """
    values = np.zeros(n)
    for player in range(n):
        rest = [other for other in range(n) if other != player]
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for others in map(frozenset, combinations(rest, size)):
                values[player] += weight * (worth[others | {player}] - worth[others])
    return values
