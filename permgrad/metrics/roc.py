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
    """Return the area under the ROC curve, with its interval over rows, or over groups of rows.

    Parameters
    ----------
    y : array of shape (n_rows,)
        1 for positive rows, 0 for others.
    scores : array of shape (n_rows,)
        Higher for positive rows; only their order matters.
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

    Examples
    --------
    >>> found = pg.auc_interval([0, 0, 1, 1, 0, 1], [0.1, 0.4, 0.35, 0.8, 0.2, 0.9])
    >>> round(found.auc, 3), found.low < found.auc < found.high
    (0.889, True)
    """
    areas, covariance, sizes = _delong(y, [scores])
    auc = float(areas[0])
    if groups is not None:
        drawn = _drawn_by_group(y, [scores], groups, n_replicates, random_state)[:, 0]
        low, high = (float(end) for end in np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]))
        return AUC(auc, min(low, auc), max(high, auc))
    half_a_pair = 0.5 / (sizes[0] * sizes[1])
    edge = float(np.clip(auc, half_a_pair, 1 - half_a_pair))
    margin = norm.ppf((1 + level) / 2) * np.sqrt(_variance(auc, covariance[0, 0], sizes)) / (edge * (1 - edge))
    centre = np.log(edge / (1 - edge))
    low, high = (float(1 / (1 + np.exp(-each))) for each in (centre - margin, centre + margin))
    return AUC(auc, min(low, auc), max(high, auc))


def _drawn_by_group(y: Any, scores: list[Any], groups: Any, n_replicates: int, random_state: int) -> np.ndarray:
    """Return areas over groups that are drawn with replacement, (n_replicates, n_scores).

    A row of a group that is drawn k times counts k times: an area of weighted rows, from the sums of weights of both
    classes at each distinct score.
    """
    positive = np.asarray(y) == 1
    codes, names = pd.factorize(np.asarray(groups))
    if codes.shape != positive.shape or (codes < 0).any():
        raise PermGradError(f"groups must name a group for each of {len(positive)} rows; got {len(codes)}, or gaps")
    if min(len(np.unique(codes[rows])) for rows in (positive, ~positive)) < 2:
        raise PermGradError("an interval over groups needs at least two groups with rows of each class")
    rng = np.random.default_rng(random_state)
    places = [np.unique(np.asarray(each, float), return_inverse=True)[1] for each in scores]
    areas = np.empty((n_replicates, len(scores)))
    for replicate in areas:
        weight = np.zeros(len(codes))
        while not (weight[positive].any() and weight[~positive].any()):  # again where a class is missing
            weight = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))[codes].astype(float)
        replicate[:] = [_weighted_area(place, positive, weight) for place in places]
    return areas


def _weighted_area(place: np.ndarray, positive: np.ndarray, weight: np.ndarray) -> float:
    of_positive, of_negative = (
        np.bincount(place[rows], weights=weight[rows], minlength=place.max() + 1) for rows in (positive, ~positive)
    )
    below = np.cumsum(of_negative) - of_negative / 2
    return float(of_positive @ below / (of_positive.sum() * of_negative.sum()))


def _variance(auc: float, delong: float, sizes: tuple[int, int]) -> float:
    """Return DeLong's variance of an area; where it is 0, what stands for it.

    All pairs in order, or none: that of an error of one pair. Scores that are all alike: that of scores which tell
    nothing, by Mann & Whitney.
    """
    m, n = sizes
    if delong > NO_VARIANCE:
        return float(delong)
    return 1 / (m * n) ** 2 if auc in (0, 1) else (m + n + 1) / (12 * m * n)


def compare_auc(
    y: Any,
    first: Any,
    second: Any,
    level: float = 0.95,
    *,
    groups: Any = None,
    n_replicates: int = 2000,
    random_state: int = 0,
) -> AUCDifference:
    """Return how much larger the area of `first` is than that of `second`; both score the same rows.

    Parameters
    ----------
    y, first, second : arrays of shape (n_rows,)
        See `auc_interval`.
    level : float
    groups, n_replicates, random_state
        See `auc_interval`.

    Returns
    -------
    AUCDifference
        By a normal approximation with DeLong's covariance, which accounts for the shared rows. With groups: quantiles
        over whole groups drawn with replacement, the same for both; p is twice the share of draws on the other side of
        0.

    Examples
    --------
    >>> y = [0, 0, 1, 1, 0, 1]
    >>> found = pg.compare_auc(y, [0.1, 0.4, 0.35, 0.8, 0.2, 0.9], [0.3, 0.4, 0.35, 0.2, 0.2, 0.9])
    >>> round(found.difference, 3)
    0.278
    """
    areas, covariance, sizes = _delong(y, [first, second])
    difference = float(areas[0] - areas[1])
    if groups is not None:
        drawn = np.diff(_drawn_by_group(y, [second, first], groups, n_replicates, random_state), axis=1)[:, 0]
        low, high = (float(end) for end in np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2]))
        beyond = min((drawn <= 0).sum(), (drawn >= 0).sum())
        p = min(1.0, 2 * float(beyond + 1) / (n_replicates + 1))
        return AUCDifference(difference, min(low, difference), max(high, difference), p)
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
