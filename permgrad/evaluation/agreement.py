"""How far two rankings agree."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import rankdata

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
    seen = ~(np.isin(a.features, a.unused) & np.isin(b.features, b.unused))
    return spearman(feature_ranks(a)[seen], feature_ranks(b)[seen])


def top_overlap(a: FeatureRanking, b: FeatureRanking, k: int) -> float:
    """Return the Jaccard similarity of the `k` best of two rankings: shared ones over all."""
    best, other = set(a.top(k)), set(b.top(k))
    return len(best & other) / len(best | other)


def agreement(rankings: Mapping[str, FeatureRanking]) -> pd.DataFrame:
    """Return the rank correlation of each pair of rankings, as a symmetric matrix with their names on both sides."""
    names = list(rankings)
    values = [[rank_correlation(rankings[a], rankings[b]) for b in names] for a in names]
    return pd.DataFrame(np.array(values, float).reshape(len(names), len(names)), index=names, columns=names)
