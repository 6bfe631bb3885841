"""Which columns a panel may have: included, excluded, redundant, measured too weakly; and several data sets."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import BaseEstimator

import permgrad as pg
from permgrad.data.on_disk import RowsOnDisk
from permgrad.evaluation._panel_columns import class_means, correlations, second_moments, without_redundant
from permgrad.training import batches


class ByDifference(BaseEstimator):
    """Ranks columns by how far the means of two classes are apart: what a selector does, in no time."""

    asked: ClassVar[list[tuple[str, ...]]] = []

    def __init__(self, random_state: int = 0, include: tuple[str, ...] = ()) -> None:
        self.random_state, self.include = random_state, include

    def fit(self, X: pg.Cells, y: Any = None) -> ByDifference:
        self.asked.append(self.include)
        self.features_ = X.features
        means = class_means(X)
        noise = np.random.default_rng(self.random_state).normal(size=means.shape[1]) * 1e-3
        self.scores_ = np.abs(means[0] - means[1]) + np.abs(noise)
        return self

    def rank_by_weights(self) -> pg.FeatureRanking:
        return pg.FeatureRanking(self.features_, self.scores_, settings={"include": list(self.include)})


def cells(rng: np.random.Generator, differences: dict[str, float], n: int = 200, **names: str) -> pg.Cells:
    """Return two classes, apart by so much in each column; a column named by another one is nearly its copy."""
    y = np.repeat(["u", "v"], n // 2)
    columns = {name: rng.normal(size=n) + apart * (y == "v") for name, apart in differences.items()}
    columns |= {copy: columns[of] + 0.05 * rng.normal(size=n) for copy, of in names.items()}
    return pg.Cells(np.column_stack([*columns.values()]).astype(np.float32), y, tuple(columns))


DIFFERENCES = {"a": 5.0, "b": 4.0, "c": 3.0, "d": 2.0, "e": 0.0, "f": 0.0}


def test_included_and_excluded_columns(rng, monkeypatch):
    data = cells(rng, DIFFERENCES)
    panel = pg.choose_panel(ByDifference(), data, k=3, n_trainings=2, include=["e"], exclude=["a"])
    assert panel.features == ["e", "b", "c"]
    assert panel.included == ("e",)
    assert set(panel.table["feature"]) == {"b", "c", "d", "f"}
    assert panel.table["frequency"].tolist() == [1, 1, 0, 0]
    assert repr(panel).startswith("Panel(k=3, 1 included, 2 trainings, 2 columns always chosen, Nogueira 1.00")
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(ByDifference, "asked", asked)
    longer = pg.choose_panel(ByDifference(), data, k=4, n_trainings=2, include=panel.features, exclude=["a"])
    assert longer.features == ["e", "b", "c", "d"]
    assert asked == [("e", "b", "c"), ("e", "b", "c")]  # which the selector lets through


@pytest.mark.parametrize("kind", ["cells", "sparse", "frame", "array", "on disk", "table"])
def test_every_kind_of_rows(rng, kind):
    data = cells(rng, DIFFERENCES)
    X: Any = {
        "cells": data,
        "sparse": sparse.csr_matrix(data.X),
        "frame": pd.DataFrame(data.X, columns=list(data.features)),
        "array": data.X,
        "on disk": RowsOnDisk(data.X),
        "table": pg.Table(pd.DataFrame(data.X, columns=list(data.features)), pd.Series(data.y, name="y")),
    }[kind]
    named = kind in ("cells", "frame", "table")
    y = None if kind in ("cells", "table") else data.y
    panel = pg.choose_panel(ByDifference(), X, y, k=2, n_trainings=2, exclude=["b" if named else "x1"])
    assert panel.features == (["a", "c"] if named else ["x0", "x2"])


def test_columns_that_are_measured_too_weakly_or_too_strongly(rng):
    """Means of the class in which they are highest: about 5, 4, 3, 2, 0 and 0."""
    data = cells(rng, DIFFERENCES)
    panel = pg.choose_panel(ByDifference(), data, k=2, n_trainings=2, expression_range=(1.0, 4.5), include=["f"])
    assert panel.features == ["f", "b"]
    assert set(panel.table["feature"]) == {"b", "c", "d"}


def test_copies_are_passed_over(rng):
    data = cells(rng, DIFFERENCES, a2="a", b2="b", a3="a")
    plain = pg.choose_panel(ByDifference(), data, k=4, n_trainings=2)
    assert set(plain.features) == {"a", "a2", "a3", "b"} or set(plain.features) == {"a", "a2", "a3", "b2"}
    panel = pg.choose_panel(ByDifference(), data, k=4, n_trainings=2, redundancy=0.98, include=["b2"])
    first = panel.features[1]
    assert first in ("a", "a2", "a3")
    assert panel.features == ["b2", first, "c", "d"]
    like = dict(zip(panel.table["feature"], panel.table["like"], strict=True))
    others = {"a", "a2", "a3"} - {first}
    assert {name: of for name, of in like.items() if of} == {**dict.fromkeys(others, first), "b": "b2"}
    with pytest.raises(pg.PermGradError, match=r"only 1 of 2 columns .* at most 0\.5"):
        pg.choose_panel(ByDifference(), data.only(["a", "a2", "a3"]), k=2, n_trainings=2, redundancy=0.5)


def test_one_panel_for_two_data_sets(rng):
    """One set knows columns a and b, the other a and c: a is first, b and c come before what tells nothing."""
    first = cells(rng, {"a": 5.0, "b": 4.0, "c": 0.0, "d": 0.0, "own": 9.0})
    second = cells(rng, {"c": 3.0, "d": 0.0, "a": 4.0, "b": 0.0})
    panel = pg.choose_panel(ByDifference(), [first, second], k=2, n_trainings=3)
    assert panel.n_trainings == 6
    assert panel.features[0] == "a"
    frequency = dict(zip(panel.table["feature"], panel.table["frequency"], strict=True))
    assert frequency == {"a": 1.0, "b": 0.5, "c": 0.5, "d": 0.0}
    assert panel.stability < 1


def test_redundant_in_one_set_alone_is_not_redundant(rng):
    alike, apart = cells(rng, DIFFERENCES, a2="a"), cells(rng, {**DIFFERENCES, "a2": 4.5})
    given: Any = {"k": 2, "n_trainings": 2, "redundancy": 0.98}
    assert set(pg.choose_panel(ByDifference(), [alike, alike], **given).features) != {"a", "a2"}
    assert set(pg.choose_panel(ByDifference(), [alike, apart], **given).features) == {"a", "a2"}


def test_moments_in_blocks(rng, monkeypatch):
    """Against NumPy's own, of dense, sparse and stored rows, also where the mean is large beside the spread."""
    X = rng.normal(size=(57, 6)) * [1, 2, 3, 0, 1, 1] + [0, 1, 1000, 5, 0, 0]
    y = rng.choice(["u", "v", "w"], 57)
    monkeypatch.setattr(batches, "BUFFER_ROWS", 10)
    for rows in (X, sparse.csr_matrix(X), RowsOnDisk(X)):
        mean, covariance = second_moments(rows)
        np.testing.assert_allclose(mean, X.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(covariance, np.cov(X.T, ddof=0), atol=1e-3)
        centre = np.arange(6.0)
        off = X - centre
        np.testing.assert_allclose(second_moments(rows, centre)[1], off.T @ off / 57, rtol=1e-5, atol=1e-3)
        expected = np.nan_to_num(np.corrcoef(X[:, [0, 1, 2, 4, 5]].T))
        found = correlations(rows)
        np.testing.assert_allclose(found[np.ix_([0, 1, 2, 4, 5], [0, 1, 2, 4, 5])], expected, atol=1e-4)
        assert np.abs(found[3]).max() == 0  # it never varies
        means = class_means(pg.Cells(rows, y, tuple("abcdef")))
        np.testing.assert_allclose(means, [X[y == label].mean(axis=0) for label in "uvw"], rtol=1e-5, atol=1e-6)


def test_the_walk_looks_further_where_the_first_do_not_suffice(rng):
    """Nine copies of the best column come before the second that tells something else."""
    x, z = rng.normal(size=(2, 100))
    X = np.column_stack([*(x + 1e-3 * rng.normal(size=(9, 100))), z]).astype(np.float32)
    data = pg.Cells(X, np.repeat(["u", "v"], 50), tuple("abcdefghij"))
    chosen, like = without_redundant("abcdefghij", [data], [], 2, 0.9)
    assert chosen == ["a", "j"]
    assert like == dict.fromkeys("bcdefghi", "a")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"include": ["z"]}, "include must name columns; there is no 'z'"),
        ({"exclude": ["z"]}, "exclude must name columns"),
        ({"include": ["a"], "exclude": ["a"]}, "both included and excluded"),
        ({"expression_range": (3, 1)}, "lowest, highest"),
        ({"redundancy": 1.5}, "a correlation above 0"),
        ({"include": ["a", "b"]}, "k must be at least 3"),
        ({"exclude": ["a", "b", "c", "d"]}, "less than the number of columns, 2"),
    ],
)
def test_what_cannot_be_asked_for(rng, wrong, message):
    with pytest.raises(pg.PermGradError, match=message):
        pg.choose_panel(ByDifference(), cells(rng, DIFFERENCES), k=2, n_trainings=2, **wrong)
