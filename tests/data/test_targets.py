from __future__ import annotations

import datetime
import re

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.data._targets import as_task, without_rare

INFERRED = {
    "text": (["u", "v"] * 15, "classification", "holds labels of 2 kinds"),
    "truth": ([True, False] * 15, "classification", "true or false"),
    "ratings": ([1, 2, 3, 4, 5] * 6, "classification", "5 different whole numbers, at most 20; .* say task regression"),
    "plus and minus one": ([-1.0, 1.0] * 15, "classification", "2 different whole numbers"),
    "counts": (list(range(30)), "regression", "30 different whole numbers, more than 20; .* say task classification"),
    "two numbers with fractions": ([0.1, 0.9] * 15, "regression", "2 different numbers with fractions; .* classif"),
    "measures": (list(np.linspace(0, 1, 30)), "regression", "30 different numbers$"),
    "measures in text": ([f"{i / 7:.3f} €" for i in range(30)], "regression", "30 different numbers$"),
    "counts in text": ([f"{i},000" for i in range(30)], "regression", "30 different whole numbers"),
    "labels in text": (["0", "1"] * 15, "classification", "holds labels of 2 kinds"),
}


@pytest.mark.parametrize("case", INFERRED)
def test_the_task_and_its_reason(case):
    values, task, reason = INFERRED[case]
    table = pg.Table(np.random.default_rng(0).normal(size=(30, 2)), pd.Series(values, name="t"))
    assert table.task == task
    assert len(table.said) == 1
    assert table.said[0].startswith(f"{task}: 't' ")
    assert re.search(reason, table.said[0])


def test_what_is_told_is_not_reasoned():
    X = np.random.default_rng(0).normal(size=(30, 2))
    ratings = pg.Table(X, [1, 2, 3, 4, 5] * 6, task="regression")
    assert (ratings.task, ratings.said) == ("regression", ())
    text = pg.Table(X, ["1", "2", "3"] * 10, task="regression")
    assert text.y.tolist() == [1, 2, 3] * 10
    fractions = pg.Table(X, [0.1, 0.9] * 15, task="classification")
    assert fractions.classes == ["0.1", "0.9"]


def test_dates_and_words_are_no_numbers():
    y = pd.Series([datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)], name="due")
    with pytest.raises(pg.PermGradError, match="the target 'due' holds dates; convert them to numbers"):
        as_task(y, None)
    with pytest.raises(pg.PermGradError, match="regression needs a numeric target"):
        as_task(pd.Series(["low", "high"], name="y"), "regression")


def test_a_text_that_stands_for_nothing_is_a_missing_target():
    X = np.random.default_rng(0).normal(size=(30, 2))
    for gap in ("?", "", None):
        y = pd.Series([gap, *["u", "v"] * 14, "u"], name="y")
        with pytest.raises(pg.PermGradError, match="the target 'y' is missing in 1 of 30 rows"):
            pg.Table(X, y)


LABELS = pd.Series([*["a"] * 9, *["b"] * 8, *["c"] * 4, *["d"] * 3], name="y")


def test_rare_classes():
    X = pd.DataFrame({"row": np.arange(24.0)})
    with pytest.raises(pg.PermGradError, match=r"too few of 'c', 'd': .* by rare='drop' or 'merge' \(--rare\)"):
        pg.Table(X, LABELS).split()
    merged = pg.Table(X, LABELS, rare="merge")
    assert merged.y.tolist() == ["a"] * 9 + ["b"] * 8 + ["other"] * 7
    assert merged.said[-1] == "merged into the class 'other': 'c', 'd', of fewer than 5 rows each"
    assert {frozenset(part.y) for part in merged.split()} == {frozenset({"a", "b", "other"})}
    dropped = pg.Table(X, LABELS, rare="drop")
    assert dropped.X["row"].tolist() == list(range(17))
    assert dropped.said[-1] == "left out 7 rows: classes 'c', 'd', of fewer than 5 rows each"
    assert len(dropped.split()) == 3


@pytest.mark.parametrize(
    ("labels", "rare", "message"),
    [
        (LABELS, "keep", "rare must be 'error', 'merge' or 'drop', got 'keep'"),
        (LABELS[:21], "merge", "only one class, 'c', has fewer than 5 rows"),
        (pd.Series([*"aaaaa", *"bbb"]), "drop", "fewer than two classes have 5 rows"),
        (pd.Series([*"aaaaabbbbb", "c", "d"]), "merge", "have 2 rows together; drop them"),
    ],
)
def test_rare_classes_that_cannot_be_helped(labels, rare, message):
    with pytest.raises(pg.PermGradError, match=message):
        without_rare(labels, rare)


def test_a_class_that_is_called_other_already():
    labels = LABELS.replace("a", "other")
    assert "other (merged)" in set(without_rare(labels, "merge")[1])
    numbers = LABELS.map({"a": 1, "b": 2, "c": 3, "d": 4})
    assert set(without_rare(numbers, "merge")[1]) == {"1", "2", "other"}


def test_a_leak_is_told_by_values_and_never_by_name(rng):
    prices = pd.DataFrame(rng.normal(size=(60, 3)), columns=["price", "volume", "target"])
    rises = (prices["price"].shift(-1) > prices["price"]).rename("price")
    assert pg.Table(prices, rises).features == ["price", "volume", "target"]
    assert pg.Table(prices, rises.to_numpy()).y.name == "target"
    assert pg.Table(prices.set_axis([0, 1, 2], axis=1), rises.rename(0)).features == ["0", "1", "2"]
    with pytest.raises(pg.PermGradError, match="column 'volume' equals the target 'y' in every row; drop it"):
        pg.Table(prices, prices["volume"].rename("y"))
    with pytest.raises(pg.PermGradError, match="column 'same' equals the target 'same' in every row"):
        pg.Table(prices.assign(same=rises), rises.rename("same"))
    assert pg.Table(prices.assign(twin=rises), rises.rename("y")).task == "classification"  # the check-up tells of it


def test_columns_to_drop(rng):
    X = pd.DataFrame(rng.normal(size=(30, 3)), columns=["a", "b", "c"])
    table = pg.Table(X, [0, 1] * 15, drop=["b"], task="classification")
    assert (table.features, table.said) == (["a", "c"], ("left out, as you said: 'b'",))
    with pytest.raises(pg.PermGradError, match="no column 'd' to drop"):
        pg.Table(X, [0, 1] * 15, drop=["d"])
    with pytest.raises(pg.PermGradError, match="no column is left"):
        pg.Table(X, [0, 1] * 15, drop=["a", "b", "c"])
