"""Two rankings of the same columns, side by side: two seeds, two formulas, two models, yesterday's and today's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from permgrad.errors import PermGradError, listing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from permgrad.importance.ranking import FeatureRanking

SETTINGS = ("formula", "random_state", "n_repeats", "task")
"""Whose differences are told."""


@dataclass(frozen=True)
class RankingComparison:
    """The differences between two rankings.

    Attributes
    ----------
    table : DataFrame
        A row for each column of the table, the best of the first ranking first: ``feature``; ``rank_<name>``, 1 for the
        best, and its interval ``rank_low_<name>``, ``rank_high_<name>`` where known; ``score_<name>``; ``moved``, the
        places that it is higher in the second ranking; and where the scores are of one unit, ``difference`` (second
        less first), its 95 % interval ``low`` and ``high``, and ``apart``, whether that leaves out 0.
    names : (str, str)
    spearman : float
        Rank correlation of the scores, nan where it tells nothing.
    differing : dict of str to (object, object)
        Settings that differ.

    Examples
    --------
    >>> other = pg.FeatureRanking(ranking.features, -ranking.scores)
    >>> round(ranking.compare(other).spearman, 6)
    -1.0
    """

    table: pd.DataFrame
    names: tuple[str, str]
    spearman: float
    differing: dict[str, tuple[object, object]]

    def shared(self, k: int) -> int:
        """Return how many of the `k` best features the two rankings share.

        Raises
        ------
        PermGradError
            If `k` is not between 1 and the number of features.

        Examples
        --------
        >>> ranking.compare(ranking, names=("before", "after")).shared(2)
        2
        """
        if not 1 <= k <= len(self.table):
            raise PermGradError(f"k must be between 1 and {len(self.table)}, got {k}")
        best = self.table[[f"rank_{name}" for name in self.names]] <= k
        return int(best.all(axis=1).sum())

    def plot(self, top: int = 15) -> Figure:
        """Draw the ranks of the columns that are among the `top` best of either ranking, with the ranks' intervals.

        Examples
        --------
        >>> figure = ranking.compare(ranking, names=("before", "after")).plot(top=2)
        """
        from permgrad.plotting import plot_two_rankings

        return plot_two_rankings(self, top)


def compare_two(
    first: FeatureRanking, second: FeatureRanking, names: tuple[str, str] = ("first", "second")
) -> RankingComparison:
    """Set two rankings side by side, see `RankingComparison`.

    A difference's interval takes the two scores for independent, each as uncertain as its own interval says. Where both
    were measured on the same test rows that is too wide rather than too narrow.

    Raises
    ------
    PermGradError
        If their features differ, or the names are equal.
    """
    if set(first.features) != set(second.features):
        only = sorted(set(first.features) ^ set(second.features))
        raise PermGradError(f"a comparison needs two rankings of the same features; only one has {listing(only, 12)}")
    if names[0] == names[1]:
        raise PermGradError(f"the two rankings need two names, got {names[0]!r} twice")
    features = [first.features[i] for i in first.order]
    at = [[ranking.features.index(name) for name in features] for ranking in (first, second)]
    columns: dict[str, object] = {"feature": features}
    for name, ranking, rows in zip(names, (first, second), at, strict=True):
        columns[f"rank_{name}"] = _places(ranking)[rows]
        for what in ("rank_low", "rank_high"):
            if (ends := getattr(ranking, what)) is not None:
                columns[f"{what}_{name}"] = ends[rows]
        columns[f"score_{name}"] = ranking.scores[rows]
    table = pd.DataFrame(columns)
    table["moved"] = table[f"rank_{names[0]}"] - table[f"rank_{names[1]}"]
    if _one_unit(first, second):
        table = table.assign(**_differences(first, second, at))
    return RankingComparison(table, names, first.agreement(second), _differing(first, second))


def _places(ranking: FeatureRanking) -> np.ndarray:
    places = np.empty(len(ranking.features), int)
    places[ranking.order] = np.arange(1, len(places) + 1)
    return places


def _one_unit(first: FeatureRanking, second: FeatureRanking) -> bool:
    """Tell whether the scores are losses of one task, or made by one formula."""
    alike = all(first.settings.get(name) == second.settings.get(name) for name in ("formula", "task"))
    return first.method == second.method and alike


def _differences(first: FeatureRanking, second: FeatureRanking, at: list[list[int]]) -> dict[str, np.ndarray]:
    difference = second.scores[at[1]] - first.scores[at[0]]
    if any(ranking.low is None or ranking.high is None for ranking in (first, second)):
        return {"difference": difference}
    halves = [
        (ranking.high[rows] - ranking.low[rows]) / 2  # type: ignore[index]
        for ranking, rows in zip((first, second), at, strict=True)
    ]
    half = np.hypot(*halves)  # of two independent ones, variances add up
    low, high = difference - half, difference + half
    return {"difference": difference, "low": low, "high": high, "apart": (low > 0) | (high < 0)}


def _differing(first: FeatureRanking, second: FeatureRanking) -> dict[str, tuple[object, object]]:
    ours, theirs = ({**ranking.settings, "method": ranking.method} for ranking in (first, second))
    found = {name: (ours.get(name), theirs.get(name)) for name in ("method", *SETTINGS)}
    data = ((ours.get("data") or {}).get("sha256"), (theirs.get("data") or {}).get("sha256"))
    return {name: pair for name, pair in {**found, "data": data}.items() if pair[0] != pair[1]}
