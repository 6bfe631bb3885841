"""Which rows are trained on, and which are held out: at random, by group, the latest, or as a column says."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
    train_test_split,
)

from permgrad.data._targets import check_class_sizes
from permgrad.data.rows import PARTS, RowFacts
from permgrad.errors import PermGradError, as_permgrad_error, listing

MOST_FOLDS = 20
"""Folds of whole groups that a share of the rows is put together from."""
Positions = tuple[np.ndarray, ...]


def three_parts(
    y: pd.Series, facts: RowFacts, sizes: tuple[float, float, float], random_state: int, *, classes: bool
) -> Positions:
    """Return the positions of training, validation and test rows.

    Parameters
    ----------
    y : Series
    facts : RowFacts
    sizes : three floats
        Shares of the rows; of those that `facts` put into no part yet.
    random_state : int
    classes : bool
        Whether `y` holds labels, whose shares are to be alike in all parts.

    Raises
    ------
    PermGradError
        If there are too few rows, groups or times, or a class is not among the training rows.
    """
    train_size, val_size, test_size = sizes
    if facts.parts is not None:
        of_rows = facts.parts.to_numpy()
        train, val, test = (np.flatnonzero(of_rows == part) for part in PARTS)
        loose = np.flatnonzero(of_rows == "")
        if len(loose):
            share = val_size / (train_size + val_size)
            rest, held = holdout(y.iloc[loose], facts.take(loose), share, random_state, classes=classes)
            train, val = np.union1d(train, loose[rest]), np.union1d(val, loose[held])
    elif facts.groups is None and facts.times is None:
        return _at_random(y, sizes, random_state, classes)
    else:
        rest, test = holdout(y, facts, test_size, random_state, classes=classes)
        share = val_size / (train_size + val_size)
        inner, outer = holdout(y.iloc[rest], facts.take(rest), share, random_state, classes=classes)
        train, val = rest[inner], rest[outer]
    if classes:
        absent = sorted(set(y) - set(y.iloc[train]), key=str)
        if absent:
            raise PermGradError(
                f"class {listing(absent)} has no training row: all of its rows are validation or test rows; merge or"
                " drop it, or split in another way"
            )
    return train, val, test


def _at_random(y: pd.Series, sizes: tuple[float, float, float], random_state: int, classes: bool) -> Positions:
    train_size, val_size, test_size = sizes
    if classes:
        check_class_sizes(y)
    with as_permgrad_error():
        train, rest = train_test_split(
            np.arange(len(y)), train_size=train_size, random_state=random_state, stratify=y if classes else None
        )
        val, test = train_test_split(
            rest,
            test_size=test_size / (val_size + test_size),
            random_state=random_state,
            stratify=y[rest] if classes else None,
        )
    return train, val, test


def holdout(y: pd.Series, facts: RowFacts, share: float, random_state: int, *, classes: bool) -> Positions:
    """Return the positions of rows to fit on, and of about that share of the rows (at random: or number) to hold out.

    Of times the latest are held out, all rows of one time on one side. Of groups whole ones. Of both, the groups that
    begin latest; what the others have from then on is in neither part, so that all fitted on lies before.

    Raises
    ------
    PermGradError
        If there are too few groups or times.
    """
    if facts.times is not None:
        at, times = _beginnings(facts)
        first = _first_held_out(at, share, facts)
        return np.flatnonzero((at < first) & (times < first)), np.flatnonzero(at >= first)
    if facts.groups is not None:
        return _whole_groups(y, facts, share, random_state, classes)
    with as_permgrad_error():
        rest, held = train_test_split(
            np.arange(len(y)), test_size=share, random_state=random_state, stratify=y if classes else None
        )
    return rest, held


def folds(y: pd.Series, facts: RowFacts, n: int, random_state: int, *, classes: bool) -> list[Positions]:
    """Return so many pairs of positions, of rows to fit on and of rows to decide by.

    At random each row decides once, and so does each group. Of times, the folds roll forward: of the later half of the
    rows, each n-th decides for what lies before it.

    Raises
    ------
    PermGradError
        If there are fewer groups or times than folds.
    """
    if facts.times is not None:
        return _rolling(facts, n)
    splits: Any
    if facts.groups is not None:
        if facts.groups.nunique() < n:
            raise PermGradError(f"{n} folds need as many groups, {facts.groups.name!r} has {facts.groups.nunique()}")
        kind = StratifiedGroupKFold if classes else GroupKFold
        splits = kind(n, shuffle=True, random_state=random_state).split(np.zeros(len(y)), y, facts.codes())
    else:
        kind = StratifiedKFold if classes else KFold
        splits = kind(n, shuffle=True, random_state=random_state).split(np.zeros(len(y)), y)
    with as_permgrad_error(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a class of fewer rows than there are folds is in some only
        return list(splits)


def _beginnings(facts: RowFacts) -> tuple[np.ndarray, np.ndarray]:
    """Return for each row when it counts as begun (its group's first time, or its own), and its own time."""
    times = _numbers(facts.times)
    if facts.groups is None:
        return times, times
    codes: Any = facts.codes()
    begin = np.full(int(codes.max()) + 1, np.inf)
    np.minimum.at(begin, codes, times)
    return begin[codes], times


def _numbers(times: Any) -> np.ndarray:
    if pd.api.types.is_datetime64_any_dtype(times.dtype):
        return times.astype("datetime64[ns]").astype("int64").to_numpy(float)
    return times.to_numpy(float)


def _first_held_out(at: np.ndarray, share: float, facts: RowFacts) -> float:
    """Return the time from which on rows are held out: the one that comes nearest to their share."""
    values, counts = np.unique(at, return_counts=True)
    if len(values) < 2:
        what = "one time" if facts.groups is None else f"groups of {facts.groups.name!r} that all begin at one time"
        raise PermGradError(
            f"rows are split by {facts.times.name!r}, and there is only {what} to split; leave time"  # type: ignore[union-attr]
            f"{' or group' if facts.groups is not None else ''} out"
        )
    after = counts[::-1].cumsum()[::-1][1:]
    return float(values[1 + int(np.abs(after - share * len(at)).argmin())])


def _whole_groups(y: pd.Series, facts: RowFacts, share: float, random_state: int, classes: bool) -> Positions:
    codes: Any = facts.codes()
    n_groups = int(codes.max()) + 1
    if n_groups < 2:
        raise PermGradError(f"rows are split by {facts.groups.name!r}, and there is only one group")  # type: ignore[union-attr]
    whole = [k for k in range(2, MOST_FOLDS + 1) if abs(share * k - round(share * k)) < 1e-9 and round(share * k)]
    k = min(whole[0] if whole else MOST_FOLDS, n_groups)
    taken = min(max(1, round(share * k)), k - 1)
    held_out = [held for _, held in folds(y, facts, k, random_state, classes=classes)]
    best: tuple[Any, Any] = ((-1, -1), None)
    for start in range(k):
        held = np.sort(np.concatenate([held_out[(start + i) % k] for i in range(taken)]))
        rest = np.setdiff1d(np.arange(len(y)), held)
        found = (y.iloc[rest].nunique(), y.iloc[held].nunique()) if classes else (0, 0)
        if len(held) and len(rest) and found > best[0]:  # of folds alike, the first
            best = (found, (rest, held))
    return best[1]


def _rolling(facts: RowFacts, n: int) -> list[Positions]:
    at, times = _beginnings(facts)
    order = np.argsort(at, kind="stable")
    size = max(1, len(at) // (2 * n))
    too_few = PermGradError(f"{n} folds need more than as many times, {facts.times.name!r} has too few")  # type: ignore[union-attr]
    if len(at) < n + 1:
        raise too_few
    chosen: list[Positions] = []
    for _, held in TimeSeriesSplit(n, test_size=size).split(order):
        first = at[order[held[0]]]  # rows of one time are on one side
        end = at[order[held[-1] + 1]] if held[-1] + 1 < len(order) else np.inf
        fitted = np.flatnonzero((at < first) & (times < first))
        deciding = np.flatnonzero((at >= first) & (at < end) & (times < end))
        if not len(fitted) or not len(deciding):
            raise too_few
        chosen.append((fitted, deciding))
    return chosen


def how_split(facts: RowFacts, parts: Positions, random_state: int) -> str:
    """Say in a line how rows were split."""
    sizes = " / ".join(f"{len(part):,}" for part in parts)
    train, val, test = (facts.take(part) for part in parts)
    groups = ""
    if facts.groups is not None:
        counts = " / ".join(f"{part.groups.nunique():,}" for part in (train, val, test))  # type: ignore[union-attr]
        groups = f"split by {facts.groups.name}: {counts} groups to train, validate and test ({sizes} rows)"
    lines = []
    if facts.parts is not None:
        origin = "as given" if (facts.parts == "").any() else f"by the column {facts.parts.name!r}"
        lines.append(f"test rows {origin}; {sizes} rows to train, validate and test")
    if facts.times is not None:
        share, name = len(test.times) / len(facts.times), facts.times.name  # type: ignore[arg-type]
        lines.append(
            f"test rows: the {share:.0%} latest by {name}, from {_shown(test.times)} on"
            if facts.parts is None
            else f"validation rows: the latest by {name} of the others, from {_shown(val.times)} on"
        )
    left_out = len(facts.groups if facts.groups is not None else ()) - sum(map(len, parts))
    if left_out > 0:
        lines.append(f"{left_out:,} later rows of earlier groups left out")
    return "; ".join(filter(None, [*lines, groups])) or f"split at random with random state {random_state}: {sizes}"


def _shown(times: Any) -> str:
    first = times.min()
    return str(first).removesuffix(" 00:00:00") if pd.api.types.is_datetime64_any_dtype(times.dtype) else f"{first:g}"
