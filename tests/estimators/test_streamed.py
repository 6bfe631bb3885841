"""Estimators on a table in Parquet files, against the same rows in memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

import permgrad as pg
from permgrad.data.in_files import RowsInFiles
from permgrad.estimators import _rows_enough
from permgrad.estimators._rows_enough import widest_share
from permgrad.metrics.scores import scores
from permgrad.training import batches as batches_module
from tests.conftest import SMALL


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """Three files of a table whose column `a` tells most, `kind` something, and the others nothing."""
    rng = np.random.default_rng(0)
    n = 1500
    frame = pd.DataFrame(rng.normal(size=(n, 3)), columns=["a", "b", "c"])
    frame["kind"] = rng.choice(["u", "v", "w"], n)
    told = frame.a + (frame.kind == "u") + 0.1 * rng.normal(size=n)
    frame["number"] = told
    frame["label"] = np.where(told > 0.3, "high", "low")
    frame.loc[::9, "b"] = np.nan
    path = tmp_path_factory.mktemp("parts")
    for i in range(3):
        frame[500 * i : 500 * (i + 1)].to_parquet(path / f"part-{i}.parquet", row_group_size=180, index=False)
    return path


def table(directory, target="label", sample_rows=400) -> pg.StreamedTable:
    other = "number" if target == "label" else "label"
    return pg.StreamedTable.from_files(directory, target, sample_rows=sample_rows, drop=[other])


@pytest.fixture(scope="module")
def fitted(directory):
    train, val, test = table(directory).split()
    with pytest.warns(UserWarning, match=f"are those of 400 of {len(train)} training rows"):
        model = pg.HybridClassifier(**SMALL, epochs=2).fit(train, validation_data=val)
    return model, train, val, test


@pytest.mark.slow
def test_columns_are_learned_from_the_sample_alone(fitted):
    model, train, _, _ = fitted
    sample = train.sample(model.random_state_)
    encoder = pg.ColumnEncoder().fit(sample)
    assert model.encoder_.to_dict() == encoder.to_dict()
    scaled = np.asarray(model.network_.get_layer("scale")(encoder.encode(sample.X)))
    np.testing.assert_allclose(scaled.min(axis=0), np.zeros(7), atol=1e-6)
    np.testing.assert_allclose(scaled.max(axis=0), np.ones(7), atol=1e-6)
    np.testing.assert_allclose(model.prior_, train.y.value_counts(normalize=True).sort_index(), atol=1e-12)


@pytest.mark.slow
def test_the_network_is_that_of_the_same_rows_in_memory(fitted, monkeypatch):
    """Slow and obvious: all rows encoded at once, and taken from there by their positions."""
    model, train, val, _ = fitted
    read = RowsInFiles.__getitem__

    def from_memory(self, at):
        whole = self.encoder.encode(pd.concat(map(pd.read_parquet, self.files.paths), ignore_index=True)[self.columns])
        return whole[self.rows[at]]

    monkeypatch.setattr(RowsInFiles, "__getitem__", from_memory)
    with pytest.warns(UserWarning, match="training rows"):
        again = pg.HybridClassifier(**SMALL, epochs=2).fit(train, validation_data=val)
    monkeypatch.setattr(RowsInFiles, "__getitem__", read)
    for ours, theirs in zip(model.network_.get_weights(), again.network_.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_scores_are_those_of_the_rows_in_memory(fitted, directory):
    model, _, _, test = fitted
    whole = pd.concat(map(pd.read_parquet, sorted(directory.glob("*.parquet"))), ignore_index=True)
    rows = whole.iloc[test.X.rows]
    in_memory = pg.Table(rows[test.features], rows.label, name="t")
    for name, value in scores(model, in_memory).items():
        assert scores(model, test)[name] == pytest.approx(value, abs=1e-6), name
    np.testing.assert_allclose(model.predict_proba(test), model.predict_proba(in_memory), atol=1e-6)
    np.testing.assert_array_equal(model.predict(test.X), model.predict(in_memory))
    assert model.loss(test) == pytest.approx(model.loss(in_memory), abs=1e-6)
    assert model.score(test.X, np.asarray(test.y)) == pytest.approx(model.score(in_memory, in_memory.y))


def test_a_ranking_of_all_rows_is_that_of_the_rows_in_memory(fitted, monkeypatch):
    model, _, _, test = fitted
    small = test.take(np.arange(120))
    monkeypatch.setattr(_rows_enough, "FIRST_ROWS", 120)
    known = {"formula": "fused", "end_to_end": False, "n_repeats": 1, "random_state": 3}
    ours = model.rank_features(small, **known)
    X, y = small.draw(120, 3)
    theirs = model.rank_features(X, y, **known)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-6)
    assert ours.settings["drawn"]["rows"] == ours.settings["drawn"]["of"] == 120
    assert ours.features == tuple(test.features)


class Ranks(BaseEstimator):
    """An estimator whose ranking is as wide as a mean's interval over so many rows."""

    random_state_ = 0
    networks_ = ()

    def __init__(self, width):
        self.width, self.asked = width, []

    def fit(self, X, y):
        raise NotImplementedError

    def rank_features(self, X, y, budget, **given):
        self.asked.append(len(X))
        assert len(X) == len(y)
        half = self.width / np.sqrt(len(X))
        scores = np.array([2.0, 0.0])
        settings = {"total": 2.0, "formula": "last in"}
        return pg.FeatureRanking(("a", "b"), scores, low=scores - half, high=scores + half, settings=settings)

    def __sklearn_is_fitted__(self):
        return True


