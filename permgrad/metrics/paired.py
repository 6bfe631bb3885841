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


def compare_losses(first: np.ndarray, second: np.ndarray) -> PairedLosses:
    """Compare the losses, (n_rows,) each, that two predictions have on the same rows, by a paired t-test."""
    differences = np.asarray(first, float) - np.asarray(second, float)
    n, mean = len(differences), float(differences.mean())
    ends = float(first.mean()), float(second.mean())
    if n < 2:
        return PairedLosses(*ends, mean, -np.inf, np.inf, 1.0)
    error = float(differences.std(ddof=1) / np.sqrt(n))
    margin = float(student.ppf((1 + LEVEL) / 2, n - 1)) * error
    p = float(student.cdf(mean / error, n - 1)) if error > 0 else float(mean >= 0)
    return PairedLosses(*ends, mean, mean - margin, mean + margin, p)


def mean_p_value(values: np.ndarray) -> float:
    """Test that the mean of independent values, (n,), is not above 0: a one-sided t-test; 1 for a single value."""
    n = len(values)
    if n < 2:
        return 1.0
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(n))
    return float(student.sf(mean / error, n - 1)) if error > 0 else float(mean <= 0)
