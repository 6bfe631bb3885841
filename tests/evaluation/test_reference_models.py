"""A network beside simpler models: which is better is planted."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.linear_model import LogisticRegression

import permgrad as pg
from permgrad.evaluation import reference_models as module
from permgrad.metrics.losses import cross_entropy


class Knows(ClassifierMixin, BaseEstimator):
    """Gives the probability by which the labels were drawn, mixed with a half."""

    def __init__(self, truth=1.0, class_weights=None):
        self.truth = truth
        self.classes_ = np.array(["no", "yes"])
        self.class_weights_ = class_weights

    def predict_proba(self, X):
        p = self.truth * chance(X) + (1 - self.truth) / 2
        return np.column_stack([1 - p, p])


class KnowsNumber(RegressorMixin, BaseEstimator):
    def __init__(self, factor=1.0):
        self.factor = factor

    def predict(self, X):
        return self.factor * logit(X)


def logit(X):
    return 2 * X["a"].to_numpy() - X["b"].to_numpy()


def chance(X):
    return 1 / (1 + np.exp(-logit(X)))


@pytest.fixture(scope="module")
def drawn():
    """A linear table with a gap, a category and a constant column."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(600, 4)), columns=list("abcd"))
    X = X.assign(kind=rng.choice(["u", "v", "w"], 600), same=1.0)
    labels = np.where(rng.random(600) < chance(X), "yes", "no")
    numbers = logit(X) + rng.normal(size=600)
    X.loc[:20, "c"] = np.nan
    return SimpleNamespace(labels=pg.Table(X, labels), numbers=pg.Table(X, numbers))


def beside(estimator, table, **options):
    train, val, test = table.split(random_state=1)
    return pg.reference_models(estimator, train, test, validation_data=val, **options), (train, val, test)


def test_a_broken_network_is_beaten_and_a_good_one_is_not(drawn):
    broken, (_, _, test) = beside(Knows(0.1), drawn.labels)
    assert broken.beaten_by == "LogisticRegression"
    assert broken.table["model"].tolist() == ["Knows", "LogisticRegression", "HistGradientBoosting"]
    assert broken.verdict.startswith("LogisticRegression predicts these test rows better (log loss 0.")
    assert broken.verdict.endswith("the ranking explains a weaker model.")
    row = broken.table.set_index("model").loc["LogisticRegression"]
    assert 0 < row["low"] < row["better_by"] < row["high"]
    network = broken.table.iloc[0]
    loss = cross_entropy((test.y == "yes").to_numpy(int), Knows(0.1).predict_proba(test.X)).mean()
    assert network["log_loss"] == pytest.approx(loss)
    assert network["log_loss"] - row["log_loss"] == pytest.approx(row["better_by"])
    assert (broken.rows, broken.test_rows) == (480, 120)
    good, _ = beside(Knows(), drawn.labels)
    assert good.beaten_by is None
    assert "No reference model predicts these test rows better by more than noise: log loss" in good.verdict


def test_regression_is_compared_in_r2(drawn):
    broken, _ = beside(KnowsNumber(0.2), drawn.numbers)
    assert broken.beaten_by == "Ridge"
    table = broken.table.set_index("model")
    assert table.loc["Ridge", "better_by"] == pytest.approx(table.loc["Ridge", "r2"] - table.loc["KnowsNumber", "r2"])
    assert table.loc["Ridge", "r2"] > 0.75
    assert "R² 0." in broken.verdict
    assert beside(KnowsNumber(), drawn.numbers)[0].beaten_by is None


def test_no_test_row_reaches_a_fit(drawn):
    """Whatever the test rows hold, a training's rows and thus the scores of another test part stay the same."""
    train, _, test = drawn.labels.split(random_state=1)
    half, other = test.take(np.arange(60)), test.take(np.arange(60, 120))
    swapped = pg.Table(
        pd.concat([half.X, other.X.assign(a=10 * other.X["a"], b=-5.0)]),
        pd.concat([half.y, other.y.map({"yes": "no", "no": "yes"})]),
    )
    alone = pg.reference_models(Knows(), train, half)
    with_others = pg.reference_models(Knows(), train, swapped)
    rows = module._Rows.of(Knows(), train, swapped, None, 0)
    for fit in (module._linear, module._boosting):
        np.testing.assert_array_equal(fit(module._Rows.of(Knows(), train, half, None, 0))[0], fit(rows)[0][:60])
    assert alone.rows == with_others.rows == len(train)


