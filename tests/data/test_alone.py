from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from permgrad.data._alone import (
    TREE,
    as_numbers,
    correlated_most,
    first_columns,
    sample,
    told_alone,
    told_apart,
)

N = 300


@pytest.mark.parametrize("classes", [True, False])
def test_numbers_as_scikit_learn_has_them(classes, rng):
    x = rng.normal(size=N)
    x[::7] = np.nan
    goal = np.nan_to_num(x) + rng.normal(size=N)
    target = (goal > 0).astype(int) if classes else goal
    tree = (DecisionTreeClassifier if classes else DecisionTreeRegressor)(**TREE, random_state=0)
    folds = (StratifiedKFold if classes else KFold)(3, shuffle=True, random_state=0)
    method = "predict_proba" if classes else "predict"
    predicted = cross_val_predict(tree, x[:, None], target, cv=folds, method=method)
    expected = roc_auc_score(target, predicted[:, 1]) if classes else r2_score(target, predicted)
    assert told_alone(pd.Series(x), target, classes=classes) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("classes", [True, False])
def test_categories_against_a_plain_loop(classes, rng):
    column = pd.Series(rng.choice(["a", "b", "c", None], N), dtype=object)
    goal = column.map({"a": 0.0, "b": 1.0, "c": 2.0}).fillna(3.0).to_numpy() + rng.normal(size=N)
    target = (goal > 1).astype(int) if classes else goal
    folds = (StratifiedKFold if classes else KFold)(3, shuffle=True, random_state=0)
    predicted = np.empty(N)
    levels = column.fillna("(missing)").tolist()
    for rows, left_out in folds.split(levels, target):
        mean = sum(target[i] for i in rows) / len(rows)
        for i in left_out:
            alike = [target[j] for j in rows if levels[j] == levels[i]]
            predicted[i] = (sum(alike) + mean) / (len(alike) + 1)
    expected = roc_auc_score(target, predicted) if classes else r2_score(target, predicted)
    assert told_alone(column, target, classes=classes) == pytest.approx(expected, abs=1e-12)


def test_what_tells_all_and_what_tells_nothing(rng):
    target = rng.integers(0, 3, N)
    names = pd.Series(np.array(["u", "v", "w"])[target])
    assert told_alone(names, target, classes=True) == 1
    assert told_alone(pd.Series(target * 10.0), target, classes=True) == 1
    assert abs(told_alone(pd.Series(rng.normal(size=N)), target, classes=True) - 0.5) < 0.08
    known = pd.Series(np.where(target == 1, pd.Timestamp("2020-01-01"), pd.NaT)).astype("datetime64[ns]")
    assert told_alone(known, (target == 1).astype(int), classes=True) == 1  # a date that only one class has
    assert np.isnan(told_alone(names, np.repeat([0, 1], [N - 2, 2]), classes=True))


def test_rows_that_differ_are_told_apart(rng):
    frame = pd.DataFrame(rng.normal(size=(N, 3)), columns=["a", "b", "c"]).assign(kind=rng.choice(["u", "v"], N))
    auc, _ = told_apart(frame[:200], frame[200:])
    assert abs(auc - 0.5) < 0.12
    auc, by = told_apart(frame[:200], frame[200:].assign(b=lambda f: f.b + 3))
    assert auc > 0.95
    assert by[0] == "b"
    auc, by = told_apart(frame[:200], frame[200:].assign(kind="w"))
    assert auc == pytest.approx(1)
    assert by[0] == "kind"
    assert np.isnan(told_apart(frame[:4], frame[4:])[0])


def test_categories_are_numbered_by_frequency():
    values, levels = as_numbers(pd.Series(["b", "a", "a", None, "a", "b"]))
    assert (values.tolist(), levels) == ([1, 0, 0, 2, 0, 1], 3)
    assert as_numbers(pd.Series([True, False, True]))[1] == 2
    assert as_numbers(pd.Series([1, 2, 3]))[1] == 0


def test_of_many_columns_those_that_correlate_most(rng):
    target = rng.normal(size=N)
    frame = pd.DataFrame(rng.normal(size=(N, 20))).add_prefix("n").assign(up=np.exp(target), down=-(target**3), same=1)
    assert correlated_most(frame, target, 2) == ["up", "down"]


def test_samples():
    assert sample(5, 9, 0).tolist() == [0, 1, 2, 3, 4]
    drawn = sample(1000, 10, 0)
    assert len(np.unique(drawn)) == 10
    assert (np.diff(drawn) > 0).all()
    assert first_columns(list("abcdefg"), 3) == ["a", "d", "g"]
    assert first_columns(list("ab"), 3) == ["a", "b"]
