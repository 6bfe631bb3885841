from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.evaluation.stability import bootstrap, nogueira, reseeded
from permgrad.evaluation.time_limit import TimeLimit


def ranking(scores, **keywords) -> pg.FeatureRanking:
    return pg.FeatureRanking(tuple(f"f{i}" for i in range(len(scores))), np.array(scores, float), **keywords)


def literal(chosen: np.ndarray) -> tuple[float, float]:
    """Definition 4 and theorem 7 of Nogueira, Sechidis & Brown, written out in loops."""
    m, d = chosen.shape
    p = [sum(chosen[i, f] for i in range(m)) / m for f in range(d)]
    k = [sum(chosen[i, f] for f in range(d)) for i in range(m)]
    k_mean = sum(k) / m
    chance = (k_mean / d) * (1 - k_mean / d)
    phi = 1 - (1 / d) * sum(m / (m - 1) * p[f] * (1 - p[f]) for f in range(d)) / chance
    each = []
    for i in range(m):
        together = (1 / d) * sum(chosen[i, f] * p[f] for f in range(d))
        each.append(
            (1 / chance)
            * (together - k[i] * k_mean / d**2 + phi / 2 * (2 * k_mean * k[i] / d**2 - k[i] / d - k_mean / d + 1))
        )
    mean = sum(each) / m
    return phi, 4 / m**2 * sum((one - mean) ** 2 for one in each)


def test_index_by_hand():
    """{0, 1} and {0, 2} of four: p = 1, ½, ½, 0; unbiased variances 0, ½, ½, 0; by chance ¼: 1 - ¼ / ¼."""
    assert nogueira(np.array([[1, 1, 0, 0], [1, 0, 1, 0]]))[0] == pytest.approx(0)
    assert nogueira(np.array([[1, 1, 0, 0], [0, 0, 1, 1]]))[0] == pytest.approx(-1)


def test_equal_choices_are_stable():
    index, variance = nogueira(np.tile([True, False, False, True, False], (7, 1)))
    assert index == 1
    assert variance == pytest.approx(0, abs=1e-30)


def test_against_the_formula_written_out(rng):
    for _ in range(20):
        chosen = rng.random((rng.integers(2, 9), rng.integers(3, 12))) < 0.4
        chosen[0, 0], chosen[0, 1] = True, False
        assert nogueira(chosen) == pytest.approx(literal(chosen))


def test_random_choices_and_the_variance_theorem(rng):
    """Over many simulated studies: mean index 0, and the estimated variance is the variance of the index."""
    indices = []
    for _ in range(200):
        chosen = np.zeros((30, 12), bool)
        for row in chosen:
            row[rng.choice(12, 4, replace=False)] = True
        indices.append(nogueira(chosen))
    index, variance = np.array(indices).T
    assert abs(index.mean()) < 0.02
    chosen = [rng.random((60, 12)) < np.linspace(0.1, 0.9, 12) for _ in range(400)]
    index, variance = np.array([nogueira(one) for one in chosen]).T
    assert variance.mean() == pytest.approx(index.var(), rel=0.2)


def test_places_and_overlap_by_hand():
    stable = pg.rank_stability([ranking([4, 3, 2, 1]), ranking([4, 3, 1, 2]), ranking([1, 3, 4, 2])])
    assert stable.k == 2
    table = stable.table.set_index("feature")
    assert table.loc["f0", ["mean_rank", "min", "max", "top_share"]].tolist() == [2, 1, 4, 2 / 3]
    assert table.loc["f0", "sd"] == pytest.approx(np.sqrt(3))
    assert stable.overlap == pytest.approx((1 + 1 / 3 + 1 / 3) / 3)
    a, b, c = [1, 2, 3, 4], [1, 2, 4, 3], [4, 2, 1, 3]
    pairs = [pd.Series(x).corr(pd.Series(y), method="spearman") for x, y in ((a, b), (a, c), (b, c))]
    assert stable.spearman == pytest.approx(np.mean(pairs))
    low, high = stable.nogueira_interval
    assert (low + high) / 2 == pytest.approx(stable.nogueira)
    assert type(stable).from_dict(stable.to_dict()) == stable


