"""Rankings of several networks, averaged: by hand, and the spread that rows and networks give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import permgrad as pg


def ranking(scores, **fields):
    return pg.FeatureRanking(("a", "b"), np.array(scores, float), method="permutation", **fields)


def test_means_by_hand():
    by_class = [np.array([[1.0, 3.0], [0.0, 0.0]]), np.array([[3.0, 5.0], [2.0, 0.0]])]
    settings = [{"n_repeats": 5, "baseline_loss": loss} for loss in (0.1, 0.2)]
    parts = [
        ranking(
            scores,
            class_scores=of_class,
            classes=("x", "y"),
            p_values=p,
            branch_weights={"tabular": weight, "image": 1 - weight},
            settings=own,
        )
        for scores, of_class, p, weight, own in zip(
            ([2, 0], [4, 1]), by_class, ([0.1, 0.6], [0.3, 0.9]), (0.2, 0.6), settings, strict=True
        )
    ]
    mean = pg.average_rankings([replace(each, components={"permutation": each}) for each in parts], 0)
    assert mean.scores.tolist() == [3, 0.5]
    assert mean.class_scores.tolist() == [[2, 4], [1, 0]]
    np.testing.assert_allclose(mean.std, [np.sqrt(2), np.sqrt(0.5)])
    np.testing.assert_allclose(mean.p_values, [0.4, 1])
    assert mean.branch_weights == pytest.approx({"tabular": 0.4, "image": 0.6})
    assert mean.components["permutation"].scores.tolist() == [3, 0.5]
    assert mean.settings["agreement"] == {"permutation": pytest.approx(1)}
    assert (mean.settings["n_repeats"], mean.settings["n_networks"]) == (5, 2)
    assert "baseline_loss" not in mean.settings
    assert mean.low is None


def test_what_is_pending_once_is_pending_and_what_no_network_sees_is_unused():
    mean = pg.average_rankings([ranking([1, 0], pending=("b",)), ranking([1, 2], unused=("a",))], 0)
    assert (mean.pending, mean.unused) == (("b",), ())


def test_intervals_are_over_rows_and_networks(rng):
    """Rows move all networks by sd 1 together; three networks lie at -1, 0 and 1, so their mean has sd 1 / √3."""
    rows = rng.normal(size=(20_000, 1)).astype(np.float32)
    alone = [ranking([centre, 9], replicates=np.hstack([centre + rows, 9 + 0 * rows])) for centre in (-1, 0, 1)]
    mean = pg.average_rankings(alone, 0)
    assert mean.replicates[:, 0].std() == pytest.approx(np.sqrt(1 + 1 / 3), rel=0.02)
    np.testing.assert_allclose(
        [mean.low[0], mean.high[0]], np.quantile(mean.replicates[:, 0], [0.025, 0.975], method="weibull")
    )
    assert (mean.low[1], mean.high[1], mean.rank_high[1]) == (9, 9, 1)
    np.testing.assert_array_equal(pg.average_rankings(alone[:1], 0).replicates, alone[0].replicates)


def test_rankings_of_different_kinds_are_refused():
    with pytest.raises(pg.PermGradError, match="same method, got 'permgrad' and 'permutation'"):
        pg.average_rankings([ranking([1, 2]), replace(ranking([1, 2]), method="permgrad")], 0)
    with pytest.raises(pg.PermGradError, match="same features"):
        pg.average_rankings([ranking([1, 2]), replace(ranking([1, 2]), features=("a", "c"))], 0)
    with pytest.raises(pg.PermGradError, match="at least one ranking"):
        pg.average_rankings([], 0)


def test_losses_of_two_kinds_have_no_mean():
    pair = [ranking([1, 2], settings={"loss": loss}) for loss in ("log loss", "squared error")]
    with pytest.raises(pg.PermGradError, match="the same loss, got 'log loss' and 'squared error'"):
        pg.average_rankings(pair, 0)
