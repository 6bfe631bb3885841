"""Groups of features, and the way down from a group to its members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from permgrad.errors import PermGradError, listing
from permgrad.importance.ranking import FeatureRanking


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
    given = {str(name): [part for part in parts if part not in constant] for name, parts in groups.items()}
    named = [part for parts in given.values() for part in parts]
    unknown = sorted(set(named) - set(features))
    twice = sorted({part for part in named if named.count(part) > 1})
    empty = [name for name, parts in given.items() if not parts]
    clash = [name for name, parts in given.items() if name in {*features, *constant} and name not in parts]
    for problem, wrong in (
        ("name columns of the table, not so", unknown),
        ("not share columns", twice),
        ("have at least one column that varies, not so", empty),
        ("not be named like columns outside them", clash),
    ):
        if wrong:
            raise PermGradError(f"groups must {problem}: {listing(wrong)}")
    grouped = set(named)
    return {**given, **{name: [name] for name in features if name not in grouped}}


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