def test_ties_share_a_place_and_what_was_not_seen_comes_last():
    stable = pg.rank_stability([ranking([0, 5, 5, -1], unused=("f1",), pending=("f0",)), ranking([1, 1, 1, 1])], k=1)
    np.testing.assert_array_equal(stable.ranks, [[3, 4, 1, 2], [2.5, 2.5, 2.5, 2.5]])
    np.testing.assert_array_equal(stable.chosen, [[0, 0, 1, 0], [1, 0, 0, 0]])


def test_bad_input():
    with pytest.raises(pg.PermGradError, match="at least two rankings, got 1"):
        pg.rank_stability([ranking([1, 2])])
    with pytest.raises(pg.PermGradError, match="same features"):
        pg.rank_stability([ranking([1, 2]), ranking([1, 2, 3])])
    with pytest.raises(pg.PermGradError, match="less than the number of features, 2, got 2"):
        pg.rank_stability([ranking([1, 2]), ranking([2, 1])], k=2)


def test_bootstrap_keeps_classes_and_repeats_rows(rng):
    table = pg.Table(np.arange(200.0)[:, None], ["rare"] * 3 + ["common"] * 197)
    drawn = bootstrap(table, rng)
    assert drawn.y.value_counts().to_dict() == {"common": 197, "rare": 3}
    assert 100 < drawn.X["x0"].nunique() < 150  # 1 - 1/e of 200 expected
    number = pg.Table(np.arange(200.0)[:, None], np.linspace(0, 1, 200) ** 2, task="regression")
    assert 100 < bootstrap(number, rng).X["x0"].nunique() < 150


def test_trained_again_on_rows_and_on_resampled_ones(mixed_fit, monkeypatch):
    """What is trained on is asserted, and not trained: each network is the one that is known."""
    rows, seeds = [], []

    def refit(explained, estimator, train, validation_data=None, **settings):
        rows.append(train.X["dose"].nunique())
        seeds.append(settings["random_state"])
        return mixed_fit.estimator

    monkeypatch.setattr(type(mixed_fit), "refit", refit)
    stable = reseeded(mixed_fit, 2, TimeLimit())
    assert rows[:2] == [350, 350]
    assert max(rows[2:]) < 250
    assert len(set(seeds)) == 4
    assert set(stable) == {"seeds", "bootstrap rows"}
    for parts in stable.values():
        assert set(parts) >= {"permgrad", "permutation", "end_to_end"}
        assert set(parts["permutation"].table["feature"][:2]) == {"dose", "colour"}


def test_columns_that_never_vary_are_no_stability(rng):
    some = [pg.FeatureRanking(tuple("abcd"), rng.random(4)) for _ in range(5)]
    padded = [ranking.with_unused(tuple("abcdwxyz")) for ranking in some]
    assert pg.rank_stability(padded) == pg.rank_stability(some)


def test_groups_are_drawn_whole(rng):
    """Each drawn group comes with all of its rows, and no class is lost."""
    groups = np.repeat(np.arange(20), 4)
    y = np.where(groups < 3, "rare", "common")
    table = pg.Table(pd.DataFrame({"a": np.arange(80.0)}), y, groups=groups)
    drawn = bootstrap(table, rng)
    times = np.bincount(drawn.X["a"].astype(int), minlength=80).reshape(20, 4)
    assert (times == times[:, :1]).all()
    assert times[:3, 0].sum() == 3
    assert times[:, 0].sum() == 20
    assert times.max() > 1
    mixed = pg.Table(table.X, np.where(np.arange(80) % 4, "a", "b"), groups=groups)
    assert set(bootstrap(mixed, rng).y) == {"a", "b"}
