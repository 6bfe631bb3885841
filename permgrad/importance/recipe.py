"""Rankings of several trainings as one, of the recipe: how far another training on other rows may move it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.stats import t as student

from permgrad.errors import PermGradError
from permgrad.importance.averaging import average_rankings
from permgrad.importance.bootstrap import LEVEL, interval
from permgrad.importance.ranking import FeatureRanking

DRAWS = 1000
"""Of all scores together, for the intervals of ranks."""


def average_trainings(
    rankings: Sequence[FeatureRanking], *, n_train: float, n_test: float, random_state: int = 0
) -> FeatureRanking:
    """Average the rankings of networks that one recipe trained on resampled splits, each ranked on its own test rows.

    Parameters
    ----------
    rankings : sequence of FeatureRanking
        Of the same features, classes, method and loss.
    n_train, n_test : float
        Rows that each network was fitted on, and rows that it was ranked on.
    random_state : int
        Seed of the draws for the intervals of ranks.

    Returns
    -------
    FeatureRanking
        As for `average_rankings`, but intervals describe the recipe, on average over trainings and rows.
        ``settings["trainings"]`` is the number of trainings.

    Raises
    ------
    PermGradError
        If there are fewer than two rankings, or they differ in features, classes, method or loss.

    Notes
    -----
    Trainings share rows, so that their scores differ by less than those of independent ones would. The variance of the
    mean of K scores is taken to be their variance times 1/K + n_test / n_train; ends are Student's, K - 1 degrees. The
    same factor holds for covariances: ranks are drawn from a t distribution of all scores together.

    References
    ----------
    Nadeau & Bengio, Inference for the Generalization Error, Machine Learning 52 (2003). Molnar et al., Relating the
    Partial Dependence Plot and Permutation Feature Importance to the Data Generating Process (xAI 2023): the same
    correction for what a learner, and not a model, relies on.

    Examples
    --------
    >>> pg.average_trainings([ranking, ranking], n_train=90, n_test=30).settings["trainings"]
    2
    """
    n = len(rankings)
    if n < 2:
        raise PermGradError(f"a recipe's ranking needs at least two trainings, got {n}")
    factor = np.sqrt(1 / n + n_test / n_train)
    averaged = average_rankings([_bare(ranking) for ranking in rankings], random_state)
    alike = rankings[0].settings.get("alike")  # other rows, about the same groups
    networks = {ranking.settings.get("n_networks", 1) for ranking in rankings}
    settings = {
        **averaged.settings,
        "n_networks": max(networks),
        **({"alike": alike} if alike else {}),
        "scope": "this recipe",
        "trainings": n,
        "n_train": n_train,
        "n_test": n_test,
        **_branch_intervals(rankings, factor),
    }
    shares = _shares(n, random_state)
    return replace(_with_intervals(averaged, rankings, factor, shares), settings=settings)


def _bare(ranking: FeatureRanking) -> FeatureRanking:
    """Return the ranking without its bootstrap of rows, which says nothing of other trainings."""
    return replace(
        ranking,
        replicates=None,
        class_replicates=None,
        components={name: _bare(part) for name, part in ranking.components.items()},
        children={},
    )


def _shares(n: int, random_state: int) -> np.ndarray:
    """Draw what each training's deviation from the mean counts, (DRAWS, n).

    Sums of the deviations, so weighed, have the scores' covariance (ddof 1), and tails as of Student's t with n - 1
    degrees, common to all scores of a draw.
    """
    rng = np.random.default_rng([random_state, n, DRAWS])
    normal = rng.standard_normal((DRAWS, n)) / np.sqrt(n - 1)
    return normal / np.sqrt(rng.chisquare(n - 1, (DRAWS, 1)) / (n - 1))


def _with_intervals(
    averaged: FeatureRanking, rankings: Sequence[FeatureRanking], factor: float, shares: np.ndarray
) -> FeatureRanking:
    """Return the average with intervals of scores and ranks; of its components too."""
    deviations = np.array([ranking.scores for ranking in rankings]) - averaged.scores
    drawn = averaged.scores + factor * shares @ deviations
    measured = ~np.isin(averaged.features, [*averaged.pending, *averaged.unused])
    margin = _margin(deviations, factor)
    ends = {**interval(averaged.scores, drawn, measured), "low": averaged.scores - margin}
    components = {
        name: _with_intervals(part, [ranking.components[name] for ranking in rankings], factor, shares)
        for name, part in averaged.components.items()
    }
    ends["high"] = averaged.scores + margin
    return replace(averaged, **ends, replicates=drawn.astype(np.float32), components=components)


def _margin(deviations: np.ndarray, factor: float) -> np.ndarray:
    """Return half the length of the intervals of means, given deviations of (n_trainings, ...) from them."""
    n = len(deviations)
    spread = np.sqrt((deviations**2).sum(axis=0) / (n - 1))
    return float(student.ppf((1 + LEVEL) / 2, n - 1)) * factor * spread


def _branch_intervals(rankings: Sequence[FeatureRanking], factor: float) -> dict[str, Any]:
    """Return the intervals of the branches' mean weights as a setting, where all rankings have the same branches."""
    weights = [ranking.branch_weights or {} for ranking in rankings]
    if not weights[0] or any(set(each) != set(weights[0]) for each in weights):
        return {}
    values = np.array([[each[name] for name in weights[0]] for each in weights])
    mean = values.mean(axis=0)
    margin = _margin(values - mean, factor)
    ends = np.stack([mean - margin, mean + margin], axis=1).tolist()
    return {"branch_intervals": dict(zip(weights[0], ends, strict=True))}


def scope_sentence(ranking: FeatureRanking) -> str:
    """Say what the scores are of, and what their intervals cover and what not."""
    n = ranking.settings.get("trainings", 1)
    if n > 1:
        return (
            f"The scores describe {ranking.scope}: means over {n} trainings, each on its own split and ranked on its"
            " own test rows. The 95\u00a0% intervals describe the recipe, on average over trainings and rows (variance"
            " over trainings, corrected for shared rows); a single network may differ by more."
        )
    over = "test rows and networks" if ranking.settings.get("n_networks", 1) > 1 else "test rows"
    return (
        f"The scores describe {ranking.scope}, trained once. The 95\u00a0% intervals are over {over}; they do not cover"
        " other trainings (for those, run several: --stable, or rank_recipe)."
    )
