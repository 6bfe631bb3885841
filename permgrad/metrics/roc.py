"""The area under the ROC curve with its interval, and whether two of them on the same rows differ."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
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


def auc_interval(y: Any, scores: Any, level: float = 0.95) -> AUC:
    """Return the area under the ROC curve, with its interval over rows.

    Parameters
    ----------
    y : array of shape (n_rows,)
        1 for positive rows, 0 for others.
    scores : array of shape (n_rows,)
        Higher for positive rows; only their order matters.
    level : float

    Returns
    -------
    AUC
        The interval is DeLong's on the scale of log-odds, so it stays within (0, 1). Where DeLong's variance is 0 for
        all pairs are in order (or none), it is that of half a pair out of order with a standard error of one pair;
        where it is 0 for all scores are alike, that of scores that tell nothing.

    Raises
    ------
    PermGradError
        If a class is missing, or a score is not a number.

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
    half_a_pair = 0.5 / (sizes[0] * sizes[1])
    edge = float(np.clip(auc, half_a_pair, 1 - half_a_pair))
    margin = norm.ppf((1 + level) / 2) * np.sqrt(_variance(auc, covariance[0, 0], sizes)) / (edge * (1 - edge))
    centre = np.log(edge / (1 - edge))
    low, high = (float(1 / (1 + np.exp(-each))) for each in (centre - margin, centre + margin))
    return AUC(auc, min(low, auc), max(high, auc))


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
    """Return how much larger the area of `first` is than that of `second`; both score the same rows.

    Parameters
    ----------
    y, first, second : arrays of shape (n_rows,)
        See `auc_interval`.
    level : float

    Returns
    -------
    AUCDifference
        By a normal approximation with DeLong's covariance, which accounts for the shared rows.

    Examples
    --------
    >>> y = [0, 0, 1, 1, 0, 1]
    >>> found = pg.compare_auc(y, [0.1, 0.4, 0.35, 0.8, 0.2, 0.9], [0.3, 0.4, 0.35, 0.2, 0.2, 0.9])
    >>> round(found.difference, 3)
    0.278
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
