"""Several trainings as one ranking: intervals by the formula, and what they must know of each other's rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t as student

import permgrad as pg
from permgrad.importance.recipe import DRAWS, average_trainings


def ranking(scores, **fields):
    return pg.FeatureRanking(("a", "b", "c"), np.array(scores, float), method="shapley", **fields)


def four(sign):
    """Four trainings: b is far below a, c a little above it, and goes with or against it."""
    return [
        ranking(
            [5 + each, 1 + 0.1 * i, 5.3 + sign * 0.9 * each],
            branch_weights={"tabular": 0.5 + 0.1 * i, "image": 0.5 - 0.1 * i},
            components={"first_in": ranking([i, 0, 0])},
            replicates=np.zeros((200, 3)),
            settings={"n_rows": 60, "branch_intervals": {"tabular": [0, 1]}},
        )
        for i, each in enumerate([-1, 0, 0.4, 0.6])
    ]


@pytest.fixture
def trainings():
    return four(1)


def test_intervals_are_those_of_nadeau_and_bengio(trainings):
    mean = average_trainings(trainings, n_train=180, n_test=60)
    scores = np.array([each.scores for each in trainings])
    error = np.sqrt((1 / 4 + 60 / 180) * scores.var(axis=0, ddof=1))
    np.testing.assert_allclose(mean.scores, scores.mean(axis=0))
    np.testing.assert_allclose(mean.high - mean.scores, student.ppf(0.975, 3) * error)
    np.testing.assert_allclose(mean.scores - mean.low, student.ppf(0.975, 3) * error)
    first = mean.components["first_in"]
    error = np.sqrt((1 / 4 + 60 / 180) * np.var([0, 1, 2, 3], ddof=1))
    assert first.high[0] - 1.5 == pytest.approx(student.ppf(0.975, 3) * error)
    low, high = mean.settings["branch_intervals"]["image"]
    assert (low + high) / 2 == pytest.approx(0.35)
    assert (high - low) / 2 == pytest.approx(0.1 * student.ppf(0.975, 3) * error)


def test_draws_have_the_corrected_covariance_and_students_tails(trainings, monkeypatch):
    monkeypatch.setattr("permgrad.importance.recipe.DRAWS", 200_000)
    many = [ranking(np.random.default_rng(i).multivariate_normal([0, 0, 0], np.eye(3) + 1)) for i in range(12)]
    mean = average_trainings(many, n_train=3, n_test=1)
    drawn = mean.replicates - mean.scores
    covariance = (1 / 12 + 1 / 3) * np.cov(np.array([each.scores for each in many]).T)
    np.testing.assert_allclose(np.cov(drawn.T), covariance * 11 / 9, atol=0.02)  # of t with 11 degrees: 11 / (11 - 2)
    np.testing.assert_allclose(np.quantile(drawn, 0.975, axis=0), mean.high - mean.scores, rtol=0.02)


def test_ranks_are_open_where_trainings_order_columns_differently():
    told, open_ = (average_trainings(four(sign), n_train=180, n_test=60) for sign in (1, -1))
    assert len(told.replicates) == DRAWS
    np.testing.assert_allclose(told.low, open_.low)
    assert told.low[2] < told.high[0]  # intervals overlap, and yet
    assert (told.rank_low.tolist(), told.rank_high.tolist()) == ([2, 3, 1], [2, 3, 1])
    assert (open_.rank_low.tolist(), open_.rank_high.tolist()) == ([1, 3, 1], [2, 3, 2])


def test_it_says_that_it_is_of_the_recipe(trainings):
    mean = average_trainings(trainings, n_train=180, n_test=60)
    assert mean.scope == "this recipe"
    assert trainings[0].scope == "this network"
    assert (mean.settings["trainings"], mean.settings["n_networks"], mean.settings["n_rows"]) == (4, 1, 60)
    assert pg.FeatureRanking.from_dict(mean.to_dict()).scope == "this recipe"


def test_one_training_shows_no_spread(trainings):
    with pytest.raises(pg.PermGradError, match="at least two trainings, got 1"):
        average_trainings(trainings[:1], n_train=3, n_test=1)
