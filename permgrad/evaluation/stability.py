"""How far a ranking stays the same when the network is trained again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from permgrad.data.table import Table
from permgrad.errors import PermGradError
from permgrad.evaluation.agreement import feature_ranks, spearman
from permgrad.evaluation.explained import ExplainedModel
from permgrad.evaluation.time_limit import TimeLimit
from permgrad.importance.ranking import FeatureRanking
from permgrad.parallel import run

KINDS = ("seeds", "bootstrap rows")
MOST_DRAWS = 100
"""Of groups of several classes, until no class is lost."""


@dataclass(frozen=True, eq=False)
class RankStability:
    """The stability of several rankings of the same features.

    Attributes
    ----------
    features : tuple of str
        Features that at least one ranking uses; features that all rank last say nothing about stability.
    k : int
        How many count as the best.
    ranks : ndarray of shape (n_rankings, n_features)
        Place of each feature, 1 the best; equal scores share their mean place.
    chosen : ndarray of shape (n_rankings, n_features), bool
        Whether the feature is among the `k` best (of equal scores, the table's first).

    Examples
    --------
    >>> stability = pg.rank_stability([ranking, ranking], k=2)
    >>> stability.ranks.shape, round(stability.nogueira, 3)
    ((2, 4), 1.0)
    """

    features: tuple[str, ...]
    k: int
    ranks: np.ndarray
    chosen: np.ndarray

    @property
    def table(self) -> pd.DataFrame:
        """One row per feature, best first: ``mean_rank``, ``sd`` (ddof 1), ``min``, ``max``, ``top_share``.

        ``top_share`` is the share of rankings in which the feature is among the `k` best.
        """
        columns = {
            "feature": self.features,
            "mean_rank": self.ranks.mean(axis=0),
            "sd": self.ranks.std(axis=0, ddof=1),
            "min": self.ranks.min(axis=0),
            "max": self.ranks.max(axis=0),
            "top_share": self.chosen.mean(axis=0),
        }
        return pd.DataFrame(columns).sort_values("mean_rank", kind="stable", ignore_index=True)

    @property
    def overlap(self) -> float:
        """Jaccard similarity of the `k` best of two rankings, averaged over all pairs."""
        return float(np.mean([(a & b).sum() / (a | b).sum() for a, b in combinations(self.chosen, 2)]))

    @property
    def spearman(self) -> float:
        """Spearman correlation of two rankings' places, averaged over all pairs."""
        return float(np.mean([spearman(a, b) for a, b in combinations(self.ranks, 2)]))

    @property
    def nogueira(self) -> float:
        """Nogueira's index of the choice of the `k` best: 1 for equal choices, 0 expected for random ones."""
        return nogueira(self.chosen)[0]

    @property
    def nogueira_interval(self) -> tuple[float, float]:
        """Its asymptotic 95 % confidence interval: too narrow for few rankings, of no width for two."""
        index, variance = nogueira(self.chosen)
        margin = 1.96 * float(np.sqrt(variance))
        return index - margin, index + margin

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON.

        Examples
        --------
        >>> sorted(pg.rank_stability([ranking, ranking], k=2).to_dict())
        ['chosen', 'features', 'k', 'ranks']
        """
        arrays = {"ranks": self.ranks.tolist(), "chosen": self.chosen.astype(int).tolist()}
        return {"features": list(self.features), "k": self.k, **arrays}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> RankStability:
        """Build what `to_dict` described.

        Examples
        --------
        >>> stability = pg.rank_stability([ranking, ranking], k=2)
        >>> pg.RankStability.from_dict(stability.to_dict()).k
        2
        """
        ranks, chosen = np.array(content["ranks"], float), np.array(content["chosen"], bool)
        return cls(tuple(content["features"]), content["k"], ranks, chosen)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RankStability) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.features, self.k, self.ranks.tobytes()))

    def __repr__(self) -> str:
        low, high = self.nogueira_interval
        return (
            f"RankStability({len(self.ranks)} rankings of {len(self.features)} features, top {self.k}:"
            f" Nogueira {self.nogueira:.2f} [{low:.2f}, {high:.2f}], overlap {self.overlap:.2f},"
            f" Spearman {self.spearman:.2f})"
        )


def rank_stability(rankings: Sequence[FeatureRanking], k: int | None = None) -> RankStability:
    """Compare rankings of the same features, from several trainings, seeds or resamples.

    Parameters
    ----------
    rankings : sequence of FeatureRanking
        At least two, of the same features in the same order.
    k : int, optional
        How many count as the best; by default half of the features, at most 10.

    Returns
    -------
    RankStability

    Raises
    ------
    PermGradError
        For fewer than two rankings, different features, or a `k` that is no choice.

    References
    ----------
    Nogueira, Sechidis & Brown, On the Stability of Feature Selection Algorithms, JMLR 18 (2018).

    Examples
    --------
    >>> pg.rank_stability([ranking, ranking], k=2).spearman
    1.0
    """
    rankings = list(rankings)
    if len(rankings) < 2:
        raise PermGradError(f"stability compares at least two rankings, got {len(rankings)}")
    features = rankings[0].features
    if any(ranking.features != features for ranking in rankings):
        raise PermGradError(
            "stability compares rankings of the same features in the same order; these rankings have different features"
        )
    unused = set.intersection(*(set(ranking.unused) for ranking in rankings))
    if unused:
        features = tuple(name for name in features if name not in unused)
        rankings = [ranking.only(features) for ranking in rankings]
    k = default_k(len(features)) if k is None else k
    if not 1 <= k < len(features):
        raise PermGradError(f"k must be at least 1 and less than the number of features, {len(features)}, got {k}")
    chosen = np.zeros((len(rankings), len(features)), bool)
    for row, ranking in zip(chosen, rankings, strict=True):
        row[ranking.order[:k]] = True
    return RankStability(features, k, np.array([feature_ranks(ranking) for ranking in rankings]), chosen)


def default_k(n_features: int) -> int:
    """Return how many features count as the best: half of them, at least 1, at most 10."""
    return max(1, min(10, n_features // 2))


def nogueira(chosen: np.ndarray) -> tuple[float, float]:
    """Return Nogueira's stability index of a choice of features, and the variance of the index.

    Parameters
    ----------
    chosen : ndarray of shape (n_choices, n_features), bool

    Notes
    -----
    Index: one minus the mean over features of the unbiased variance of being chosen, divided by that
    variance for random choices of the same mean size. Variance: theorem 7 of the paper cited in `rank_stability`.
    """
    z = np.asarray(chosen, float)
    n_choices, d = z.shape
    share = z.mean(axis=0)
    size = z.sum(axis=1)
    mean_size = size.mean()
    by_chance = mean_size / d * (1 - mean_size / d)
    index = 1 - n_choices / (n_choices - 1) * np.mean(share * (1 - share)) / by_chance
    expected = size * mean_size / d**2
    each = (z @ share / d - expected + index / 2 * (2 * expected - size / d - mean_size / d + 1)) / by_chance
    variance = 4 / n_choices**2 * np.sum((each - each.mean()) ** 2)
    return float(index), float(variance)


def reseeded(
    explained: ExplainedModel, n_trainings: int, time_limit: TimeLimit, n_jobs: int | None = None
) -> dict[str, dict[str, RankStability]]:
    """Train again with other seeds, on the same rows and on resampled ones, and rank the test rows each time.

    Parameters
    ----------
    explained : ExplainedModel
    n_trainings : int
        Of each kind.
    time_limit : TimeLimit
    n_jobs : int, optional
        Processes that train, see `permgrad.parallel.run`.

    Returns
    -------
    dict of dict of RankStability
        Kind (``"seeds"``: the same rows; ``"bootstrap rows"``: training rows drawn with replacement, within
        each class) → the ranking and each of its components by name. Kinds with fewer than two trainings, for
        lack of time, are absent.
    """
    rankings: dict[str, dict[str, list[FeatureRanking]]] = {}
    steps = [(kind, i) for kind in KINDS for i in range(n_trainings)]
    unfitted = explained.unfitted()
    jobs = ((unfitted, kind, i) for kind, i in time_limit.steps("stability", steps, _step))
    for (kind, _), parts in zip(steps, run(_trained_again, jobs, n_jobs), strict=False):  # time may end before
        for name, part in parts.items():
            rankings.setdefault(kind, {}).setdefault(name, []).append(part)
    return {
        kind: {name: rank_stability(trainings) for name, trainings in parts.items()}
        for kind, parts in rankings.items()
        if all(len(trainings) > 1 for trainings in parts.values())
    }


def _trained_again(explained: ExplainedModel, kind: str, i: int) -> dict[str, FeatureRanking]:
    """Train once more, and return the rankings by name."""
    rng = np.random.default_rng([explained.random_state, 3, KINDS.index(kind), i])
    train = explained.train if kind == "seeds" else bootstrap(explained.train, rng)
    seed = int(rng.integers(2**31))
    fitted = explained.refit(explained.estimator, train, explained.validation_data, random_state=seed)
    # Replicates of a wide table are large, and not wanted here.
    return {
        name: replace(part, components={}, replicates=None, class_replicates=None)
        for name, part in explained.named(explained.explain(fitted)).items()
    }


def _step(step: tuple[str, int]) -> str:
    return f"{step[0]} {step[1] + 1}"


def bootstrap(table: Table, rng: np.random.Generator) -> Table:
    """Draw as many rows with replacement; for classification within each class, so that none is lost.

    Where rows belong to groups, as many of these, within classes where each is of one.
    """
    groups = table.facts.codes()
    if groups is not None:
        return table.take(_of_groups(groups, table, rng))
    if table.task == "regression":
        return table.take(np.sort(rng.integers(len(table), size=len(table))))
    labels = table.y.to_numpy()
    drawn = [rng.choice(np.flatnonzero(labels == label), (labels == label).sum()) for label in np.unique(labels)]
    return table.take(np.sort(np.concatenate(drawn)))


def _of_groups(groups: np.ndarray, table: Table, rng: np.random.Generator) -> np.ndarray:
    """Draw as many groups with replacement, and return their rows."""
    first = np.unique(groups, return_index=True)[1]
    labels = table.y.to_numpy()
    of_one = table.task == "classification" and bool((labels[first][groups] == labels).all())
    strata = pd.factorize(labels[first])[0] if of_one else np.zeros(len(first), int)
    rows = [np.flatnonzero(groups == group) for group in range(len(first))]
    for _ in range(MOST_DRAWS):
        drawn = [rng.choice(members, len(members)) for members in _members(strata)]
        taken = np.sort(np.concatenate([rows[group] for group in np.concatenate(drawn)]))
        if table.task == "regression" or len(np.unique(labels[taken])) == len(np.unique(labels)):
            break
    return taken


def _members(strata: np.ndarray) -> list[np.ndarray]:
    return [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
