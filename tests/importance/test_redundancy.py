"""Columns that tell the same: which they are, with which, and what is said of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, RegressorMixin

import permgrad as pg
from permgrad.importance.redundancy import alike_columns, redundancy, redundant_columns


def part(names, scores, error=0.01):
    scores = np.array(scores, float)
    return pg.FeatureRanking(names, scores, low=scores - error, high=scores + error)


def ranking(first, last, alike=(), **settings):
    names = tuple("abcdef"[: len(first)])
    components = {"first_in": part(names, first), "end_to_end": part(names, last)}
    known = {"alike": [list(group) for group in alike], **settings}
    return replace(part(names, first), components=components, settings=known)


def test_a_column_is_redundant_if_it_saves_much_alone_and_is_not_missed():
    # Missed; an interval around 0; missed a little; too small alone; noise; a sixth of what it saves alone.
    found = ranking([0.5, 0.4, 0.3, 0.05, 0.0, 0.6], [0.3, 0.005, 0.08, 0.0, 0.0, 0.1])
    wide = replace(found, components={**found.components, "end_to_end": part(tuple("abcdef"), [0.3] * 6, error=1)})
    assert redundant_columns(wide) == []
    assert redundant_columns(found) == ["f", "b"]


def test_nothing_is_said_where_it_was_not_measured():
    one = ranking([0.5, 0.4], [0.0, 0.0])
    assert redundant_columns(one) == ["a", "b"]
    assert redundant_columns(replace(one, components={"first_in": one.components["first_in"]})) == []
    assert redundant_columns(replace(one, settings={"learned": {"better": False}})) == []
    assert redundant_columns(replace(one, pending=("a",))) == ["b"]


def test_each_group_gets_a_sentence():
    groups = [("a", "b"), ("c", "d"), ("e", "f")]  # f saves nothing
    said = redundancy(ranking([0.5, 0.4, 0.3, 0.2, 0.25, 0.0], [0.0, 0.0, 0.0, 0.1, 0.0, 0.0], groups))
    assert said == [
        "a and b carry much the same information: on their own they save 0.4 to 0.5, but beside the others each is"
        " hardly missed (0).",
        "c carries much the same information as d: on its own it saves 0.3, but beside the others it is hardly missed"
        " (0).",
        "e saves much on its own but is hardly missed, though no single column correlates closely with it: other"
        " columns together carry the same information.",
    ]


def test_columns_are_grouped_by_the_largest_correlation_of_their_numbers(rng):
    a = rng.normal(size=200)
    rows = np.stack([a, rng.normal(size=200), -np.exp(a), rng.normal(size=200)], axis=1)
    at = {"a": np.array([0]), "two": np.array([1, 2]), "b": np.array([3])}
    assert alike_columns(rows, at) == [["a", "two"]]
    assert alike_columns(rows[:, :1], {"a": np.array([0])}) == []


class Mean(BaseEstimator, RegressorMixin):
    """Adds one column and the mean of the others."""

    def predict(self, X):
        return np.asarray(X)[:, 0] + np.asarray(X)[:, 1:].mean(axis=1)


def test_copies_are_redundant_and_a_column_that_stands_alone_is_not(rng):
    """Of m copies one saves 1 - (1 - 1/m)² on its own, and 2 / m² is lost with it: of six, a fifth."""
    alone, copied = rng.normal(size=(2, 400, 1))
    X = pd.DataFrame(np.hstack([alone, *[copied] * 6]), columns=["alone", *"abcdef"])
    found = pg.rank_features(Mean(), X, alone[:, 0] + copied[:, 0], formula="game", task="regression")
    assert found.settings["alike"] == [list("abcdef")]
    assert sorted(redundant_columns(found)) == list("abcdef")
    (said,) = redundancy(found)
    assert "and 2 more carry much the same information: on their own they save 0." in said


@pytest.mark.slow
@pytest.mark.backend
def test_a_network_knows_which_columns_go_together(random_hybrid, layout, rng):
    model, X = random_hybrid("regression", 1), rng.random((40, 6)).astype(np.float32)
    X[:, 3] = 1 - X[:, 1]
    found = pg.rank_features(model, X, rng.normal(size=40), layout=layout, formula="game", end_to_end=False)
    assert found.settings["alike"] == [[found.features[1], found.features[3]]]
