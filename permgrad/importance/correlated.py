"""Groups of columns that carry much the same information, by clustering their rank correlations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from permgrad.errors import PermGradError
from permgrad.importance.inputs import column_names, resolve_groups

THRESHOLDS = (0.3, 0.6)
"""Low, for tables of yes and no: among Dengue's symptoms no two correlate by more than 0.5."""
MOST_FEATURES = 20_000
"""About 12 bytes for each pair of features: 5 GB."""


def correlated_groups(
    X: Any,
    thresholds: float | Sequence[float] = THRESHOLDS,
    *,
    columns: Mapping[str, Sequence[int]] | None = None,
) -> list[dict[str, list[str]]]:
    """Cluster features whose rank correlation is high, from coarse to fine.

    Average linkage on 1 - |Spearman's correlation|; of features with several columns (categories) the
    largest among their columns counts.

    Parameters
    ----------
    X : DataFrame or array of shape (n_rows, n_columns)
        Numbers, none missing.
    thresholds : float or sequence of float
        Mean correlations, in (0, 1), above which clusters are joined; ascending gives levels from coarse to fine.
    columns : mapping of str to positions, optional
        Features of several columns; by default each column is one, under its name or ``x0``, ``x1``, ...

    Returns
    -------
    list of dict
        One for each threshold: group name → the features in it, in the table's order. Every feature is in one
        group; one that is alone keeps its name, others are named by their first two members. The groups of each
        level are parts of those of the level before.

    Raises
    ------
    PermGradError
        For thresholds out of range or not ascending, and beyond 20,000 features.

    References
    ----------
    Toloşi & Lengauer, Bioinformatics 27 (2011): importance divided among correlated features.
    """
    levels = [thresholds] if isinstance(thresholds, (int, float)) else list(thresholds)
    if not levels or min(levels) <= 0 or max(levels) >= 1 or sorted(set(levels)) != levels:
        raise PermGradError(f"thresholds must be correlations between 0 and 1, ascending, got {thresholds}")
    values = np.asarray(X, np.float32)
    members = resolve_groups(values.shape[1], column_names(X), columns)
    names = list(members)
    if len(names) > MOST_FEATURES:
        raise PermGradError(
            f"at most {MOST_FEATURES} features can be clustered, got {len(names)}; name groups yourself"
        )
    if len(names) == 1:
        return [{names[0]: names} for _ in levels]
    tree = linkage(squareform(_distances(values, list(members.values())), checks=False), "average")
    return [_named(names, fcluster(tree, 1 - level, "distance")) for level in levels]


def _distances(values: np.ndarray, members: list[np.ndarray]) -> np.ndarray:
    ranks = rankdata(values, axis=0).astype(np.float32)
    centred = ranks - ranks.mean(axis=0)
    norm = np.sqrt((centred**2).sum(axis=0))
    centred /= np.where(norm > 0, norm, 1)
    correlation = np.abs(centred.T @ centred)
    if any(len(columns) > 1 for columns in members):
        order, starts = np.concatenate(members), np.cumsum([0, *(len(columns) for columns in members)])[:-1]
        correlation = np.maximum.reduceat(correlation[np.ix_(order, order)], starts, axis=0)
        correlation = np.maximum.reduceat(correlation, starts, axis=1)
    else:
        at = np.concatenate(members)
        correlation = correlation[np.ix_(at, at)]
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
