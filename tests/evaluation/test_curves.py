from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.evaluation._replacing import _Nearest, replacers
from permgrad.evaluation.curves import deletion_curves
from permgrad.evaluation.time_limit import TimeLimit
from tests.evaluation.conftest import planted_case


def orders(planted) -> dict[str, pg.FeatureRanking]:
    size = np.abs(planted.weights)
    names = planted.explained.ranking.features
    chance = np.array([3.0, 1, 6, 2, 4, 5])
    return {
        name: pg.FeatureRanking(names, scores)
        for name, scores in (("true", size), ("chance", chance), ("worst", -size))
    }


@pytest.fixture(scope="module")
def measured(planted):
    return deletion_curves(planted.explained, orders(planted), TimeLimit())


def by_hand(planted, replaced: list[int], fill: np.ndarray) -> float:
    """Loss of the linear network, this columns' values replaced."""
    explained = planted.explained
    X = explained.test.X.to_numpy().copy()
    X[:, replaced] = fill[replaced]
    return np.mean((X @ planted.weights - explained.test.y) ** 2) / np.var(explained.train.y)


def test_deletion_and_insertion_by_hand(planted, measured):
    curves, *_ = measured
    X = planted.explained.train.X.to_numpy()
    fill = X.mean(axis=0)
    best_first = np.argsort(-np.abs(planted.weights), kind="stable")
    order = {"most": best_first, "least": best_first[::-1]}
    rows = curves[(curves["ranking"] == "true") & (curves["replacement"] == "mean")]
    assert len(rows) == 4 * 7
    for row in rows.itertuples():
        changed = order[row.order][: row.k]
        replaced = changed if row.curve == "deletion" else np.setdiff1d(best_first, changed)
        expected = by_hand(planted, list(replaced), fill)
        assert row.loss == pytest.approx(expected, rel=1e-4, abs=1e-6)
        ratio = np.var(planted.explained.train.y) / np.var(planted.explained.test.y)
        assert row.score == pytest.approx(1 - expected * ratio, abs=1e-4)


def test_marginal_replacement_adds_twice_the_variance(planted, measured):
    """Of independent columns: E (x - x')² = 2 var x, times the squared weight."""
    curves, *_ = measured
    most = curves.query("ranking == 'true' and replacement == 'marginal' and curve == 'deletion' and order == 'most'")
    added = 2 * np.sort(planted.weights**2)[::-1].cumsum() * 49 / 12 / np.var(planted.explained.train.y)
    np.testing.assert_allclose(most["loss"].to_numpy()[1:], added, rtol=0.2)


def test_the_true_order_beats_chance_and_chance_the_worst(measured):
    areas = measured[1].set_index(["replacement", "ranking"])["difference"]
    for replacement in ("mean", "marginal", "conditional"):
        own = areas[replacement]
        assert own["true"] > own["chance"] > own["worst"]
        if replacement != "conditional":  # there, equal columns in another order are the same state too
            assert own["worst"] == pytest.approx(-own["true"], rel=1e-6)


def test_another_order_is_better_where_a_paired_test_over_rows_says_so(planted):
    """Of two orders that differ in the place of a column without weight, neither is better."""
    named = {**orders(planted), "alike": pg.FeatureRanking(tuple("abcdef"), np.array([2, 5.0, 0.5, 4, 3, 1]))}
    for first, better in (("worst", {"true", "chance", "alike"}), ("true", set())):
        given = {first: named[first], **named}
        _, areas, _ = deletion_curves(planted.explained, given, TimeLimit(), replacements=("mean",), n_points=7)
        p = areas.set_index("ranking")["better_p"]
        assert p[first] == 1
        assert set(p.index[p < 0.05]) == better


def test_random_orders_make_a_band_that_the_true_order_is_above(measured):
    _, areas, chance = measured
    own = areas.query("ranking == 'true'").set_index("replacement")["difference"]
    for row in chance.itertuples():
        assert row.low < 0 < row.high < own[row.replacement]
        assert abs(row.mean) < row.high


