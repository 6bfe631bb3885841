from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import permgrad as pg
from permgrad.evaluation.comparison import corrected_t_test, holm


def test_corrected_t_by_hand():
    """Differences 1, 2, 3: mean 2, variance 1; 1/3 + 0.2/0.8 = 7/12, so t = 2 / sqrt(7/12) with 2 degrees."""
    p = corrected_t_test(np.array([1.0, 2.0, 3.0]), 0.2)
    assert p == pytest.approx(2 * stats.t.sf(2 / np.sqrt(7 / 12), 2))
    compared = pg.compare_models({"a": [2.0, 4.0, 6.0], "b": [1.0, 2.0, 3.0]}, test_share=0.2)
    margin = stats.t.ppf(0.975, 2) * np.sqrt(7 / 12)
    row = compared.pairs.iloc[0]
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((2, 2 - margin, 2 + margin))
    assert row["p"] == pytest.approx(p)
    assert compared.summary["mean"].tolist() == [4, 2]
    assert compared.summary["high"][1] - 2 == pytest.approx(margin)


def test_without_shared_rows_it_is_the_paired_t_test(rng):
    a, b = rng.normal(size=(2, 12))
    assert corrected_t_test(a - b, 1e-12) == pytest.approx(stats.ttest_rel(a, b).pvalue)


def test_holm_by_hand():
    np.testing.assert_allclose(holm(np.array([0.04, 0.01, 0.03])), [0.06, 0.03, 0.06])
    np.testing.assert_allclose(holm(np.array([0.9, 0.8])), [1, 1])


def test_verdicts(rng):
    noise = rng.normal(0, 0.01, size=(3, 15))
    compared = pg.compare_models({"a": 0.9 + noise[0], "b": 0.9 + noise[1], "c": 0.7 + noise[2]}, test_share=0.2)
    verdicts = compared.pairs.set_index(["first", "second"])["verdict"]
    assert verdicts["a", "b"] == "within noise"
    assert verdicts["a", "c"] == "a is higher"
    only = pg.compare_models({"a": noise[0], "c": noise[2] + 1}, test_share=0.2, pairs=[("a", "c")])
    assert only.pairs["verdict"].tolist() == ["c is higher"]
    assert "1 of 3 differences within noise" in repr(compared)


def test_a_difference_that_only_the_number_of_pairs_makes_noise(rng):
    scores = {name: rng.normal(0, 1, 10) for name in "abcdefg"}
    scores["h"] = scores["a"] + 1 + rng.normal(0, 0.9, 10)
    pairs = pg.compare_models(scores, test_share=0.2).pairs.set_index(["first", "second"])
    assert pairs.loc[("a", "h"), "p"] < 0.05 < pairs.loc[("a", "h"), "p_adjusted"]
    assert pairs.loc[("a", "h"), "verdict"] == "h may be higher"


def test_the_correction_holds_its_level_where_the_plain_test_does_not(rng):
    """Two equal models whose scores over 10 splits share half their noise with all others, as shared rows make them."""
    false = np.zeros(2)
    for _ in range(400):
        differences = rng.normal(size=10) * np.sqrt(0.8) + rng.normal() * np.sqrt(0.2)
        false += [corrected_t_test(differences, 0.2) < 0.05, stats.ttest_1samp(differences, 0).pvalue < 0.05]
    assert false[0] / 400 < 0.08
    assert false[1] / 400 > 0.12


def test_equal_scores_are_within_noise():
    compared = pg.compare_models({"a": [0.9, 0.8], "b": [0.9, 0.8]}, test_share=0.5)
    assert compared.pairs["p"].tolist() == [1]


def test_an_interval_ends_at_the_scores_bounds():
    scores = {"a": [1.0, 0.9, 1.0], "b": [0.1, 0.0, 0.0]}
    free = pg.compare_models(scores, test_share=0.2)
    assert free.summary["high"][0] > 1
    assert free.summary["low"][1] < 0
    bounded = pg.compare_models(scores, test_share=0.2, bounds=(0, 1))
    assert (bounded.summary["high"][0], bounded.summary["low"][1]) == (1, 0)
    assert bounded.summary[["mean", "splits"]].equals(free.summary[["mean", "splits"]])
    assert bounded.pairs.equals(free.pairs)
    with pytest.raises(pg.PermGradError, match=r"within the bounds \(0, 0.95\), those of 'a' are not"):
        pg.compare_models(scores, test_share=0.2, bounds=(0, 0.95))


@pytest.mark.parametrize(
    ("scores", "share", "message"),
    [
        ({"a": [1, 2]}, 0.2, "at least two models"),
        ({"a": [1, 2], "b": [1]}, 0.2, "for each of the same splits"),
        ({"a": [1], "b": [1]}, 0.2, "two at least"),
        ({"a": [1, np.nan], "b": [1, 2]}, 0.2, "those of 'a' are not"),
        ({"a": [1, 2], "b": [1, 2]}, 1.0, "test_share and level must be between 0 and 1"),
    ],
)
def test_errors(scores, share, message):
    with pytest.raises(pg.PermGradError, match=message):
        pg.compare_models(scores, test_share=share)


def test_unknown_pair():
    with pytest.raises(pg.PermGradError, match=r"without scores: \['z'\]"):
        pg.compare_models({"a": [1, 2], "b": [1, 3]}, test_share=0.2, pairs=[("a", "z")])
