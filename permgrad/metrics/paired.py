"""Two predictions of the same rows: is the loss of one lower than the other's, or is it noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

LEVEL = 0.95


@dataclass(frozen=True)
class PairedLosses:
    """What `compare_losses` returns.

    Attributes
    ----------
    first, second : float
        Mean losses.
    difference : float
        Of the two, first less second: below 0 where the first predicts better.
    low, high : float
        Its 95 % interval; infinite for a single row.
    p : float
        One-sided: how likely so low a difference would be, were the first's expected loss not below the second's.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float


def compare_losses(
    first: np.ndarray, second: np.ndarray, weights: np.ndarray | None = None, groups: np.ndarray | None = None
) -> PairedLosses:
    """Compare the losses, (n_rows,) each, that two predictions have on the same rows, by a paired t-test.

    Parameters
    ----------
    first, second : ndarray of shape (n_rows,)
    weights, groups : ndarray of shape (n_rows,), optional
        See `mean_and_error`.
    """
    first, second = np.asarray(first, float), np.asarray(second, float)
    mean, error, n = mean_and_error(first - second, weights, groups)
    ends = float(np.average(first, weights=weights)), float(np.average(second, weights=weights))
    if n < 2:
        return PairedLosses(*ends, mean, -np.inf, np.inf, 1.0)
    margin = float(student.ppf((1 + LEVEL) / 2, n - 1)) * error
    p = float(student.cdf(mean / error, n - 1)) if error > 0 else float(mean >= 0)
    return PairedLosses(*ends, mean, mean - margin, mean + margin, p)


def mean_p_value(values: np.ndarray, weights: np.ndarray | None = None, groups: np.ndarray | None = None) -> float:
    """Test that the mean of values, (n,), is not above 0: a one-sided t-test; 1 for a single value or group.

    Parameters
    ----------
    values : ndarray of shape (n,)
    weights, groups : ndarray of shape (n,), optional
        See `mean_and_error`.
    """
    mean, error, n = mean_and_error(values, weights, groups)
    if n < 2:
        return 1.0
    return float(student.sf(mean / error, n - 1)) if error > 0 else float(mean <= 0)


def mean_and_error(
    values: np.ndarray, weights: np.ndarray | None = None, groups: np.ndarray | None = None
) -> tuple[float, float, float]:
    """Return the mean of values, its standard error, and how many were drawn independently.

    Parameters
    ----------
    values : ndarray of shape (n,)
    weights : ndarray of shape (n,), optional
        Of the mean; a value of weight 0 is none.
    groups : ndarray of shape (n,), int, optional
        Of values that were drawn together. A value repeated k times as a group is one, and so is one of weight k.

    Returns
    -------
    mean, error : float
        The error is NaN where fewer than two were drawn.
    n : float
        As many that count alike, see `effective_number`; 2 at least where two or more were drawn.

    Notes
    -----
    With m the mean, and e_g the sum over a group of w (v - m): ``error = sqrt(n / (n - 1) * sum of e_g²) / sum of w``,
    the linearised ratio of two sums over groups; for rows alone, it is sd / √n.

    References
    ----------
    Cochran, Sampling Techniques (1977), chapter 6; Liang & Zeger, Biometrika 73 (1986).
    """
    values = np.asarray(values, float)
    if weights is None and groups is None:
        n = len(values)
        return float(values.mean()), float(values.std(ddof=1) / np.sqrt(n)) if n > 1 else np.nan, n
    weights = np.ones(len(values)) if weights is None else np.asarray(weights, float)
    mean = float(np.average(values, weights=weights))
    counted = weights > 0
    of_row = np.arange(len(values)) if groups is None else np.asarray(groups)
    of_row = np.unique(of_row[counted], return_inverse=True)[1]
    sums = np.bincount(of_row, (weights * (values - mean))[counted])
    n = len(sums)
    error = float(np.sqrt(n / (n - 1) * (sums**2).sum()) / weights.sum()) if n > 1 else np.nan
    return mean, error, max(2.0, effective_number(np.bincount(of_row, weights[counted]))) if n > 1 else n


def effective_number(counts: np.ndarray) -> float:
    """Return how many values that count alike would vary as much in their mean: (sum w)² / sum w².

    References
    ----------
    Kish, Survey Sampling (1965).
    """
    return float(counts.sum() ** 2 / (counts**2).sum())
