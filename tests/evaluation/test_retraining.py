from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import r2_score

import permgrad as pg
from permgrad.evaluation import retraining
from permgrad.evaluation.retraining import remove_and_retrain
from permgrad.evaluation.time_limit import TimeLimit


class Counting(LinearRegression):
    """Notes down the columns of each fit."""

    fits: list[tuple[str, ...]] = []  # noqa: RUF012

    def fit(self, X, y):
        self.fits.append(tuple(X.columns))
        return super().fit(X, y)


@pytest.fixture
def rankings(planted):
    names, size = planted.explained.ranking.features, np.abs(planted.weights)
    return {
        "true": pg.FeatureRanking(names, size),
        "again": pg.FeatureRanking(names, size * 2),
        "worst": pg.FeatureRanking(names, -size),
    }


def test_scores_are_those_of_a_plain_loop(planted, rankings):
    measured = remove_and_retrain(planted.explained, rankings, TimeLimit(), retrain_with=LinearRegression())
    train, test = planted.explained.train, planted.explained.test
    assert sorted(measured["removed"].unique()) == [0, 1, 2, 3, 4, 5]  # of 6: 0.6 → 1, 1.5 → 2, 3, 4.5 → 4, 5.4 → 5
    for row in measured.itertuples():
        gone = rankings[row.ranking].order[: row.removed]
        left = [name for i, name in enumerate(train.features) if i not in gone]
        predicted = LinearRegression().fit(train.X[left], train.y).predict(test.X[left])
        assert row.score == pytest.approx(r2_score(test.y, predicted))
        assert row.loss == pytest.approx(np.mean((test.y - predicted) ** 2) / np.var(train.y), rel=1e-6, abs=1e-12)
        assert (row.kept, row.share) == (len(left), row.removed / 6)
    after = measured[measured["removed"] > 0].groupby("ranking")["score"].mean()
    assert after["true"] < after["worst"] - 0.3


def test_equal_sets_of_columns_are_trained_on_once(planted, rankings):
    Counting.fits.clear()
    remove_and_retrain(planted.explained, rankings, TimeLimit(), retrain_with=Counting())
    assert len(Counting.fits) == len(set(Counting.fits))
    # All columns once; "true" and "again" share all five of theirs; "worst" has five others, all different.
    assert len(Counting.fits) == 1 + 5 + 5


@pytest.mark.slow
def test_a_plain_mlp_has_few_epochs_of_few_batches(mixed_fit):
    model = retraining.plain_mlp(mixed_fit)
    assert (model.branches, model.epochs, model.batch_size) == (("tabular",), 2, 32)
    longer = replace(mixed_fit, estimator=clone(mixed_fit.estimator).set_params(epochs=99, batch_size=4))
    model = retraining.plain_mlp(longer)
    assert (model.epochs, model.batch_size) == (30, 7)  # 350 rows in 50 batches


def test_by_default_the_plain_mlp_is_trained_on_the_columns_that_are_left(mixed_fit, monkeypatch):
    """One training, on neither of the two columns that decide the target."""
    trained, given = {}, []

    def known(explained, model, columns, settings, variance):
        trained[frozenset(columns)] = model
        given.append(settings)
        return {"loss": 0.0, "score": 0.0}

    retrained = retraining._retrained
    monkeypatch.setattr(retraining, "_retrained", known)
    remove_and_retrain(mixed_fit, {"permgrad": mixed_fit.ranking}, TimeLimit(), shares=(0.4,))
    left = frozenset({"age", "smoker", "noise"})
    assert set(trained) == {left | {"dose", "colour"}, left}
    assert trained[left].get_params() == retraining.plain_mlp(mixed_fit).get_params()
    assert len(given) == 2 * 3  # three seeds, the estimator's own first
    assert given[0] == given[3] == {}
    assert len({each["random_state"] for each in given if each}) == 2
    score = retrained(mixed_fit, trained[left], ["age", "smoker", "noise"], {}, np.var(mixed_fit.train.y))
    assert score["score"] < 0.2
    assert score["loss"] == pytest.approx((1 - score["score"]) * np.var(mixed_fit.test.y) / np.var(mixed_fit.train.y))


def test_time_limit_names_what_it_left_out(planted, rankings):
    time_limit = TimeLimit(timeout=0)
    measured = remove_and_retrain(planted.explained, rankings, time_limit, shares=(0.5,))
    assert measured.empty
    assert list(measured) == ["ranking", "share", "removed", "kept", "seed", "loss", "score"]
    assert "retrain: worst without its 3 best" in time_limit.left_out


def test_bad_settings(planted, rankings):
    with pytest.raises(pg.PermGradError, match="between 0 and 1"):
        remove_and_retrain(planted.explained, rankings, TimeLimit(), shares=(0.5, 1.0))
    with pytest.raises(pg.PermGradError, match="ranked estimator, got LogisticRegression"):
        remove_and_retrain(planted.explained, rankings, TimeLimit(), retrain_with=LogisticRegression())


@pytest.mark.parametrize(
    ("settings", "epochs", "batch_size"),
    [
        ({}, 30, 32),  # 300 rows take 32 in a step, 50 of which are enough
        ({"preset": "best"}, 30, 32),
        ({"preset": "published"}, 30, 32),
        ({"preset": "published", "batch_size": 4, "epochs": 3}, 3, 6),
        ({"batch_size": 500}, 30, 500),
    ],
)
def test_a_plain_mlp_is_one_short_training_whatever_the_preset(settings, epochs, batch_size, planted):
    train = planted.explained.train
    explained = replace(planted.explained, estimator=pg.HybridRegressor(**settings), train=train.take(np.arange(300)))
    mlp = retraining.plain_mlp(explained)
    network, training = mlp._configs(300, 0)
    assert network.branches == ("tabular",)
    assert (mlp.settings()["n_networks"], training.epochs, training.batch_size) == (1, epochs, batch_size)
