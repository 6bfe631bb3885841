from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression

import permgrad as pg
from permgrad.evaluation.explained import ExplainedModel


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
