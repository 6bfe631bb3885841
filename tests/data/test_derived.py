from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import permgrad as pg

TABLE = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "c": [5.0, 8.0]}, index=[7, 9])


def test_products_and_ratios_by_hand():
    recipe = pg.DerivedColumns(products={"abc": ["a", "b", "c"]}, ratios={"c_per_a": ["c", "a"]}, keep=["c"])
    found = recipe.fit_transform(TABLE)
    expected = pd.DataFrame({"c": [5.0, 8.0], "abc": [15.0, 64.0], "c_per_a": [5.0, 4.0]}, index=[7, 9])
    pd.testing.assert_frame_equal(found, expected)
    assert recipe.get_feature_names_out().tolist() == ["c", "abc", "c_per_a"]


def test_all_columns_are_kept_by_default():
    assert list(pg.DerivedColumns(products={"ab": ["a", "b"]}).fit_transform(TABLE)) == ["a", "b", "c", "ab"]


def test_each_row_is_computed_from_itself_alone(rng):
    rows = pd.DataFrame(rng.normal(size=(20, 3)), columns=["a", "b", "c"])
    recipe = pg.DerivedColumns(products={"ab": ["a", "b"]}, ratios={"bc": ["b", "c"]}).fit(rows[:5])
    pd.testing.assert_frame_equal(recipe.transform(rows)[10:], recipe.transform(rows[10:]))


def test_a_gap_stays_a_gap():
    rows = TABLE.assign(a=[np.nan, 2.0])
    found = pg.DerivedColumns(products={"ab": ["a", "b"]}, ratios={"ba": ["b", "a"]}).fit_transform(rows)
    assert found[["ab", "ba"]].isna().to_numpy().tolist() == [[True, True], [False, False]]


def test_it_is_a_step_of_a_pipeline(rng):
    rows = pd.DataFrame(rng.normal(size=(60, 2)), columns=["a", "b"])
    y = rows["a"] * rows["b"] > 0
    pipeline = make_pipeline(pg.DerivedColumns(products={"ab": ["a", "b"]}), LogisticRegression())
    assert clone(pipeline).fit(rows, y).score(rows, y) > 0.9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"products": {"x": ["a", "z"]}}, "no column 'z'"),
        ({"keep": ["q"]}, "no column 'q'"),
        ({"products": {"x": ["a"]}}, "product 'x' needs a list of two or more"),
        ({"products": {"x": "ab"}}, "product 'x' needs a list of two or more"),
        ({"ratios": {"x": ["a", "b", "c"]}}, "ratio 'x' needs two columns"),
        ({"products": {"a": ["b", "c"]}}, "'a' is given more than once"),
    ],
)
def test_a_list_that_cannot_be_computed(settings, message):
    with pytest.raises(pg.PermGradError, match=message):
        pg.DerivedColumns(**settings).fit(TABLE)


def test_text_and_division_by_zero():
    with pytest.raises(pg.PermGradError, match="numeric columns, 'a'"):
        pg.DerivedColumns(products={"x": ["a", "b"]}).fit(TABLE.assign(a=["x", "y"]))
    recipe = pg.DerivedColumns(ratios={"x": ["a", "b"]}).fit(TABLE)
    with pytest.raises(pg.PermGradError, match="'x' divides by 'b', which is 0 in 1 rows"):
        recipe.transform(TABLE.assign(b=[0.0, 1.0]))
    with pytest.raises(pg.PermGradError, match="absent: 'a'"):
        recipe.transform(TABLE.drop(columns="a"))