def test_equal_seeds_give_equal_results_and_files_keep_them(drawn, tmp_path):
    first, second = (beside(Knows(), drawn.labels, random_state=3)[0] for _ in range(2))
    pd.testing.assert_frame_equal(first.table, second.table)
    first.save(tmp_path / "models.json")
    again = pg.ReferenceModels.load(tmp_path / "models.json")
    pd.testing.assert_frame_equal(again.table, first.table)
    assert (again.verdict, again.rows, again.task) == (first.verdict, first.rows, first.task)
    (tmp_path / "models.json").write_text('{"kind": "permgrad.ReferenceModels"}')
    with pytest.raises(pg.FileFormatError):
        pg.ReferenceModels.load(tmp_path / "models.json")


def test_class_weights_are_everyones(drawn):
    weights = np.array([1.0, 5.0])
    models, (_, _, test) = beside(Knows(class_weights=weights), drawn.labels)
    assert models.weighted
    y = (test.y == "yes").to_numpy(int)
    losses = cross_entropy(y, Knows().predict_proba(test.X))
    expected = np.average(losses, weights=weights[y])
    assert models.table["weighted_log_loss"][0] == pytest.approx(expected)
    assert "weighted log loss" in models.verdict
    assert models.beaten_by == "LogisticRegression"  # which was told the weights, unlike this one


def test_a_wide_table_gives_the_columns_that_tell_most(monkeypatch):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(200, 60))).add_prefix("x")
    X = X.rename(columns={"x40": "a", "x50": "b"})
    table = pg.Table(X, np.where(rng.random(200) < chance(X), "yes", "no"))
    monkeypatch.setattr(module, "MOST_COLUMNS", 10)
    monkeypatch.setattr(module, "LEAST_COLUMNS", 5)
    monkeypatch.setattr(module, "COLUMN_WORK", 100)
    monkeypatch.setattr(module, "MOST_CELLS", 1500)
    monkeypatch.setattr(module, "ROW_WORK", 600)
    models, (train, _, test) = beside(Knows(), table)
    notes = models.table["note"].tolist()
    assert notes[0] == ""
    assert notes[1] == "the 10 of 60 columns that tell most one by one; 150 of 160 training rows"
    assert notes[2] == "the 5 of 60 columns that tell most one by one; 120 of 160 training rows"
    assert {40, 50} <= set(module._Rows.of(Knows(), train, test, None, 0).best_columns(10))


def test_many_classes_and_a_rare_one(monkeypatch):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 2)), columns=["a", "b"])
    y = np.array(["no", "yes", "rare"], object)[(X["a"] > 0).to_numpy(int)]
    y[:5] = "rare"
    train, test = pg.Table(X, y).take(np.r_[0, 5:100]), pg.Table(X, y).take(np.r_[1:5, 100:120])
    estimator = Knows()
    estimator.classes_ = np.array(["no", "rare", "yes"])
    estimator.predict_proba = lambda X: np.full((len(X), 3), 1 / 3)
    models = pg.reference_models(estimator, train, test)
    assert models.table["log_loss"].notna().all()
    monkeypatch.setattr(module, "MOST_TREES", 2)
    without = pg.reference_models(estimator, train, test)
    assert without.table["note"][2] == "left out: 3 classes take as many trees in each step"
    assert np.isnan(without.table["log_loss"][2])
    assert "HistGradientBoosting" not in without.verdict
    with pytest.raises(pg.PermGradError, match="labels not seen in training: 'other'"):
        pg.reference_models(estimator, train, pg.Table(X, np.where(X["a"] > 0, "yes", "other")))


def test_boosting_sees_gaps_as_gaps(drawn):
    train, _, test = drawn.labels.split(random_state=1)
    rows = module._Rows.of(Knows(), train, test, None, 0)
    assert rows.gaps[0].sum() == train.X["c"].isna().sum() > 0
    assert not np.isnan(rows.train).any()


def test_scikit_learns_own_model_may_be_the_one_that_is_explained(drawn):
    numbers = drawn.labels.X[["a", "b"]]
    table = pg.Table(numbers, drawn.labels.y)
    train, _, test = table.split(random_state=1)
    models = pg.reference_models(LogisticRegression().fit(train.X, train.y), train, test)
    assert models.table["model"].tolist()[:2] == ["LogisticRegression as given", "LogisticRegression"]
    assert models.beaten_by is None


@pytest.mark.parametrize(("better_by", "expected"), [(1e-5, None), (0.01, "Boosting")])
def test_a_difference_that_nobody_sees_is_none(better_by, expected):
    """Two models that are both right for certain differ by little, and surely."""
    table = pd.DataFrame({"model": ["Network", "Boosting"], "p": [np.nan, 1e-6], "better_by": [np.nan, better_by]})
    assert pg.ReferenceModels(table, "classification", 100, 50).beaten_by == expected
