"""Tests of single features and of pairs: what is planted is found, noise is not, and a slow reference agrees."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import beta

import permgrad as pg
from permgrad.data.toy.problems import CUTS, RING_RADIUS
from permgrad.estimators import _unexplained as tests
from permgrad.estimators._unexplained import likely_pairs, p_value, pair_p_value, unexplained, waves


def test_a_ring_is_found_in_what_a_xor_and_a_sum_leave():
    """Of the target itself, the tests find the four other columns alone; the ring is a small share of its variance."""
    table = pg.toy.ring_xor_sum(800, 64, random_state=102)
    at = [table.X.columns.get_loc(name) for name in table.notes["relevant"]]
    X, y = table.X.to_numpy(), np.asarray(table.y, float)
    functions, none = waves(X, np.arange(64)), np.zeros(64, bool)
    found = unexplained(y[:, None], functions, none)
    assert set(np.flatnonzero(found)) == set(at[2:])
    a, b = X[:, at[2:4]].T
    others = ((a - 0.5) * (0.5 - b) >= CUTS["balanced"][3].xor) | (X[:, at[4:]].sum(axis=1) >= 1.4)
    left = y - np.where(others, y[others].mean(), y[~others].mean())
    assert set(np.flatnonzero(unexplained(left[:, None], functions, found))) == set(at[:2])
    radius = np.hypot(*(X[:, at[:2]] - 0.5).T)
    ring = np.abs(radius - RING_RADIUS) <= CUTS["balanced"][3].ring
    left[~others] -= np.where(ring, left[~others & ring].mean(), left[~others & ~ring].mean())[~others]
    assert not unexplained(left[:, None], functions, found).any()


def test_known_features_are_partners_of_others_but_are_not_found(rng):
    """Features 1 and 4 tell something together; also of one of several outputs."""
    X = rng.random((400, 12))
    residuals = rng.normal(size=(400, 3))
    residuals[:, 1] += 3 * np.sign((X[:, 1] - 0.5) * (X[:, 4] - 0.5))
    functions = waves(X, np.arange(12))
    for known, expected in (([], [1, 4]), ([1], [4]), ([1, 4], []), (range(12), [])):
        found = unexplained(residuals, functions, np.isin(np.arange(12), list(known)))
        assert np.flatnonzero(found).tolist() == expected


def test_waves_are_orthonormal_and_as_many_as_values_allow(rng):
    """Features: a number, one of two values, a constant, a category of three in two columns and its rest."""
    n = 90
    kind = np.eye(3)[rng.integers(0, 3, n)]
    X = np.column_stack([rng.normal(size=n) ** 3, rng.integers(0, 2, n), np.ones(n), kind])
    found = waves(X, np.array([0, 1, 2, 3, 3, 3]))
    assert found.shape == (4, n, tests.WAVES)
    for functions, count in zip(found, (4, 1, 0, 2), strict=True):
        np.testing.assert_allclose(functions.T @ functions, np.diag(np.arange(4) < count), atol=1e-9)
        np.testing.assert_allclose(functions.sum(axis=0), 0, atol=1e-9)
    ranks = (np.argsort(np.argsort(X[:, 0])) + 0.5) / n
    cosines = np.cos(np.pi * np.outer(ranks, [1, 2, 3, 4]))
    np.testing.assert_allclose(found[0] @ (found[0].T @ cosines), cosines - cosines.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(waves(np.exp(X[:, :1]), np.zeros(1, int)), found[:1], atol=1e-9)  # ranks alone


def test_a_p_value_is_that_of_a_regression_of_ones_on_scores(rng):
    residual, functions = rng.normal(size=300), rng.normal(size=(300, 5))
    functions[:, 4] = functions[:, 0] - functions[:, 1]  # four directions
    scores = np.array([residual[row] * functions[row] for row in range(300)])
    fitted = scores @ np.linalg.lstsq(scores, np.ones(300), rcond=None)[0]
    share = 1 - ((1 - fitted) ** 2).sum() / 300
    assert p_value(residual, functions) == pytest.approx(beta.sf(share, 2, 148), rel=1e-6)
    assert p_value(residual, np.zeros((300, 4))) == 1
    assert p_value(np.zeros(300), functions) == 1


@pytest.mark.parametrize("varies", [False, True], ids=["alike", "uneven"])
def test_p_values_of_noise_are_not_too_small(varies, rng):
    """Also where the residuals' spread depends on a feature: 300 tables, of which 15 should be at most 0.05."""
    single, paired = [], []
    for _ in range(300):
        X = rng.random((300, 2))
        functions = waves(X, np.arange(2))
        residual = rng.normal(size=300) * (0.1 + 2 * (X[:, 0] > 0.7) if varies else 1)
        residual -= residual.mean()
        single.append(p_value(residual, functions[0]))
        paired.append(pair_p_value(residual, *functions))
    for found in (single, paired):
        assert (np.array(found) <= 0.05).sum() <= 27  # more have a chance of 0.002


def test_a_pair_is_what_two_features_say_beyond_their_sum(rng):
    """Of features that depend on each other, whose product says much of what each says alone."""
    X = rng.random((400, 1)) + 0.3 * rng.random((400, 2))
    functions, noise = waves(X, np.arange(2)), rng.normal(size=400)
    one, other = functions * np.sqrt(400)
    assert pair_p_value(noise + 3 * (one[:, 1] - other[:, 1]) + 3 * one[:, 3], *functions) > 0.01
    assert pair_p_value(noise + 3 * one[:, 1] * other[:, 1], *functions) < 1e-6


def test_likely_pairs_are_those_of_the_largest_products(rng, monkeypatch):
    monkeypatch.setattr(tests, "MOST_PAIRS", 7)
    functions, residual = waves(rng.normal(size=(60, 6)), np.arange(6)), rng.normal(size=60)
    known = np.array([True, False, True, False, False, False])
    strength = {}
    for one, other in itertools.combinations(range(6), 2):
        if not (known[one] and known[other]):
            products = [residual * a * b for a in functions[one].T for b in functions[other].T]
            strength[one, other] = sum(product.sum() ** 2 / (product**2).sum() for product in products)
    expected = sorted(strength, key=strength.get, reverse=True)[:7]
    assert [tuple(pair) for pair in likely_pairs(residual, functions, known).tolist()] == expected
    assert len(likely_pairs(residual, functions, np.ones(6, bool))) == 0
