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

UNIT = ("method", "formula", "loss", "scoring", "target")
"""Where two rankings differ in one of these, their scores have no common unit."""
SETTINGS = ("random_state", "n_repeats", "data")
"""Whose differences are told too."""
IN_THE_TARGETS_UNIT = "squared error"
SHA_DIGITS = 12
"""Of a table's SHA-256 sum, as many as a reader compares."""


@dataclass(frozen=True)
class RankingComparison:
    """The differences between two rankings.

    Attributes
    ----------
    table : DataFrame
        A row for each column of the table, the best of the first ranking first: ``feature``; ``rank_<name>``, 1 for the
        best, and its interval ``rank_low_<name>``, ``rank_high_<name>`` where known; ``score_<name>``; ``moved``, the
        places that it is higher in the second ranking; and where the scores have one unit (the same loss, made in the
        same way), ``difference`` (second less first), its 95 % interval ``low`` and ``high``, and ``apart``, whether
        that leaves out 0.
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

    @property
    def note(self) -> str:
        """Why the scores cannot be compared, in one sentence; empty where they can.

        Examples
        --------
        >>> ranking.compare(ranking, names=("before", "after")).note
        ''
        """
        unlike = [f"{name}: {ours} and {theirs}" for name, (ours, theirs) in self.differing.items() if name in UNIT]
        return f"the scores have no common unit ({'; '.join(unlike)}): compare ranks, not scores" if unlike else ""

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
    differing = _differing(first, second)
    if not set(UNIT) & set(differing):
        table = table.assign(**_differences(first, second, at))
    return RankingComparison(table, names, first.agreement(second), differing)


def _places(ranking: FeatureRanking) -> np.ndarray:
    places = np.empty(len(ranking.features), int)
    places[ranking.order] = np.arange(1, len(places) + 1)
    return places


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
    ours, theirs = _facts(first), _facts(second)
    found = {name: (ours.get(name), theirs.get(name)) for name in (*UNIT, *SETTINGS)}
    return {name: pair for name, pair in found.items() if pair[0] != pair[1]}


def _facts(ranking: FeatureRanking) -> dict[str, object]:
    """Return what scores and settings two rankings may differ in.

    A loss that a ranking does not name is at least known to be of classes or of values; a squared error has the square
    of its target's unit.
    """
    data = ranking.settings.get("data") or {}
    unnamed = "unnamed, of classes" if ranking.classes else "unnamed"
    loss = ranking.settings.get("loss", unnamed)
    known = {**ranking.settings, "method": ranking.method, "loss": loss}
    known["target"] = data.get("target") if loss == IN_THE_TARGETS_UNIT else None
    known["data"] = str(data.get("sha256") or "")[:SHA_DIGITS] or None
    return known
