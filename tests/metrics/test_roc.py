"""The area under the curve, beside counting pairs and DeLong's formulas as they stand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import permgrad as pg
from permgrad.metrics.roc import _delong


def plain(y, scores):
    """Areas and their covariance from the matrix of all pairs: 1 in order, 0.5 equal, 0 else."""
    psi = [
        np.array([[(p > n) + 0.5 * (p == n) for n in row[y == 0]] for p in row[y == 1]])
        for row in map(np.asarray, scores)
    ]
    areas = np.array([matrix.mean() for matrix in psi])
    m, n = psi[0].shape
    covariance = np.zeros((len(psi), len(psi)))
    for a in range(len(psi)):
        for b in range(len(psi)):
            rows = sum((psi[a][i].mean() - areas[a]) * (psi[b][i].mean() - areas[b]) for i in range(m)) / (m - 1)
            columns = sum((psi[a][:, j].mean() - areas[a]) * (psi[b][:, j].mean() - areas[b]) for j in range(n)) / (
                n - 1
            )
            covariance[a, b] = rows / m + columns / n
    return areas, covariance


def test_it_is_delongs(rng):
    y = (rng.random(60) < 0.4).astype(int)
    scores = [rng.normal(y, 1).round(1), rng.normal(0.5 * y, 1)]  # the first with ties
    areas, covariance, sizes = _delong(y, scores)
    expected, expected_covariance = plain(y, scores)
    np.testing.assert_allclose(areas, expected)
    np.testing.assert_allclose(covariance, expected_covariance)
    assert sizes == (y.sum(), (1 - y).sum())
    assert pg.auc_interval(y, scores[0]).auc == pytest.approx(roc_auc_score(y, scores[0]))


def test_intervals_cover(rng):
    """Of tables whose true area is known, about 95 % have it within their interval."""
    true = 0.7602  # P(N(1, 1) > N(0, 1)) = Φ(1 / √2)
    y = np.repeat([0, 1], [60, 30])
    areas = [pg.auc_interval(y, rng.normal(y, 1)) for _ in range(400)]
    assert 0.92 <= np.mean([one.low <= true <= one.high for one in areas]) <= 0.98


def test_a_difference_that_is_none_is_seldom_found(rng):
    y = np.repeat([0, 1], [60, 60])
    p = []
    for _ in range(300):
        common = rng.normal(y, 1)
        p.append(pg.compare_auc(y, common + rng.normal(0, 0.5, 120), common + rng.normal(0, 0.5, 120)).p)
    assert 0.02 <= np.mean(np.array(p) < 0.05) <= 0.09


def test_differences(rng):
    y = np.repeat([0, 1], 100)
    good, poor = rng.normal(2 * y, 1), rng.normal(0.2 * y, 1)
    compared = pg.compare_auc(y, good, poor)
    assert compared.difference == pytest.approx(roc_auc_score(y, good) - roc_auc_score(y, poor))
    assert compared.p < 1e-6
    assert compared.low > 0
    same = pg.compare_auc(y, good, good)
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_all_pairs_in_order():
    y = np.repeat([0, 1], 20)
    area = pg.auc_interval(y, y)
    assert area.auc == area.high == 1
    edge, error = 1 - 0.5 / 400, 1 / 400  # half a pair of 400 out of order, and one for the error
    log_odds = np.log(edge / (1 - edge)) - 1.96 * error / (edge * (1 - edge))
    assert area.low == pytest.approx(1 / (1 + np.exp(-log_odds)), abs=1e-4)
    assert pg.auc_interval(y, -y)[::2] == (0, pytest.approx(1 - area.low))


def test_scores_that_are_all_alike():
    """They tell nothing, and are not told to do so with certainty."""
    y = np.repeat([0, 1], [30, 20])
    area = pg.auc_interval(y, np.zeros(50))
    assert area.auc == 0.5
    chance = [pg.auc_interval(y, np.random.default_rng(random_state).random(50)) for random_state in range(50)]
    assert area.high - area.low == pytest.approx(np.mean([one.high - one.low for one in chance]), rel=0.1)
    few = pg.compare_auc([0, 0, 1, 1], [0, 0, 1, 1], np.zeros(4))
    assert few.difference == 0.5
    assert few.p > 0.05
    assert few.low < 0 < few.high


def test_bad_input():
    with pytest.raises(pg.PermGradError, match="at least two rows of each class"):
        pg.auc_interval([1, 1, 1, 0], [1, 2, 3, 4])
    with pytest.raises(pg.PermGradError, match="finite"):
        pg.auc_interval([1, 1, 0, 0], [1, 2, 3, np.nan])
    with pytest.raises(pg.PermGradError, match="a score is needed for each"):
        pg.auc_interval([1, 1, 0, 0], [1, 2, 3])
    with pytest.raises(pg.PermGradError, match="at least two rows of each class"):
        pg.auc_interval([1, 1, 0, 0, 2], [1, 2, 3, 4, 5])


def by_pairs(y, scores):
    return float(np.mean([(p > n) + 0.5 * (p == n) for p in scores[y == 1] for n in scores[y == 0]]))


def test_over_groups_by_drawing_rows_plainly(rng):
    """Whole groups, each as often as it is drawn, all pairs counted; scores with ties."""
    groups = np.repeat(np.arange(8), 5)
    y = (rng.random(40) < 0.5).astype(int)
    scores = (rng.normal(y, 1) + rng.normal(size=8)[groups]).round(1)
    found = pg.auc_interval(y, scores, groups=groups, n_replicates=400)
    draws, areas = np.random.default_rng(0), []
    while len(areas) < 400:
        rows = np.concatenate([np.flatnonzero(groups == group) for group in draws.integers(8, size=8)])
        if 0 < y[rows].mean() < 1:
            areas.append(by_pairs(y[rows], scores[rows]))
    np.testing.assert_allclose(found, (by_pairs(y, scores), *np.quantile(areas, [0.025, 0.975])))
    other = scores + rng.normal(size=40)
    difference = pg.compare_auc(y, scores, other, groups=groups, n_replicates=400)
    assert difference.difference == pytest.approx(by_pairs(y, scores) - by_pairs(y, other))
    assert difference.low < difference.difference < difference.high


def test_rows_of_one_slide_are_fewer_than_they_seem(rng):
    """Twenty slides of thirty patches that say what their slide says: the interval over patches misses the truth."""
    inside, truth = {"rows": 0, "groups": 0}, 0.5
    groups, of_slide = np.repeat(np.arange(20), 30), np.repeat([0, 1], 10)
    for _ in range(60):
        scores = rng.normal(size=20)[groups] + 0.1 * rng.normal(size=600)
        for way, given in {"rows": {}, "groups": {"groups": groups, "n_replicates": 200}}.items():
            area = pg.auc_interval(of_slide[groups], scores, **given)
            inside[way] += area.low <= truth <= area.high
    assert inside["rows"] < 30
    assert inside["groups"] >= 50


def test_a_group_for_each_row(rng):
    y, scores = np.array([0, 1, 0, 1]), np.arange(4.0)
    for groups, message in [([1, 2], "a group for each of 4 rows"), ([1, 2, 1, 2], "two groups with rows of each")]:
        with pytest.raises(pg.PermGradError, match=message):
            pg.auc_interval(y, scores, groups=groups)
