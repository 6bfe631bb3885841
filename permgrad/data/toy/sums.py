"""Sums of columns: alone, beside columns that only go together with them, copied, and of categories."""

from __future__ import annotations

import numpy as np
import pandas as pd

from permgrad.data.table import Table, Task
from permgrad.data.toy._planting import planted, positions
from permgrad.errors import PermGradError


def additive(
    n_rows: int = 1000,
    n_features: int = 20,
    random_state: int = 0,
    *,
    n_relevant: int = 5,
    noise: float = 0.3,
    task: Task = "regression",
) -> Table:
    """Return standard normal features; the target is a weighted sum of some of them, plus noise.

    Parameters
    ----------
    n_rows, n_features : int
    random_state : int
    n_relevant : int
    noise : float
        Standard deviation, beside weights between 0.5 and 1.5 in size, of either sign.
    task : {"regression", "classification"}
        The sum itself, or whether it is above 0.

    Returns
    -------
    Table
        ``notes["relevant"]``, and ``notes["coefficients"]``: the weight of each relevant column.

    Raises
    ------
    PermGradError
        If there are fewer features than relevant ones.

    Examples
    --------
    >>> table = pg.toy.additive(n_rows=100, n_features=6, n_relevant=2)
    >>> table.X.shape, table.task
    ((100, 6), 'regression')
    >>> table.notes["relevant"]
    ['x5', 'x1']
    """
    rng = np.random.default_rng([random_state, n_relevant])
    X, at = rng.normal(size=(n_rows, n_features)), positions(rng, n_features, n_relevant)
    weights = _weights(rng, n_relevant)
    y = _target(X[:, at] @ weights + rng.normal(scale=noise, size=n_rows), task)
    return planted("additive", X, y, at, coefficients=_named(at, weights))


def correlated_nulls(
    n_rows: int = 1000,
    n_relevant: int = 3,
    n_null: int = 6,
    correlation: float = 0.8,
    random_state: int = 0,
    *,
    noise: float = 0.5,
    task: Task = "regression",
) -> Table:
    """Return normal features; the irrelevant ones correlate with relevant ones, but add no information.

    The relevant features z are independent and standard normal. Each null is ``correlation * z_j +
    sqrt(1 - correlation**2) * e`` of one of them, its parent, in turn, with noise e of its own: given the relevant
    features, it is independent of the target, so a p-value of a conditional test is uniform; two nulls of one
    parent correlate by ``correlation**2``. The target is a weighted sum of all z and of (z_1**2 - 1) / sqrt(2), with
    noise.

    Parameters
    ----------
    n_rows : int
    n_relevant, n_null : int
    correlation : float
        Of a null with its parent, in [-1, 1].
    random_state : int
    noise : float
        Standard deviation, beside weights between 0.5 and 1.5 in size.
    task : {"regression", "classification"}
        The sum itself, or whether it is above 0.

    Returns
    -------
    Table
        ``notes["relevant"]``; ``notes["parents"]``, null → relevant column; ``notes["correlation"]``;
        ``notes["coefficients"]`` of the linear part, and ``notes["squared"]``, the column and weight of the square.

    Raises
    ------
    PermGradError
        If there is no relevant feature, or the correlation is out of range.

    Examples
    --------
    >>> table = pg.toy.correlated_nulls(n_rows=2000, n_relevant=1, n_null=2)
    >>> table.notes["parents"]
    {'x0': 'x2', 'x1': 'x2'}
    >>> float(table.X.corr().iloc[0, 1].round(1))
    0.7
    """
    if not -1 <= correlation <= 1:
        raise PermGradError(f"correlation must be in [-1, 1], got {correlation}")
    rng = np.random.default_rng([random_state, n_relevant])
    n_features = n_relevant + n_null
    at = positions(rng, n_features, n_relevant)
    nulls = np.setdiff1d(np.arange(n_features), at)
    z, parents = rng.normal(size=(n_rows, n_relevant)), np.arange(n_null) % n_relevant
    X = np.empty((n_rows, n_features))
    X[:, at] = z
    X[:, nulls] = correlation * z[:, parents] + np.sqrt(1 - correlation**2) * rng.normal(size=(n_rows, n_null))
    weights, square = _weights(rng, n_relevant), _weights(rng, 1)[0]
    signal = z @ weights + square * (z[:, 0] ** 2 - 1) / np.sqrt(2)
    notes = {
        "parents": {f"x{null}": f"x{at[parent]}" for null, parent in zip(nulls, parents, strict=True)},
        "correlation": float(correlation),
        "coefficients": _named(at, weights),
        "squared": {f"x{at[0]}": float(square)},
    }
    y = _target(signal + rng.normal(scale=noise, size=n_rows), task)
    return planted("correlated nulls", X, y, at, **notes)


