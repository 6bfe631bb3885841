from __future__ import annotations

from unittest import mock

import numpy as np
import pytest

from permgrad.evaluation.baselines import BASELINES, LEAVES, TREES, baseline_rankings
from permgrad.evaluation.time_limit import TimeLimit


@pytest.fixture(scope="module")
def rankings(mixed_fit):
    """The MLP is the network that is known: what it would be trained on is asserted, and not trained."""

    def refit(explained, estimator, train, validation_data=None, **settings):
        assert (train is explained.train, validation_data, settings) == (True, None, {"branches": ("tabular",)})
        return estimator

    with mock.patch.object(type(mixed_fit), "refit", refit):
        return baseline_rankings(mixed_fit, TimeLimit())


def test_planted_columns_come_first(rankings, mixed_fit):
    assert tuple(rankings) == BASELINES
    for name, ranking in rankings.items():
        assert ranking.method == name
        assert ranking.features == tuple(mixed_fit.train.features)
        assert ranking.features[ranking.order[-1]] == "same"  # the network does not see it
        if name != "random":
            assert set(ranking.select(2)) == {"dose", "colour"}, name


def test_a_categorys_trees_are_summed(rankings, mixed_fit):
    from sklearn.ensemble import RandomForestRegressor

    forest = RandomForestRegressor(TREES, max_leaf_nodes=LEAVES, random_state=0)
    forest.fit(mixed_fit.estimator.encoder_.transform(mixed_fit.train.X), mixed_fit.train.y.astype(np.float32))
    names = mixed_fit.estimator.encoder_.get_feature_names_out()
    for feature, score in zip(rankings["random_forest"].features, rankings["random_forest"].scores, strict=True):
        own = [i for i, name in enumerate(names) if name.split("=")[0] == feature]
        assert score == pytest.approx(forest.feature_importances_[own].sum())


def test_mutual_information_of_a_category_is_that_of_the_column(rankings, mixed_fit):
    from sklearn.feature_selection import mutual_info_regression

    codes = mixed_fit.train.X["colour"].astype("category").cat.codes.to_numpy()
    expected = mutual_info_regression(codes[:, None], mixed_fit.train.y, discrete_features=True, random_state=0)
    score = dict(zip(rankings["mutual_information"].features, rankings["mutual_information"].scores, strict=True))[
        "colour"
    ]
    assert score == pytest.approx(expected[0], abs=0.02)  # the estimator adds its own noise to the target


def test_mutual_information_of_a_number_with_gaps_is_that_of_the_number(rankings, mixed_fit):
    from sklearn.feature_selection import mutual_info_regression

    assert len(mixed_fit.groups["age"]) == 2
    filled = mixed_fit.train.X[["age"]].fillna(mixed_fit.train.X["age"].median())
    expected = mutual_info_regression(filled, mixed_fit.train.y, random_state=0)
    ranking = rankings["mutual_information"]
    assert ranking.scores[ranking.features.index("age")] == pytest.approx(expected[0], abs=0.02)


def test_shap_values_of_a_linear_target(rankings):
    """A forest that learned 3 * dose: mean |SHAP| is 3 times the mean deviation of a uniform number, 1/4."""
    score = dict(zip(rankings["tree_shap"].features, rankings["tree_shap"].scores, strict=True))
    assert score["dose"] == pytest.approx(3 / 4, rel=0.15)
    assert score["colour"] == pytest.approx(2 * 2 * (1 / 3) * (2 / 3), rel=0.15)


def test_time_limit_names_what_it_left_out(mixed_fit):
    time_limit = TimeLimit(timeout=0)
    assert baseline_rankings(mixed_fit, time_limit) == {}
    assert time_limit.left_out == [f"baselines: {name}" for name in BASELINES]


def test_only_those_asked_for(mixed_fit):
    assert list(baseline_rankings(mixed_fit, TimeLimit(), ["random"])) == ["random"]
