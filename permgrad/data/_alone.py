"""How well each column tells the target alone, and whether two sets of rows can be told apart: both cross-validated.

A column that tells the target almost alone is mostly one that is known only with it or after it. Rows that can be told
apart do not come from one table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

FOLDS = 3
TREE = {"max_depth": 4, "min_samples_leaf": 5}
DEEP_TREE, SUSPECT_R2 = {"max_depth": 12, "min_samples_leaf": 2}, 0.8
"""Sixteen steps cannot follow numbers to an R² of 0.98: who reaches the second is followed by the first."""
FOREST = {"n_estimators": 25, "max_depth": 6, "min_samples_leaf": 5}


def told_alone(column: pd.Series, target: np.ndarray, *, classes: bool, random_state: int = 0) -> float:
    """Return how well one column tells the target of rows that are left out: AUC (mean over classes), or R².

    A shallow tree on numbers and dates, missing values included, and a deeper one where it tells most of a number; of a
    category, the mean target, or the classes'
    shares, of each level. Each fold is predicted by the others.

    Parameters
    ----------
    column : Series of length n_rows
        Numbers, datetime64, or categories.
    target : ndarray of shape (n_rows,)
        Class numbers, or numbers.
    classes : bool
        Whether it holds class numbers.
    random_state : int

    Returns
    -------
    float
        0.5, or 0, is what a constant gives. NaN where a class has too few rows to be left out.
    """
    if len(target) < 2 * FOLDS or (classes and np.bincount(target).min() < FOLDS):
        return np.nan
    shallow = _told(column, target, TREE, classes=classes, random_state=random_state)
    if classes or shallow < SUSPECT_R2:
        return shallow
    return max(shallow, _told(column, target, DEEP_TREE, classes=False, random_state=random_state))


def _told(column: pd.Series, target: np.ndarray, tree: dict[str, int], *, classes: bool, random_state: int) -> float:
    """Return AUC or R² of rows left out, predicted by levels' means, or by trees with these settings."""
    n_classes = int(target.max()) + 1 if classes else 1
    values, levels = as_numbers(column)
    folds = (StratifiedKFold if classes else KFold)(FOLDS, shuffle=True, random_state=random_state)
    predicted = np.empty((len(target), n_classes))
    for rows, left_out in folds.split(values[:, None], target):
        if levels:
            predicted[left_out] = _by_level(values[rows], target[rows], values[left_out], levels, n_classes, classes)
        else:
            model = (DecisionTreeClassifier if classes else DecisionTreeRegressor)(**tree, random_state=random_state)
            model.fit(values[rows, None], target[rows])
            at = values[left_out, None]
            predicted[left_out] = model.predict_proba(at) if classes else model.predict(at)[:, None]
    if not classes:
        return 1 - float(((target - predicted[:, 0]) ** 2).sum() / ((target - target.mean()) ** 2).sum())
    if n_classes == 2:
        return auc(target == 1, predicted[:, 1])
    return float(np.mean([auc(target == number, predicted[:, number]) for number in range(n_classes)]))


def auc(positive: np.ndarray, scores: np.ndarray) -> float:
    """Return the share of pairs of a positive and another row in which the positive one scores higher; ties count half.

    Mann and Whitney's statistic, without the checks that scikit-learn makes of each of many columns.
    """
    n, m = int(positive.sum()), int((~positive).sum())
    return float((rankdata(scores)[positive].sum() - n * (n + 1) / 2) / (n * m))


def told_apart(rows: pd.DataFrame, other: pd.DataFrame, *, random_state: int = 0) -> tuple[float, list[str]]:
    """Return how well a forest tells which of two sets rows are of that it was not fitted on, and by which columns.

    Returns
    -------
    auc : float
        0.5: not at all; 1: always. NaN for fewer rows than folds need.
    columns : list of str
        The three that it goes by most.
    """
    frame = pd.concat([rows, other], ignore_index=True)
    target = np.repeat([0, 1], [len(rows), len(other)])
    if min(len(rows), len(other)) < 2 * FOLDS or frame.shape[1] == 0:
        return np.nan, []
    X = np.column_stack([as_numbers(column)[0] for _, column in frame.items()])
    predicted, weights = np.empty(len(target)), np.zeros(X.shape[1])
    for fitted, left_out in StratifiedKFold(FOLDS, shuffle=True, random_state=random_state).split(X, target):
        forest = RandomForestClassifier(**FOREST, class_weight="balanced", random_state=random_state)
        forest.fit(X[fitted], target[fitted])
        predicted[left_out] = forest.predict_proba(X[left_out])[:, 1]
        weights += forest.feature_importances_
    best = np.argsort(-weights, kind="stable")[:3]
    return auc(target == 1, predicted), frame.columns[best].tolist()


def as_numbers(column: pd.Series) -> tuple[np.ndarray, int]:
    """Return a column as float64, NaN where a number is missing, and how many levels it has: 0 of numbers and dates.

    Categories are numbered by how often they occur; missing values are a level.
    """
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        days = (column - column.min()).dt.total_seconds().to_numpy(float) / 86_400
        return days, 0
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column.to_numpy(float, na_value=np.nan), 0
    codes, levels = pd.factorize(column.map(str, na_action="ignore").astype(object), use_na_sentinel=False)
    order = np.argsort(np.argsort(-np.bincount(codes, minlength=len(levels)), kind="stable"), kind="stable")
    return order[codes].astype(float), len(levels)


def correlated_most(frame: pd.DataFrame, target: np.ndarray, n_columns: int) -> list[str]:
    """Return the names of the columns whose ranks correlate most with the target's, in the frame's order."""
    values = np.column_stack([as_numbers(column)[0] for _, column in frame.items()])
    ranks = pd.DataFrame(values).rank().fillna(0).to_numpy()
    goal = pd.Series(target, dtype=float).rank().to_numpy()
    ranks, goal = ranks - ranks.mean(axis=0), goal - goal.mean()
    spread = np.sqrt((ranks**2).sum(axis=0) * (goal**2).sum())
    size = np.abs(ranks.T @ goal) / np.where(spread > 0, spread, 1)
    return frame.columns[np.sort(np.argsort(-size, kind="stable")[:n_columns])].tolist()


def _by_level(
    values: np.ndarray, target: np.ndarray, at: np.ndarray, n_levels: int, n_classes: int, classes: bool
) -> np.ndarray:
    """Return the mean target, or the classes' shares, of each row's level, drawn a little to those of all rows."""
    goal = np.eye(n_classes)[target] if classes else target[:, None].astype(float)
    overall = goal.mean(axis=0)
    codes = values.astype(int)
    counts = np.bincount(codes, minlength=n_levels)[:, None]
    sums = np.stack([np.bincount(codes, weights, minlength=n_levels) for weights in goal.T], axis=1)
    return ((sums + overall) / (counts + 1))[at.astype(int)]


def sample(rows: int, most: int, random_state: int) -> np.ndarray:
    """Return the positions of at most so many of the rows, drawn at random, in order."""
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(random_state).choice(rows, most, replace=False))


def first_columns(names: Sequence[str], most: int) -> list[str]:
    """Return at most so many names, evenly from all of them."""
    return [names[i] for i in np.unique(np.linspace(0, len(names) - 1, min(most, len(names))).astype(int))]
