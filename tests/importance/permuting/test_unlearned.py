"""Whether a regression has missed something: cells of two columns against their slow reference, and planted ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from permgrad.importance.permuting._unlearned import share_missed


def checkerboard(X):
    return (np.floor(X[:, :1] / 0.9) + np.floor(X[:, 1:2] / 0.9)) % 2 - 0.5


def slow_share(Z, rest):
    n, d, found = len(Z), Z.shape[1], [0.0]
    sets = [(6, a, b) for a in range(d) for b in range(a)] + [
        (3, a, b, c) for a in range(d) for b in range(a) for c in range(b)
    ]
    for number, *columns in sets:
        inside = {}
        for row in range(n):
            below = [sum(Z[other, column] < Z[row, column] for other in range(n)) for column in columns]
            inside.setdefault(tuple(int((each + 0.5) * number / n) for each in below), []).append(rest[row, 0])
        mean = sum(each**2 for each in rest[:, 0]) / n
        statistic = sum(
            sum(left) ** 2 / max(sum(each**2 for each in left), mean * len(left)) for left in inside.values()
        )
        if chi2.sf(statistic, len(inside)) <= 0.001 / len(sets):
            found.append((statistic - len(inside)) / n)
    return max(found)


@pytest.mark.parametrize("product_of", [2, 3])
def test_the_share_is_that_of_plain_loops(product_of, rng):
    Z = rng.normal(size=(200, 4))
    rest = 3 * np.sign(Z[:, :product_of].prod(axis=1, keepdims=True)) + rng.normal(size=(200, 1))
    assert share_missed(Z, rest) == pytest.approx(slow_share(Z, rest))
    assert share_missed(Z, rest) > 0.1


def test_a_checkerboard_is_missed_and_noise_is_not(rng):
    found = []
    for _ in range(20):
        Z = rng.normal(size=(1000, 8))
        noise = (0.2 + np.abs(Z[:, 2:3])) * rng.standard_t(4, size=(1000, 1))  # as wide as a column says
        rare = (rng.random((1000, 1)) < 0.05) - 0.05
        found.append([share_missed(Z, rest) for rest in (0.5 * noise + checkerboard(Z), noise, rare)])
    missed, *none = np.array(found).T
    assert missed.min() > 0.03
    assert (np.array(none) > 0).sum() <= 1


def test_of_a_group_one_row_counts(rng):
    groups = np.repeat(np.arange(100), 10)
    Z, rest = rng.normal(size=(100, 4))[groups], rng.normal(size=(100, 1))[groups]
    assert share_missed(Z, rest) > 0.2
    assert share_missed(Z, rest, groups) == 0


def test_one_column_is_enough(rng):
    Z = rng.normal(size=(400, 1))
    assert share_missed(Z, np.sign(Z) + rng.normal(size=(400, 1))) > 0.2
