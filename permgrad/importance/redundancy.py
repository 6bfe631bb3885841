"""Columns that tell the same as others: worth much on their own, hardly missed alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from permgrad.importance.grouping.correlated import correlated_groups
from permgrad.importance.ranking import FeatureRanking

ALIKE = 0.5
"""Mean rank correlation from which on columns are named together."""
LARGE = 0.25
"""Share of the largest first in that a column must save on its own to be spoken of."""
SMALL = 0.25
"""Share of what a column saves on its own, up to which it is said to be hardly missed. (Of a linear model, a column
that stands alone is worth twice as much as the last to be seen as on its own; one of m copies, about the m-th part.)"""
MOST_ROWS, MOST_COLUMNS = 2000, 1000
"""That correlations are taken of; with more columns there are no groups."""
MOST_SENTENCES, MOST_NAMES = 3, 4
LAST_IN = ("end_to_end", "permutation")
"""Components that say what a column is worth as the last to be seen."""


def alike_columns(rows: np.ndarray, columns: Mapping[str, np.ndarray]) -> list[list[str]]:
    """Group features whose columns correlate by rank; those that stand alone are left out.

    Parameters
    ----------
    rows : ndarray of shape (n_rows, n_columns)
        Numbers, none missing.
    columns : mapping of str to positions
        Feature → its columns in `rows`.
    """
    if len(columns) > MOST_COLUMNS or len(columns) < 2 or len(rows) < 3:
        return []
    some = rows[np.unique(np.linspace(0, len(rows) - 1, MOST_ROWS).astype(int))]
    groups = correlated_groups(some, ALIKE, columns={name: list(at) for name, at in columns.items()})[0]
    return [group for group in groups.values() if len(group) > 1]


def redundant_columns(ranking: FeatureRanking) -> list[str]:
    """List columns that save much on their own, yet whose loss the network hardly feels; most on their own first.

    As the last to be seen it must be worth less than a quarter of what it saves on its own. (That an interval reaches 0
    is not enough: a wide one may.) None where this was not measured.
    """
    last = _last_in(ranking)
    if last is None or not ranking.learned:
        return []
    first, at = ranking.components["first_in"].scores, np.flatnonzero(_large(ranking))
    at = at[last.scores[at] < SMALL * first[at]]
    return [ranking.features[i] for i in at[np.argsort(-first[at], kind="stable")]]


def _large(ranking: FeatureRanking) -> np.ndarray:
    """Tell which columns save a quarter of what the best one does on its own, and certainly something.

    The latter by their intervals over rows; over a few trainings these are too long to tell.
    """
    first, last = ranking.components["first_in"], _last_in(ranking)
    pending = () if last is None else last.pending
    several = ranking.settings.get("trainings", 1) > 1
    certain = first.scores > 0 if first.low is None or several else first.low > 0
    left_out = np.isin(ranking.features, [*pending, *ranking.pending, *ranking.unused])
    return (first.scores >= LARGE * first.scores.max()) & certain & ~left_out


def _last_in(ranking: FeatureRanking) -> FeatureRanking | None:
    if "first_in" not in ranking.components:
        return None
    return next((ranking.components[name] for name in LAST_IN if name in ranking.components), None)


def redundancy(ranking: FeatureRanking) -> list[str]:
    """Say of each group of columns that tell the same, in one sentence, that any of them could be missed.

    At most three groups, those first whose columns save most on their own; then one sentence of columns that no other
    is like.
    """
    redundant, last = redundant_columns(ranking), _last_in(ranking)
    if last is None or not redundant:
        return []
    large = {name for name, each in zip(ranking.features, _large(ranking), strict=True) if each}
    alike = (tuple(name for name in group if name in large) for group in ranking.settings.get("alike") or ())
    group_of = {name: group for group in alike for name in group if len(group) > 1}
    groups = list(dict.fromkeys(group_of[name] for name in redundant if name in group_of))
    said = [_of_group(ranking, group, redundant, last) for group in groups[:MOST_SENTENCES]]
    alone = [name for name in redundant if name not in group_of]
    if alone:
        much, missed = ("saves", "is") if len(alone) == 1 else ("save", "are")
        said.append(
            f"{_listed(alone)} {much} much on {'its' if len(alone) == 1 else 'their'} own but {missed} hardly missed,"
            f" though no single column correlates closely with {'it' if len(alone) == 1 else 'them'}: other columns"
            " together carry the same information."
        )
    return said


def _of_group(ranking: FeatureRanking, group: tuple[str, ...], redundant: list[str], last: FeatureRanking) -> str:
    """Say which columns of a group are not missed, beside which, and what they are worth."""
    spare = [name for name in redundant if name in group]
    kept = [name for name in group if name not in spare]
    first = ranking.components["first_in"]
    carry = "carries" if len(spare) == 1 else "carry"
    same = f"{carry} much the same information" + (f" as {_listed(kept)}" if kept else "")
    own, they = ("its own it saves", "it is") if len(spare) == 1 else ("their own they save", "each is")
    return (
        f"{_listed(spare)} {same}: on {own} {_range(first, spare)}, but beside the others {they} hardly missed"
        f" ({_range(last, spare)})."
    )


def _range(part: FeatureRanking, names: list[str]) -> str:
    """Return the lowest and the highest score of some features as text."""
    scores = part.only(names).scores
    low, high = (f"{end:.2g}".replace("-", "−") for end in (scores.min(), scores.max()))
    return low if low == high else f"{low} to {high}"


def _listed(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    shown = names[:MOST_NAMES] if more > 1 else names
    if more > 1:
        return f"{', '.join(shown)} and {more} more"
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
