"""Whether a regression has missed something: cells of two columns against their slow reference, and planted ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from permgrad.importance.permuting._unlearned import share_missed


def checkerboard(X):
    return (np.floor(X[:, :1] / 0.9) + np.floor(X[:, 1:2] / 0.9)) % 2 - 0.5


def slow_share(Z, rest):
    n, found = len(Z), [0.0]
    cells = [[int((sum(z[other] < z[row] for other in range(n)) + 0.5) * 6 / n) for row in range(n)] for z in Z.T]
    for first in range(Z.shape[1]):
        for second in range(first):
            statistic, inside = 0.0, {}
            for row in range(n):
                inside.setdefault((cells[first][row], cells[second][row]), []).append(rest[row, 0])
            for left in inside.values():
                statistic += sum(left) ** 2 / sum(each**2 for each in left)
            if chi2.sf(statistic, len(inside)) <= 0.001 / (Z.shape[1] * (Z.shape[1] - 1) / 2):
                found.append((statistic - len(inside)) / n)
    return max(found)


def test_the_share_is_that_of_plain_loops(rng):
    Z = rng.normal(size=(200, 3))
    rest = 3 * Z[:, :1] * Z[:, 1:2] + rng.normal(size=(200, 1))
    assert share_missed(Z, rest) == pytest.approx(slow_share(Z, rest))
    assert share_missed(Z, rest) > 0.1


def test_a_checkerboard_is_missed_and_noise_is_not(rng):
    found = []
    for _ in range(20):
        Z = rng.normal(size=(1000, 8))
        noise = (0.2 + np.abs(Z[:, 2:3])) * rng.standard_t(4, size=(1000, 1))  # as wide as a column says
        found.append((share_missed(Z, 0.5 * noise + checkerboard(Z)), share_missed(Z, noise)))
    missed, none = np.array(found).T
    assert missed.min() > 0.03
    assert (none > 0).sum() <= 1


def test_of_a_group_one_row_counts(rng):
    groups = np.repeat(np.arange(100), 10)
    Z, rest = rng.normal(size=(100, 4))[groups], rng.normal(size=(100, 1))[groups]
    assert share_missed(Z, rest) > 0.2
    assert share_missed(Z, rest, groups) == 0


def test_one_column_is_enough(rng):
    Z = rng.normal(size=(400, 1))
    assert share_missed(Z, np.sign(Z) + rng.normal(size=(400, 1))) > 0.2
