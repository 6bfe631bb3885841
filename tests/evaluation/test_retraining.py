from __future__ import annotations

import numpy as np
import pytest
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
    found = remove_and_retrain(planted.explained, rankings, TimeLimit(), retrain_with=LinearRegression())
    train, test = planted.explained.train, planted.explained.test
    assert sorted(found["removed"].unique()) == [0, 1, 2, 3, 4, 5]  # of 6: 0.6 → 1, 1.5 → 2, 3, 4.5 → 4, 5.4 → 5
    for row in found.itertuples():
        gone = rankings[row.ranking].order[: row.removed]
        kept = [name for i, name in enumerate(train.features) if i not in gone]
        predicted = LinearRegression().fit(train.X[kept], train.y).predict(test.X[kept])
        assert row.score == pytest.approx(r2_score(test.y, predicted))
        assert row.loss == pytest.approx(np.mean((test.y - predicted) ** 2) / np.var(train.y), rel=1e-6, abs=1e-12)
        assert (row.kept, row.share) == (len(kept), row.removed / 6)
    after = found[found["removed"] > 0].groupby("ranking")["score"].mean()
    assert after["true"] < after["worst"] - 0.3


def test_equal_sets_of_columns_are_trained_on_once(planted, rankings):
    Counting.fits.clear()
    remove_and_retrain(planted.explained, rankings, TimeLimit(), retrain_with=Counting())
    assert len(Counting.fits) == len(set(Counting.fits))
    # All columns once; "true" and "again" share all five of theirs; "worst" has five others, all different.
    assert len(Counting.fits) == 1 + 5 + 5


def test_by_default_a_plain_mlp_of_few_epochs(mixed_fit, monkeypatch):
    monkeypatch.setattr(retraining, "RETRAIN_EPOCHS", 12)
    model = retraining.plain_mlp(mixed_fit)
    assert (model.branches, model.epochs, model.batch_size) == (("tabular",), 12, 32)
    found = remove_and_retrain(mixed_fit, {"permgrad": mixed_fit.ranking}, TimeLimit(), shares=(0.4,))
    assert found["removed"].tolist() == [0, 2]
    assert found["score"].iloc[0] > 0.7
    assert found["score"].iloc[1] < 0.2  # neither dose nor colour is left


def test_time_limit_names_what_it_left_out(planted, rankings):
    time_limit = TimeLimit(timeout=0)
    found = remove_and_retrain(planted.explained, rankings, time_limit, shares=(0.5,))
    assert found.empty
    assert list(found) == ["ranking", "share", "removed", "kept", "loss", "score"]
    assert "retrain: worst without its 3 best" in time_limit.left_out


def test_bad_settings(planted, rankings):
    with pytest.raises(pg.PermGradError, match="between 0 and 1"):
        remove_and_retrain(planted.explained, rankings, TimeLimit(), shares=(0.5, 1.0))
    with pytest.raises(pg.PermGradError, match="kind, got LogisticRegression"):
        remove_and_retrain(planted.explained, rankings, TimeLimit(), retrain_with=LogisticRegression())
