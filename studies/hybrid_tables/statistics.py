"""Intervals and correlations that the tables are made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from scipy.stats import permutation_test, spearmanr
from scipy.stats import t as student

from permgrad.evaluation.agreement import spearman
from studies.hybrid_tables.networks import BySeed, Evaluation

TOP = 5


def mean_interval(values: np.ndarray, level: float) -> tuple[float, float, float]:
    """Return the mean, and the ends of Student's interval of it: nan for a single value."""
    mean = float(values.mean())
    if len(values) < 2:
        return mean, np.nan, np.nan
    margin = float(student.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return mean, mean - margin, mean + margin


def mean_score(by_seed: BySeed, score: str) -> float:
    """Return the mean over seeds of a score on the test rows."""
    return float(np.mean([evaluation["test"][score] for evaluation in by_seed.values()]))


def row_difference(
    facts: Mapping[str, Any], first: Iterable[Evaluation], second: Iterable[Evaluation], level: float = 0.95
) -> dict[str, float]:
    """Return how much higher the first model's score (accuracy, or R²) is than the second's, with an interval.

    Parameters
    ----------
    facts : mapping
        ``task`` and ``truth``.
    first, second : iterables of evaluations
        Their ``predicted``; rows are averaged over evaluations, then compared pairwise. The interval is over test rows.
    """
    mean, low, high = mean_interval(_row_gains(facts, first) - _row_gains(facts, second), level)
    return {"difference": mean, "low": low, "high": high}


def _row_gains(facts: Mapping[str, Any], evaluations: Iterable[Evaluation]) -> np.ndarray:
    """Return what each test row adds to the mean score: shape (n_rows,)."""
    truth = np.asarray(facts["truth"])
    predicted = np.array([evaluation["predicted"] for evaluation in evaluations])  # (n_evaluations, n_rows)
    if facts["task"] == "classification":
        return (predicted == truth).mean(axis=0)
    return 1 - ((predicted - truth) ** 2).mean(axis=0) / truth.var()


def rank_correlation(first: Any, second: Any) -> float:
    """Return Spearman's correlation, nan where one side is all the same."""
    return spearman(first, second) if np.ptp(first) and np.ptp(second) else np.nan


def shared_best(first: Any, second: Any, top: int = TOP) -> float:
    """Return the share of the best `top` of the first scores that are among those of the second."""
    best = [set(np.argsort(-np.asarray(scores), kind="stable")[:top].tolist()) for scores in (first, second)]
    return len(best[0] & best[1]) / len(best[0])


def exact_correlation(first: Any, second: Any) -> tuple[float, float]:
    """Return Spearman's correlation and its two-sided p-value, over all orders (above seven values, some of them)."""
    test = permutation_test(
        (first,), lambda order: spearmanr(order, second).statistic, permutation_type="pairings", rng=0
    )
    return float(test.statistic), float(test.pvalue)
