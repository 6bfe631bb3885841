"""The target: which task it asks for, with the reason; numbers in text; classes of few rows."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal

import numpy as np
import pandas as pd

from permgrad.data._dates import is_date
from permgrad.data._kinds import blanks_to_missing
from permgrad.data._text_numbers import decimal_mark, to_numbers
from permgrad.errors import PermGradError, listing

Task = Literal["regression", "classification"]
Rare = Literal["error", "merge", "drop"]

MAX_INTEGER_CLASSES = 20
"""A target of whole numbers with at most this many distinct values is taken for classes."""
MIN_CLASS_ROWS = 5
"""Rows of each class that a stratified split into three parts needs."""
MERGED = "other"


def as_task(y: pd.Series, task: Task | None, *, decimal: str = ".") -> tuple[pd.Series, Task, str]:
    """Return the target as its task has it, the task, and why it is this one; "" where it was given.

    Numbers in text become numbers, but for few whole ones, which are labels; of a classification, numbers with a
    fraction become labels of text.

    Raises
    ------
    PermGradError
        If the task is none, or the target holds dates or text where numbers are needed.
    """
    if task not in (None, "regression", "classification"):
        raise PermGradError(f"task must be 'regression' or 'classification', got {task!r}")
    if is_date(y):
        raise PermGradError(f"the target {y.name!r} holds dates; convert them to numbers, such as days, or to labels")
    y = blanks_to_missing(y)
    numbers = _numbers_in(y, decimal)
    if numbers is not None and (task == "regression" or (task is None and _inferred(numbers)[0] == "regression")):
        y = numbers
    reason = ""
    if task is None:
        task, reason = _inferred(y)
    if task == "regression" and not pd.api.types.is_numeric_dtype(y):
        raise PermGradError(f"regression needs a numeric target, {y.name!r} is of type {y.dtype}")
    if task == "classification" and pd.api.types.is_float_dtype(y) and _has_fractions(y):
        y = y.map(lambda value: np.format_float_positional(value, trim="-"), na_action="ignore")
    return y, task, reason


def without_rare(y: pd.Series, rare: Rare) -> tuple[np.ndarray, pd.Series, str]:
    """Return the rows to keep, their labels, and what was done to classes of fewer than 5 rows; "" for nothing.

    Parameters
    ----------
    y : Series
        Labels.
    rare : {"error", "merge", "drop"}
        "merge" makes one class of them, called "other"; "drop" leaves their rows out; "error" leaves them as they are,
        and a split refuses them.

    Raises
    ------
    PermGradError
        If the merged class is too small itself, or fewer than two classes are left.
    """
    if rare not in ("error", "merge", "drop"):
        raise PermGradError(f"rare must be 'error', 'merge' or 'drop', got {rare!r}")
    everything = np.arange(len(y))
    small = small_classes(y)
    if rare == "error" or not small:
        return everything, y, ""
    is_small = y.isin(small).to_numpy()
    names = f"{listing(small)}, of fewer than {MIN_CLASS_ROWS} rows each"
    if rare == "drop" or len(small) == 1:
        if rare == "merge":
            raise PermGradError(
                f"only one class, {listing(small)}, has fewer than {MIN_CLASS_ROWS} rows; drop it (rare)"
            )
        if y[~is_small].nunique() < 2:
            raise PermGradError(f"fewer than two classes have {MIN_CLASS_ROWS} rows; give more rows, or merge classes")
        return everything[~is_small], y[~is_small], f"left out {int(is_small.sum())} rows: classes {names}"
    if is_small.sum() < MIN_CLASS_ROWS:
        raise PermGradError(f"classes {names}, have {int(is_small.sum())} rows together; drop them (rare='drop')")
    labels = y.map(str).astype(object)
    merged = MERGED if MERGED not in set(labels[~is_small]) else f"{MERGED} (merged)"
    return everything, labels.mask(is_small, merged), f"merged into the class {merged!r}: {names}"


def small_classes(y: pd.Series) -> list[Any]:
    """Return the labels of fewer than 5 rows."""
    return sorted((label for label, count in Counter(y).items() if count < MIN_CLASS_ROWS), key=str)


def check_class_sizes(y: pd.Series) -> None:
    """Raise if a class has too few rows to be in each of three parts."""
    small = small_classes(y)
    if small:
        raise PermGradError(
            f"a stratified split into three parts needs at least {MIN_CLASS_ROWS} rows of every class;"
            f" too few of {listing(small)}: drop or merge these classes, by rare='drop' or 'merge' (--rare)"
        )


def _inferred(y: pd.Series) -> tuple[Task, str]:
    """Return the task that a target asks for, and why."""
    n, name = y.nunique(), y.name
    if pd.api.types.is_bool_dtype(y):
        return "classification", f"classification: {name!r} is true or false"
    if not pd.api.types.is_numeric_dtype(y):
        return "classification", f"classification: {name!r} holds labels of {n:,} kinds"
    whole = not _has_fractions(y)
    if whole and n <= MAX_INTEGER_CLASSES:
        return "classification", (
            f"classification: {name!r} holds {n} different whole numbers, at most {MAX_INTEGER_CLASSES};"
            " if they are amounts, say task regression (--task)"
        )
    if whole:
        return "regression", (
            f"regression: {name!r} holds {n:,} different whole numbers, more than {MAX_INTEGER_CLASSES};"
            " if they are classes, say task classification (--task)"
        )
    if n <= MAX_INTEGER_CLASSES:
        return "regression", (
            f"regression: {name!r} holds {n} different numbers with fractions;"
            " if they are classes, say task classification (--task)"
        )
    return "regression", f"regression: {name!r} holds {n:,} different numbers"


def _numbers_in(y: pd.Series, decimal: str) -> pd.Series | None:
    """Return the numbers that a target of text holds; None where it holds others."""
    if not pd.api.types.is_object_dtype(y.dtype) and not pd.api.types.is_string_dtype(y.dtype):
        return None
    values = pd.unique(y.dropna())
    if not len(values) or not all(isinstance(value, str) for value in values):
        return None
    mark = decimal_mark(list(values), decimal)
    return None if mark is None else to_numbers(y, mark)[0]


def _has_fractions(y: pd.Series) -> bool:
    values = y.dropna().to_numpy(float)
    return bool((values != np.floor(values)).any())


def check_no_leak(X: pd.DataFrame, y: pd.Series) -> None:
    """Raise if a column of `X` is the target itself: by its values, where that can be no coincidence."""
    for name, column in X.items():
        alike = pd.notna(column.iloc[0]) and column.iloc[0] == y.iloc[0]  # spares most columns the full comparison
        if (
            alike
            and (column.nunique() > 2 or str(y.name) == name)
            and (column.astype(object) == y.astype(object)).fillna(False).all()
        ):
            raise PermGradError(f"column {name!r} equals the target {y.name!r} in every row; drop it from X")


def check_labels(y: pd.Series) -> None:
    """Raise for labels of several kinds, and for nearly as many classes as rows."""
    if len({isinstance(label, str) for label in y.unique()}) > 1:
        raise PermGradError(f"labels must be all text or all numbers, the target {y.name!r} mixes them; convert it")
    if y.nunique() > len(y) // 2 and y.nunique() > 2:
        raise PermGradError(
            f"the target {y.name!r} has {y.nunique()} classes in {len(y)} rows; give more rows for each class, or pass"
            " task='regression'"
        )
