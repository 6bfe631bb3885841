"""The area under the ROC curve with its interval, and whether two of them on the same rows differ."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from permgrad.errors import PermGradError

NO_VARIANCE = 1e-15
"""What rounding may leave of a variance that is 0."""


class AUC(NamedTuple):
    """An area with its interval.

    Attributes
    ----------
    auc, low, high : float
    """

    auc: float
    low: float
    high: float


class AUCDifference(NamedTuple):
    """How much larger one area is than another on the same rows.

    Attributes
    ----------
    difference, low, high : float
    p : float
        Two-sided, of no difference.
    """

    difference: float
    low: float
    high: float
    p: float


def auc_interval(
    y: Any, scores: Any, level: float = 0.95, *, groups: Any = None, n_replicates: int = 2000, random_state: int = 0
) -> AUC:
    """Return the area under the ROC curve with its interval over rows, or over groups of rows.

    Parameters
    ----------
    y : array of shape (n_rows,)
        1 for positive rows, 0 for others.
    scores : array of shape (n_rows,)
        Higher for positive rows; only their order counts.
    level : float
    groups : array of shape (n_rows,), optional
        The slide or patient of each row. Rows of one are alike: an interval over rows takes them for more than they
        are, and is too narrow.
    n_replicates, random_state : int
        Of the bootstrap, where there are groups.

    Returns
    -------
    AUC
        The interval is DeLong's on the scale of log-odds, so it stays within (0, 1). Where DeLong's variance is 0 for
        all pairs are in order (or none), it is that of half a pair out of order with a standard error of one pair;
        where it is 0 for all scores are alike, that of scores that tell nothing. With groups: quantiles of the area
        over whole groups drawn with replacement, as many as there are, again where one class is missing among them.

    Raises
    ------
    PermGradError
        If a class is missing, a score is not a number, or there are fewer than two groups with rows of each class.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson, Comparing the Areas under Two or More Correlated ROC Curves, Biometrics 44 (1988);
    the log-odds are advised by Pepe, The Statistical Evaluation of Medical Tests (2003), section 5.2.
    """
    areas, covariance, sizes = _delong(y, [scores])
    auc = float(areas[0])
    if groups is not None:
        low, high = _over_groups(np.asarray(y), np.asarray(scores, float), groups, level, n_replicates, random_state)
        return AUC(auc, min(low, auc), max(high, auc))
    half_a_pair = 0.5 / (sizes[0] * sizes[1])
    edge = float(np.clip(auc, half_a_pair, 1 - half_a_pair))
    margin = norm.ppf((1 + level) / 2) * np.sqrt(_variance(auc, covariance[0, 0], sizes)) / (edge * (1 - edge))
    centre = np.log(edge / (1 - edge))
    low, high = (float(1 / (1 + np.exp(-each))) for each in (centre - margin, centre + margin))
    return AUC(auc, min(low, auc), max(high, auc))


def _over_groups(
    y: np.ndarray, scores: np.ndarray, groups: Any, level: float, n_replicates: int, random_state: int
) -> tuple[float, float]:
    """Return quantiles of the area over groups that are drawn with replacement.

    A row of a group that is drawn k times counts k times: an area of weighted rows, from the sums of weights of both
    classes at each distinct score.
    """
    codes, names = pd.factorize(np.asarray(groups))
    if codes.shape != y.shape or (codes < 0).any():
        raise PermGradError(f"groups must name a group for each of {len(y)} rows, got {codes.shape} of them, or gaps")
    for label in (0, 1):
        if len(np.unique(codes[y == label])) < 2:
            raise PermGradError(
                f"at least two groups with rows of class {label} are needed for an interval over groups"
            )
    rng = np.random.default_rng(random_state)
    places, positive = np.unique(scores, return_inverse=True)[1], y == 1
    n_places, areas = places.max() + 1, np.full(n_replicates, np.nan)
    for i in range(n_replicates):
        while np.isnan(areas[i]):
            weight = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[codes].astype(float)
            of_positive, of_negative = (
                np.bincount(places[rows], weights=weight[rows], minlength=n_places) for rows in (positive, ~positive)
            )
            pairs = of_positive.sum() * of_negative.sum()
            if pairs:
                below = np.cumsum(of_negative) - of_negative / 2
                areas[i] = of_positive @ below / pairs
    low, high = np.quantile(areas, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _variance(auc: float, delong: float, sizes: tuple[int, int]) -> float:
    """Return DeLong's variance of an area; where it is 0, what stands for it.

    All pairs in order, or none: that of an error of one pair. Scores that are all alike: that of scores which tell
    nothing, by Mann & Whitney.
    """
    m, n = sizes
    if delong > NO_VARIANCE:
        return float(delong)
    return 1 / (m * n) ** 2 if auc in (0, 1) else (m + n + 1) / (12 * m * n)


def compare_auc(y: Any, first: Any, second: Any, level: float = 0.95) -> AUCDifference:
    """Return how much larger the area of `first` is than that of `second`, scores of the same rows.

    Parameters
    ----------
    y, first, second : arrays of shape (n_rows,)
        See `auc_interval`.
    level : float

    Returns
    -------
    AUCDifference
        By DeLong's covariance, which knows that both looked at the same rows; normal.
    """
    areas, covariance, sizes = _delong(y, [first, second])
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    if variance <= NO_VARIANCE and difference:  # neither varies, see `_variance`
        variance = sum(_variance(float(areas[i]), covariance[i, i], sizes) for i in range(2))
    error = np.sqrt(max(variance, 0.0))
    margin = float(norm.ppf((1 + level) / 2) * error)
    p = float(2 * norm.sf(abs(difference) / error)) if difference else 1.0
    return AUCDifference(difference, difference - margin, difference + margin, p)


def _delong(y: Any, scores: list[Any]) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
    """Return areas (n_scores,), their covariance (n_scores, n_scores), and the sizes of the classes.

    Ranks give each positive row's share of negative rows below it, and the other way round, in n log n steps (Sun & Xu,
    IEEE Signal Processing Letters 21, 2014).
    """
    y = np.asarray(y)
    values = np.array([np.asarray(each, float) for each in scores])
    if values.shape[1:] != y.shape or y.ndim != 1:
        raise PermGradError(f"a score is needed for each of {y.shape} labels, got {values.shape[1:]}")
    if not np.isfinite(values).all():
        raise PermGradError("scores must be finite numbers")
    positive = y == 1
    m, n = int(positive.sum()), int((y == 0).sum())
    if m < 2 or n < 2 or m + n != len(y):
        raise PermGradError(f"at least two rows of each class, 0 and 1, are needed; got {m} of 1 and {n} of 0")
    above, below = np.empty((len(values), m)), np.empty((len(values), n))
    for i, row in enumerate(values):
        ranks = rankdata(row)
        above[i] = (ranks[positive] - rankdata(row[positive])) / n
        below[i] = 1 - (ranks[~positive] - rankdata(row[~positive])) / m
    covariance = np.atleast_2d(np.cov(above)) / m + np.atleast_2d(np.cov(below)) / n
    return above.mean(axis=1), covariance, (m, n)
