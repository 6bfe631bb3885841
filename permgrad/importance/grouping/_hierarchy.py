"""Groups of features, and the way down from a group to its members."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from permgrad.errors import PermGradError, listing
from permgrad.importance.budget import Budget
from permgrad.importance.grouping._columns import check_groups, resolve_groups
from permgrad.importance.ranking import FeatureRanking

Groups = Mapping[str, Sequence[Any]] | Literal["correlated"]


def complete_groups(
    groups: Mapping[str, Sequence[str]], features: Sequence[str], constant: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Return `groups` with every other feature as a group of its own.

    Parameters
    ----------
    groups : mapping of str to sequence of str
        Group name → features.
    features : sequence of str
        All features that vary.
    constant : sequence of str
        Features that never vary: left out of groups.

    Raises
    ------
    PermGradError
        If a feature is unknown or in two groups, a group is empty, or named like a feature that is not in it.
    """
    check_groups(groups, correlated=True)
    given = {str(name): [part for part in parts if part not in constant] for name, parts in groups.items()}
    empty = [name for name, parts in given.items() if not parts]
    if empty:
        raise PermGradError(f"groups must have at least one column that varies, not so: {listing(empty)}")
    clash = [name for name, parts in given.items() if name in {*features, *constant} and name not in parts]
    if clash:
        raise PermGradError(f"groups must not be named like columns outside them: {listing(clash)}")
    columns_of = resolve_groups(len(features), features, given)
    return {name: [features[i] for i in columns] for name, columns in columns_of.items()}


def levels_of(
    groups: Groups | None,
    features: Sequence[str],
    correlated: Callable[[], list[dict[str, list[str]]]],
    all_features: Sequence[str] | None = None,
) -> list[dict[str, list[str]]]:
    """Return the levels of groups to measure above single features, from coarse to fine; none without groups.

    Parameters
    ----------
    groups : mapping of str to features, or "correlated", optional
        Features by name or position; each that is in no group is one of its own.
    features : sequence of str
    correlated : callable
        Returns the levels of features that go together, see `correlated_groups`.
    all_features : sequence of str, optional
        All of the table's columns, if some of them are not among `features`, because they never vary.

    Raises
    ------
    PermGradError
        See `complete_groups`.
    """
    if groups is None:
        return []
    check_groups(groups, correlated=True)
    if not isinstance(groups, str):
        names = list(features) if all_features is None else list(all_features)
        named = {name: [_name_at(part, names) for part in np.asarray(parts, object)] for name, parts in groups.items()}
        known = set(features)
        return [complete_groups(named, features, [name for name in names if name not in known])]
    # A fine level may join nothing, or the same as the coarse one.
    levels, single = correlated(), {name: [name] for name in features}
    return [level for i, level in enumerate(levels) if level not in (single, *levels[:i])]


def _name_at(part: Any, names: Sequence[str]) -> Any:
    """Return the name of the feature at a position; a name, and what is no position, as it is."""
    known = isinstance(part, (int, np.integer)) and not isinstance(part, bool) and 0 <= part < len(names)
    return names[part] if known else part


def ranked_by_level(
    levels: Sequence[Mapping[str, Sequence[str]]],
    columns: Mapping[str, np.ndarray],
    rank: Callable[[dict[str, np.ndarray], Budget], FeatureRanking],
    budget: Budget,
) -> FeatureRanking:
    """Rank groups, from coarse to fine, then single features; time goes to the coarse ones first.

    Parameters
    ----------
    levels : sequence of mapping
        See `levels_of`.
    columns : mapping of str to positions
        Feature → its columns.
    rank : callable
        Takes a name's columns, and the budget of this step.
    budget : Budget
        Begun. Each level of groups has its own checkpoint beside the named one.
    """
    rankings = []
    for number, level in enumerate([*levels, {name: [name] for name in columns}], 1):
        members = {name: np.sort(np.concatenate([columns[part] for part in parts])) for name, parts in level.items()}
        rankings.append(rank(members, budget.step(f"groups{number}" if number <= len(levels) else "")))
    return with_members(rankings, levels)


def with_members(rankings: Sequence[FeatureRanking], levels: Sequence[Mapping[str, Sequence[str]]]) -> FeatureRanking:
    """Hang each group's members below it.

    Parameters
    ----------
    rankings : sequence of FeatureRanking
        Of the groups of each level, coarse first; last, of single features.
    levels : sequence of mapping
        Group name → features, for all but the last ranking; each group is a part of one of the level before.

    Returns
    -------
    FeatureRanking
        The first, whose groups of several features have as ``children`` the ranking of the level below, restricted to
        the group; a level that does not part a group is skipped.
    """
    if not levels:
        return rankings[0]
    children = {}
    for name, parts in levels[0].items():
        if len(parts) > 1:
            below = _below(parts, rankings[1:], levels[1:])
            children[name] = below
    return replace(rankings[0], children=children)


def _below(
    parts: Sequence[str], rankings: Sequence[FeatureRanking], levels: Sequence[Mapping[str, Sequence[str]]]
) -> FeatureRanking:
    if not levels:
        return rankings[0].only(parts)
    inside = {name: features for name, features in levels[0].items() if set(features) <= set(parts)}
    if len(inside) == 1:
        return _below(parts, rankings[1:], levels[1:])
    return with_members([rankings[0].only(list(inside)), *rankings[1:]], [inside, *levels[1:]])
