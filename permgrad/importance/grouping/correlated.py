"""Groups of columns that carry much the same information, by clustering their rank correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from permgrad.errors import PermGradError
from permgrad.importance.grouping._columns import column_names, resolve_groups

THRESHOLDS = (0.3, 0.6)
"""Low, for tables of yes and no: among Dengue's symptoms no two correlate by more than 0.5."""
MOST_FEATURES = 20_000
"""That hang together by correlations above the lowest threshold: about 12 bytes for each pair of them, 5 GB."""
FLOATS_PER_BLOCK = 2**25
"""Of the correlations that are looked at together."""
ROUNDING = 1e-5


def correlated_groups(
    X: Any,
    thresholds: float | Sequence[float] = THRESHOLDS,
    *,
    columns: Mapping[str, Sequence[int]] | None = None,
) -> list[dict[str, list[str]]]:
    """Cluster features with a high rank correlation, from coarse to fine.

    The method is average linkage on ``1 - |Spearman's correlation|``. For features with several columns (categories),
    the largest correlation among their columns counts.

    Parameters
    ----------
    X : DataFrame or array of shape (n_rows, n_columns)
        Numbers, without missing values.
    thresholds : float or sequence of float
        Mean correlations, in (0, 1), above which clusters are joined. Ascending values give levels from coarse to fine.
    columns : mapping of str to positions, optional
        Features with several columns; by default each column is a feature, with its name or ``x0``, ``x1``, ...

    Returns
    -------
    list of dict
        One for each threshold: group name → its features, in the table's order. Every feature is in one group. A group
        of one feature has the feature's name; other groups are named after their first two members. The groups of each
        level are subsets of those of the level before.

    Raises
    ------
    PermGradError
        If thresholds are out of range or not ascending, or more than 20,000 features are connected.

    Notes
    -----
    Any number of features can be clustered: two clusters join only if some pair across them correlates above the
    threshold. So no cluster reaches beyond a connected part of the graph of such pairs, and each part has its own tree.

    References
    ----------
    Toloşi & Lengauer, Bioinformatics 27 (2011): importance divided among correlated features.

    Examples
    --------
    >>> X = pd.DataFrame({"a": range(20), "b": range(0, 40, 2), "c": [1, 2, 3, 0] * 5})
    >>> pg.correlated_groups(X, thresholds=0.5)
    [{'a + b': ['a', 'b'], 'c': ['c']}]
    """
    levels = [thresholds] if isinstance(thresholds, (int, float)) else list(thresholds)
    if not levels or min(levels) <= 0 or max(levels) >= 1 or sorted(set(levels)) != levels:
        raise PermGradError(f"thresholds must be correlations between 0 and 1, ascending, got {thresholds}")
    values = np.asarray(X, np.float32)
    members = resolve_groups(values.shape[1], column_names(X), columns)
    names, given = list(members), list(members.values())
    ranks = _unit_ranks(values[:, np.concatenate(given)])
    ends = np.cumsum([0, *(len(columns) for columns in given)])
    columns_of = [np.arange(*pair) for pair in pairwise(ends)]
    clusters = np.zeros((len(levels), len(names)), int)
    for part in _connected(ranks, columns_of, levels[0]):
        if len(part) > MOST_FEATURES:
            raise PermGradError(
                f"at most {MOST_FEATURES} features that hang together can be clustered, got {len(part)};"
                " raise the lowest threshold, or name groups yourself"
            )
        clusters[:, part] = _clustered(ranks, [columns_of[i] for i in part], levels) + clusters.max() + 1
    return [_named(names, of_level) for of_level in clusters]


def _unit_ranks(values: np.ndarray) -> np.ndarray:
    """Return each column's ranks, centred and of length 1, float32: their products are Spearman's correlations."""
    ranks = rankdata(values, axis=0).astype(np.float32)
    ranks -= ranks.mean(axis=0)
    norm = np.sqrt((ranks**2).sum(axis=0))
    ranks /= np.where(norm > 0, norm, 1)
    return ranks


def _connected(ranks: np.ndarray, members: list[np.ndarray], threshold: float) -> list[np.ndarray]:
    """Part the features into those that hang together by pairs correlated above the threshold; block by block."""
    n = ranks.shape[1]
    part = np.arange(n)
    for columns in members:
        part[columns] = columns[0]
    step = max(1, FLOATS_PER_BLOCK // n)
    for start in range(0, n, step):
        above = np.abs(ranks[:, start : start + step].T @ ranks[:, start:]) > threshold - ROUNDING
        row, column = np.nonzero(above)
        links = csr_array((np.ones(len(row), bool), (part[row + start], part[column + start])), (n, n))
        part = connected_components(links, directed=False)[1][part]
    numbers = part[[columns[0] for columns in members]]
    order = np.argsort(numbers, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)


def _clustered(ranks: np.ndarray, members: list[np.ndarray], levels: list[float]) -> np.ndarray:
    """Return each feature's cluster, from 0 on, by average linkage at each level: (n_levels, n_features)."""
    if len(members) == 1:
        return np.zeros((len(levels), 1), int)
    tree = linkage(squareform(_distances(ranks, members), checks=False), "average")
    return np.array([fcluster(tree, 1 - level, "distance") for level in levels]) - 1


def _distances(ranks: np.ndarray, members: list[np.ndarray]) -> np.ndarray:
    order, starts = np.concatenate(members), np.cumsum([0, *(len(columns) for columns in members)])[:-1]
    correlation = np.abs(ranks[:, order].T @ ranks[:, order])
    if len(order) > len(members):
        correlation = np.maximum.reduceat(correlation, starts, axis=0)
        correlation = np.maximum.reduceat(correlation, starts, axis=1)
    distances = 1 - np.minimum(correlation, 1)
    np.fill_diagonal(distances, 0)
    return distances


def _named(names: list[str], cluster: np.ndarray) -> dict[str, list[str]]:
    groups: dict[int, list[str]] = {}
    for name, number in zip(names, cluster, strict=True):
        groups.setdefault(int(number), []).append(name)
    return {_name(group): group for group in groups.values()}


def _name(group: list[str]) -> str:
    more = f" + {len(group) - 2} more" if len(group) > 2 else ""
    return " + ".join(group[:2]) + more