def test_areas_by_hand(planted, measured):
    curves, areas, _ = measured
    row = areas.query("ranking == 'chance' and replacement == 'mean'").iloc[0]
    part = curves.query("ranking == 'chance' and replacement == 'mean' and curve == 'deletion'")
    area = {}
    for order, of_order in part.groupby("order"):
        losses = of_order["loss"].to_numpy()
        area[order] = sum((losses[i] + losses[i + 1]) / 2 / 6 for i in range(6))
    assert row["deletion_most"] == pytest.approx(area["most"])
    assert row["difference"] == pytest.approx(area["most"] - area["least"])
    grown = part.query("k == 6")["loss"].iloc[0] - part.query("k == 0")["loss"].iloc[0]
    assert row["normalised"] == pytest.approx((area["most"] - area["least"]) / grown)


def test_conditional_replacement_of_a_twin_changes_nothing():
    rng = np.random.default_rng(2)
    x = rng.normal(size=1500)
    X = pd.DataFrame({"twin": x, "used": x, "other": rng.normal(size=1500)})
    explained = planted_case(X, np.array([0.0, 2.0, 0.0]), 1200)
    used_first = {"used": pg.FeatureRanking(tuple(X), np.array([0.0, 2.0, 1.0]))}
    curves, *_ = deletion_curves(explained, used_first, TimeLimit(), replacements=("marginal", "conditional"))
    losses = curves.query("curve == 'deletion' and order == 'most'").set_index(["replacement", "k"])["loss"]
    assert losses["conditional", 1] < 0.02
    assert losses["marginal", 1] > 1.5
    assert losses["conditional", 3] > 1.5  # nothing is kept: any row


def test_rows_with_equal_kept_values_are_equally_likely_donors():
    """Neighbours are not the first of many equal ones: each half of the donors gives about half."""
    rng = np.random.default_rng(3)
    X = pd.DataFrame({"flag": np.tile([0.0, 1.0], 500), "number": np.arange(1000.0)})
    X.loc[800:, "number"] = rng.normal(size=200)
    explained = planted_case(X, np.array([1.0, 1.0]), 800)
    taken = replacers(explained, explained.test_rows, 3)["conditional"](np.array([1]))
    np.testing.assert_array_equal(taken[..., 0], np.broadcast_to(explained.test_rows[:, 0], (3, 200)))
    given = taken[..., 1]
    assert set((given % 2 == taken[..., 0]).ravel()) == {True}  # a donor with the same flag
    assert 0.4 < (given < 400).mean() < 0.6
    assert len(np.unique(given)) > 250


@pytest.mark.slow
def test_a_number_with_gaps_weighs_as_much_as_another_whatever_its_unit(mixed_fit):
    """Each column of the table has variance 1 in all, the number and its 0/1 column alike."""
    explained = mixed_fit
    train = explained.train_rows.copy()
    number, gaps = explained.groups["age"]
    train[:, number] *= 1e-4
    near = _Nearest(
        SimpleNamespace(groups=explained.groups, n_numbers=explained.n_numbers, random_state=0), train, train, 1
    )
    variances = near.scaled_donors.astype(float).var(axis=0)
    for at in explained.groups.values():
        assert variances[at].sum() == pytest.approx(1, rel=1e-3)
    assert variances[number] == pytest.approx(variances[gaps], rel=1e-3)


def test_replaced_columns_come_from_one_row_and_a_category_stays_whole(mixed_fit):
    explained = mixed_fit
    at = np.concatenate([explained.groups["colour"], explained.groups["dose"]])
    pairs = {tuple(row) for row in explained.train_rows[:, at]}
    for way in ("marginal", "conditional"):
        replaced = replacers(explained, explained.test_rows, 2)[way](at)
        kept = np.setdiff1d(np.arange(replaced.shape[-1]), at)
        np.testing.assert_array_equal(
            replaced[:, :, kept],
            np.broadcast_to(explained.test_rows[:, kept], (2, *explained.test_rows[:, kept].shape)),
        )
        assert {tuple(row) for row in replaced[..., at].reshape(-1, len(at))} <= pairs


def test_wide_tables_have_few_points(planted):
    curves, *_ = deletion_curves(planted.explained, orders(planted), TimeLimit(), replacements=("mean",), n_points=3)
    assert sorted(curves["k"].unique()) == [0, 3, 6]


def test_bad_settings(planted):
    for settings in ({"replacements": ("median",)}, {"n_draws": 9}, {"n_points": 1}):
        with pytest.raises(pg.PermGradError, match="expected replacements among"):
            deletion_curves(planted.explained, orders(planted), TimeLimit(), **settings)
