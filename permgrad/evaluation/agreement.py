"""How far two rankings agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from permgrad.errors import PermGradError
from permgrad.importance.ranking import FeatureRanking


def feature_ranks(ranking: FeatureRanking) -> np.ndarray:
    """Return each feature's place, 1 the best: equal scores share their mean place; pending, then unused come last."""
    score = rankdata(ranking.scores)
    score[np.isin(ranking.features, ranking.pending)] = 0
    score[np.isin(ranking.features, ranking.unused)] = -1
    return rankdata(-score)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Return the Spearman correlation; 0 where all values of one are equal, for it tells nothing apart."""
    a, b = (rankdata(values) - (len(values) + 1) / 2 for values in (a, b))
    size = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / size) if size > 0 else 0.0


def rank_correlation(a: FeatureRanking, b: FeatureRanking) -> float:
    """Return the Spearman correlation of two rankings' places, over the features that are not unused in both."""
    used = ~(np.isin(a.features, a.unused) & np.isin(b.features, b.unused))
    return spearman(feature_ranks(a)[used], feature_ranks(b)[used])


def top_overlap(a: FeatureRanking, b: FeatureRanking, k: int) -> float:
    """Return the Jaccard similarity of the `k` best of two rankings: shared ones over all."""
    best, other = set(a.select(k)), set(b.select(k))
    return len(best & other) / max(1, len(best | other))


def agreement(rankings: Mapping[str, FeatureRanking]) -> pd.DataFrame:
    """Return the rank correlation of each pair of rankings, as a symmetric matrix with their names on both sides."""
    names = list(rankings)
    values = [[rank_correlation(rankings[a], rankings[b]) for b in names] for a in names]
    return pd.DataFrame(np.array(values, float).reshape(len(names), len(names)), index=names, columns=names)


def compare_rankings(rankings: Mapping[str, FeatureRanking], best: Sequence[int]) -> pd.DataFrame:
    """Count the best features that each pair of rankings shares, and correlate the full rankings.

    Parameters
    ----------
    rankings : mapping of str to FeatureRanking
        At least two, of the same features.
    best : sequence of int
        Numbers of features that count as the best; each gives a column.

    Returns
    -------
    DataFrame
        A row for each pair: ``first``, ``second``, ``shared_<k>`` (how many of the k best), ``by_chance_<k>`` (what two
        random orders share on average, k²/n), ``spearman`` (of the places, over the features that not both leave out).

    Raises
    ------
    PermGradError
        If there are fewer than two, their features differ, or a number is out of range.

    Examples
    --------
    >>> other = pg.FeatureRanking(ranking.features, ranking.scores[::-1])
    >>> pg.compare_rankings({"game": ranking, "reversed": other}, best=[4])[["first", "second", "shared_4"]]
      first    second  shared_4
    0  game  reversed         4
    """
    features = {ranking.features for ranking in rankings.values()}
    if len(rankings) < 2 or len(features) > 1:
        raise PermGradError("a comparison needs at least two rankings of the same features in the same order")
    n_features = len(next(iter(features)))
    if not best or min(best) < 1 or max(best) > n_features:
        raise PermGradError(f"best must be numbers between 1 and {n_features}, got {list(best)}")
    rows = []
    for (first, a), (second, b) in combinations(rankings.items(), 2):
        row: dict[str, float | str] = {"first": first, "second": second}
        for k in best:
            row |= {f"shared_{k}": len(set(a.select(k)) & set(b.select(k))), f"by_chance_{k}": k * k / n_features}
        rows.append({**row, "spearman": rank_correlation(a, b)})
    return pd.DataFrame(rows)