def duplicated(
    n_rows: int = 1000,
    n_features: int = 20,
    random_state: int = 0,
    *,
    n_relevant: int = 4,
    n_copied: int = 2,
    n_copies: int = 2,
    copy_noise: float = 0.0,
    noise: float = 0.3,
    task: Task = "regression",
) -> Table:
    """Return standard normal features, with copies of some relevant ones: importance is shared or lost.

    Parameters
    ----------
    n_rows : int
    n_features : int
        All columns, copies among them.
    random_state : int
    n_relevant : int
        Columns that the weighted sum is made of.
    n_copied, n_copies : int
        How many of them have copies, and how many copies each.
    copy_noise : float
        Standard deviation of what is added to a copy; 0 for exact copies.
    noise, task
        As of `additive`.

    Returns
    -------
    Table
        ``notes["relevant"]``: columns that tell about the target, originals first, then their copies;
        ``notes["groups"]``: each copied original → itself and its copies; ``notes["coefficients"]`` of the originals.

    Raises
    ------
    PermGradError
        If the columns do not suffice, or more relevant features are to be copied than there are.

    Examples
    --------
    >>> table = pg.toy.duplicated(n_rows=100, n_features=8)
    >>> table.notes["groups"]
    {'x5': ['x5', 'x1', 'x4'], 'x0': ['x0', 'x7', 'x3']}
    """
    if not 0 <= n_copied <= n_relevant or n_copies < 0:
        raise PermGradError(
            f"n_copied must be between 0 and n_relevant={n_relevant}, and n_copies at least 0;"
            f" got {n_copied} and {n_copies}"
        )
    rng = np.random.default_rng([random_state, n_relevant])
    at = positions(rng, n_features, n_relevant + n_copied * n_copies)
    X = rng.normal(size=(n_rows, n_features))
    originals, copies = at[:n_relevant], at[n_relevant:].reshape(n_copied, n_copies)
    X[:, copies] = X[:, originals[:n_copied], None] + copy_noise * rng.normal(size=(n_rows, n_copied, n_copies))
    weights = _weights(rng, n_relevant)
    y = _target(X[:, originals] @ weights + rng.normal(scale=noise, size=n_rows), task)
    groups = {f"x{i}": [f"x{j}" for j in (i, *own)] for i, own in zip(originals, copies, strict=False)}
    return planted("duplicated", X, y, at, groups=groups, coefficients=_named(originals, weights))


def categorical(
    n_rows: int = 1000,
    n_features: int = 12,
    random_state: int = 0,
    *,
    n_relevant: int = 4,
    n_levels: int = 4,
    n_null_levels: int = 30,
    noise: float = 0.3,
    task: Task = "classification",
) -> Table:
    """Return text columns beside standard normal ones; the irrelevant text columns have many more levels.

    Impurity importance, and any method that scores one-hot columns one by one, is drawn to columns of many levels.
    Half of the relevant features and half of the others (rounded up) are text. Each level of a relevant text
    column adds its own amount to the target; the amounts are evenly spaced, of mean 0 and variance 1, times a weight.

    Parameters
    ----------
    n_rows, n_features : int
    random_state : int
    n_relevant : int
    n_levels, n_null_levels : int
        Levels of a relevant and of an irrelevant text column, equally likely.
    noise, task
        As of `additive`.

    Returns
    -------
    Table
        ``notes["relevant"]``; ``notes["text"]``: the text columns; ``notes["coefficients"]``.

    Raises
    ------
    PermGradError
        If there are fewer features than relevant ones, or a text column would have a single level.

    Examples
    --------
    >>> table = pg.toy.categorical(n_rows=200, n_features=4, n_relevant=2)
    >>> table.notes["text"]
    ['x0', 'x2']
    >>> table.X["x0"].nunique(), table.X.shape
    (30, (200, 4))
    """
    if min(n_levels, n_null_levels) < 2:
        raise PermGradError(f"a text column needs two levels or more, got {n_levels} and {n_null_levels}")
    rng = np.random.default_rng([random_state, n_relevant])
    at = positions(rng, n_features, n_relevant)
    others = np.setdiff1d(np.arange(n_features), at)
    X = pd.DataFrame(rng.normal(size=(n_rows, n_features))).add_prefix("x")
    values = X.to_numpy(copy=True)
    amounts = (np.arange(n_levels) - (n_levels - 1) / 2) / np.sqrt((n_levels**2 - 1) / 12)
    relevant_text, null_text = at[: -(-n_relevant // 2)], others[: -(-len(others) // 2)]
    for i in (*relevant_text, *null_text):
        level = rng.integers(n_levels if i in relevant_text else n_null_levels, size=n_rows)
        X[f"x{i}"] = [f"level {number}" for number in level]
        if i in relevant_text:
            values[:, i] = amounts[level]
    weights = _weights(rng, n_relevant)
    y = _target(values[:, at] @ weights + rng.normal(scale=noise, size=n_rows), task)
    text = [f"x{i}" for i in sorted((*relevant_text, *null_text))]
    return planted("categorical", X, y, at, text=text, coefficients=_named(at, weights))


def _weights(rng: np.random.Generator, count: int) -> np.ndarray:
    return rng.uniform(0.5, 1.5, count) * rng.choice([-1, 1], count)


def _named(at: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    return {f"x{i}": float(weight) for i, weight in zip(at, weights, strict=True)}


def _target(total: np.ndarray, task: Task) -> np.ndarray:
    if task not in ("regression", "classification"):
        raise PermGradError(f"task must be 'regression' or 'classification', got {task!r}")
    return total > 0 if task == "classification" else total