@pytest.mark.parametrize(("tolerance", "asked"), [(0.5, [10]), (0.09, [10, 20]), (0.03, [10, 160]), (0.001, [10, 300])])
def test_rows_are_doubled_until_the_intervals_are_narrow(directory, monkeypatch, tolerance, asked):
    monkeypatch.setattr(_rows_enough, "FIRST_ROWS", 10)
    monkeypatch.setattr(_rows_enough, "MOST_ROWS", 300)
    estimator = Ranks(0.7)  # of 10 rows, half an interval is 0.22, 0.11 of the total
    budget = pg.Budget(tolerance=tolerance)
    ranking = _rows_enough.rank_enough_rows(estimator, table(directory), budget, {"random_state": None})
    assert estimator.asked == asked
    drawn = ranking.settings["drawn"]
    assert (drawn["rows"], drawn["of"], drawn["asked"]) == (asked[-1], 1500, tolerance)
    assert drawn["reached"] == pytest.approx(0.35 / np.sqrt(asked[-1]))
    assert (drawn["reached"] <= tolerance) == (tolerance > 0.001)


def test_time_ends_the_doubling(directory, monkeypatch):
    monkeypatch.setattr(_rows_enough, "FIRST_ROWS", 10)
    estimator = Ranks(1.0)
    budget = pg.Budget(tolerance=0.001, timeout=1e-9).begin()
    _rows_enough.rank_enough_rows(estimator, table(directory), budget, {"random_state": 1})
    assert estimator.asked == [10]


def test_no_interval_no_share():
    assert widest_share(pg.FeatureRanking(("a",), np.ones(1))) is None


@pytest.mark.slow
def test_a_regression_sets_rows_apart_by_itself(directory):
    streams = table(directory, "number", sample_rows=2000)
    model = pg.HybridRegressor(**SMALL, epochs=1).fit(streams)
    kept, apart = streams.apart(0.0, 0.2, model.random_state_)
    assert len(model.residuals_) == len(apart)
    layer = model.network_.get_layer("prediction")
    assert layer.scale == pytest.approx(np.std(kept.y), rel=1e-5)
    assert model.predict(streams).shape == (1500,)


@pytest.mark.slow
def test_several_networks_leave_other_rows_out(directory, monkeypatch):
    seen = []
    batches = batches_module.Batches.__init__
    monkeypatch.setattr(
        batches_module.Batches, "__init__", lambda self, X, *a, **k: seen.append(X.rows) or batches(self, X, *a, **k)
    )
    streams = table(directory, sample_rows=2000)
    model = pg.HybridClassifier(**SMALL, epochs=1, n_networks=2, class_weight="balanced").fit(streams)
    assert len(model.networks_) == 2
    assert sorted([*seen[0], *seen[1]]) == list(range(1500))
    assert model.predict_proba(streams).shape == (1500, 2)


def test_an_mlp_is_fitted_too(directory):
    streams = table(directory, sample_rows=2000)
    model = pg.MLPClassifier(hidden_units=(8,), epochs=1).fit(streams)
    assert model.predict_proba(streams).shape == (1500, 2)


def test_what_cannot_be_streamed_is_refused(fitted, directory):
    model, train, _, _ = fitted
    for arguments, message in [
        ((train, np.ones(len(train))), "leave y out"),
        ((train, None, np.ones(len(train))), "not weighted"),
        ((table(directory, "number"),), "is for classification, the table's task is regression"),
    ]:
        with pytest.raises(pg.PermGradError, match=message):
            pg.HybridClassifier(**SMALL).fit(*arguments)
    other = pg.StreamedTable.from_files(directory, "label", drop=["number", "c"])
    with pytest.raises(pg.PermGradError, match="absent: 'c'"):
        model.predict(other)
    with pytest.raises(pg.PermGradError, match="validation_data must have the expected columns"):
        pg.HybridClassifier(**SMALL).fit(train, validation_data=other)
    with pytest.raises(pg.PermGradError, match="validation_fraction"):
        pg.HybridClassifier(**SMALL, validation_fraction=1.0).fit(train)
    with pytest.raises(pg.UnfittedError):
        pg.HybridClassifier(**SMALL).rank_features(train)
