"""Whether a regression has missed something: rows beside each other, against plain loops; planted ties."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from permgrad.importance.permuting import _unlearned
from permgrad.importance.permuting._unlearned import share_missed


def checkerboard(X):
    return (np.floor(X[:, :1] / 0.9) + np.floor(X[:, 1:2] / 0.9)) % 2 - 0.5


def slow_share(Z, rest):
    (n, d), r, found = Z.shape, rest[:, 0], [0.0]
    below = np.array([[sum(Z[other, j] < Z[row, j] for other in range(n)) + 0.5 for j in range(d)] for row in range(n)])
    sets = [(a, b) for a in range(d) for b in range(a)] + [
        (a, b, c) for a in range(d) for b in range(a) for c in range(b)
    ]
    scores = norm.ppf(below / n)
    for columns in sets:
        weight = np.zeros((n, n))
        for row in range(n):
            far = np.sqrt(((scores[:, columns] - scores[row, columns]) ** 2).sum(axis=1))
            weight[row, np.argsort(far)[1:4]] = 1 / 3
        variance = sum(((weight[i, j] + weight[j, i]) * r[i] * r[j]) ** 2 for i in range(n) for j in range(i))
        if norm.sf(r @ weight @ r / np.sqrt(variance)) < 0.001 / len(sets):
            found.append(r @ weight @ r / (r @ r))
    return max(found)


@pytest.mark.parametrize("product_of", [2, 3])
def test_the_share_is_that_of_plain_loops(product_of, rng):
    Z = rng.normal(size=(150, 4))
    rest = 3 * np.sign(Z[:, :product_of].prod(axis=1, keepdims=True)) + rng.normal(size=(150, 1))
    assert share_missed(Z, rest) == pytest.approx(slow_share(Z, rest))
    assert share_missed(Z, rest) > 0.1


@pytest.mark.parametrize(
    "tie",
    [
        checkerboard,
        lambda X: np.floor(X[:, :1] + 0.7 * X[:, 1:2]) % 2 - 0.5,  # oblique stripes
        lambda X: (X[:, :1] + 0.5 * X[:, 1:2]) % 1 - 0.5,  # a sawtooth
        lambda X: np.floor(X[:, :1] ** 2 + X[:, 1:2] ** 2) % 2 - 0.5,  # rings
        lambda X: np.sign(X[:, :3].prod(axis=1, keepdims=True)),
    ],
)
def test_a_tie_of_two_columns_or_three_is_seen_though_cells_hold_several_steps(tie, rng):
    Z = rng.normal(size=(500, 8))
    known = tie(Z)
    share = share_missed(Z, known + known.std() * rng.normal(size=(500, 1)))
    assert 0.15 < share < 0.5  # half of it at most


def test_rounding_is_seen_by_a_prediction_and_not_by_the_columns(rng):
    Z = rng.normal(size=(500, 6))
    told = Z[:, :3].sum(axis=1, keepdims=True)
    rest = 2 * (np.round(told) - told) + 0.5 * rng.normal(size=(500, 1))
    assert share_missed(Z, rest) == 0
    assert share_missed(Z, rest, None, [Z[:, 3:4], told + 0.02 * rng.normal(size=(500, 1))]) > 0.2


def test_a_share_that_chance_explains_among_many_columns_is_told_by_a_place_that_is_given(rng):
    Z, four = rng.normal(size=(400, 5)), rng.normal(size=(400, 4))
    rest = np.sign(four.prod(axis=1, keepdims=True)) + rng.normal(size=(400, 1))
    scores = norm.ppf((np.argsort(np.argsort(four, axis=0), axis=0) + 0.5) / 400)
    share = _unlearned._shares(scores, rest, 0.0)[0]
    assert share > 0.05
    assert share_missed(Z, rest, None, [four]) == pytest.approx(share)
    assert share_missed(Z, rest, None, [four] * 300) == share_missed(np.hstack([Z, four]), rest) == 0


def test_noise_is_not_missed(rng):
    found = []
    for _ in range(6):
        Z = rng.normal(size=(600, 8))
        Z[:, 5] = rng.integers(0, 3, size=600)  # rows at one place
        noise = (0.2 + np.abs(Z[:, 2:3])) * rng.standard_t(4, size=(600, 1))  # as wide as a column says
        rare = (rng.random((600, 1)) < 0.05) - 0.05
        found.append([share_missed(Z, rest) for rest in (noise, rare)])
    assert (np.array(found) > 0).sum() <= 1


def test_of_a_group_one_row_counts(rng):
    groups = np.repeat(np.arange(100), 10)
    Z, rest = rng.normal(size=(100, 4))[groups], rng.normal(size=(100, 1))[groups]
    assert share_missed(Z, rest) > 0.2
    assert share_missed(Z, rest, groups) == 0


def test_one_column_is_enough(rng):
    Z = rng.normal(size=(400, 1))
    assert share_missed(Z, np.sign(Z) + rng.normal(size=(400, 1))) > 0.2


def test_of_many_rows_some_are_looked_at(rng):
    Z = rng.normal(size=(6000, 2))
    rest = checkerboard(Z)
    rest[np.linspace(0, 5999, 2000).astype(int)] = rng.normal(size=(2000, 1))
    assert share_missed(Z, rest) == 0
    assert share_missed(Z, rest[:, [0, 0]] * [1, 0]) == 0  # nothing left of a target
