from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression

import permgrad as pg
from permgrad.evaluation.explained import ExplainedModel, halves


class Recorder(BaseEstimator):
    """Notes down what it is fitted on."""

    def __init__(self, depth=1, verbose=True):
        self.depth, self.verbose = depth, verbose

    def fit(self, X, y, validation_data=None):
        self.given_ = X, y, validation_data
        return self


@pytest.fixture
def table():
    return pg.Table(np.arange(8.0).reshape(4, 2), [0.5, 1.5, 2.5, 4], task="regression")


def test_a_copy_is_fitted_silently_with_other_settings(table):
    estimator = Recorder()
    explained = ExplainedModel(estimator, None, table, table)
    fitted = explained.refit(estimator, table, table.take(np.arange(2)), depth=3)
    X, y, (X_val, y_val) = fitted.given_
    assert (X is table.X, y is table.y, len(X_val), y_val.tolist()) == (True, True, 2, [0.5, 1.5])
    assert (fitted.depth, fitted.verbose) == (3, False)
    assert (estimator.depth, hasattr(estimator, "given_")) == (1, False)
    assert explained.refit(estimator, table).given_[2] is None


def test_validation_rows_go_to_whom_they_are_of_use(table):
    plain = ExplainedModel(None, None, table, table).refit(LinearRegression(), table, table)
    assert plain.predict(table.X).shape == (4,)


def test_no_group_is_in_both_halves(rng):
    groups = rng.integers(0, 9, 80)
    test = pg.Table(rng.normal(size=(80, 2)), rng.normal(size=80), "regression", groups=groups, weights=np.arange(80))
    ranked, judged = halves(ExplainedModel(None, None, test, test))
    assert not set(ranked.test.groups) & set(judged.test.groups)
    assert len(ranked.test) + len(judged.test) == 80
    assert 20 < len(ranked.test) < 60


def test_a_copy_is_fitted_on_rows_as_they_weigh(table):
    weighed = pg.Table(table.X, table.y, "regression", weights=[0, 1, 1, 5])
    plain = ExplainedModel(None, None, weighed, weighed).refit(LinearRegression(), weighed)
    known = LinearRegression().fit(table.X, table.y, sample_weight=[0, 1, 1, 5])
    assert plain.intercept_ == pytest.approx(known.intercept_)
