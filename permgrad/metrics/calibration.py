"""Do probabilities hold what they say: shares of rows beside the probability that was given for them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from permgrad.errors import PermGradError

BINS = 15
"""Of the calibration error."""
CURVE_BINS = 10
LEAST_ROWS = 10
"""Of a bin of the curve: fewer would show noise alone."""
DRAWS = 200
"""Of labels, for what a calibrated prediction's error would be."""


def expected_calibration_error(y_number: Any, probabilities: np.ndarray, n_bins: int = BINS) -> float:
    """Return how far the probability of the predicted class is from the share of rows in which it is right.

    Parameters
    ----------
    y_number : array of shape (n_rows,)
        Class numbers.
    probabilities : ndarray of shape (n_rows, n_classes)
    n_bins : int
        Rows are sorted by the probability of their likeliest class, and parted into so many bins of as equal a number
        of rows as can be; a bin for each row where there are fewer.

    Returns
    -------
    float
        Mean over bins, each weighed by its rows, of ``|mean probability - share of right answers|``. With few rows it
        is above 0 for a perfectly calibrated prediction too, see `calibrated_error`.

    Raises
    ------
    PermGradError
        If the shapes do not fit, or `n_bins` is less than 1.

    References
    ----------
    Naeini, Cooper & Hauskrecht (AAAI 2015); Nguyen & O'Connor (EMNLP 2015) for bins of equal numbers of rows.
    """
    confidence, right = top_label(y_number, probabilities)
    return _error(confidence, right[None], n_bins)[0]


def calibrated_error(probabilities: np.ndarray, n_bins: int = BINS, random_state: int = 0) -> tuple[float, float]:
    """Return the calibration error's mean and 95th percentile, were these very probabilities true.

    Right answers are drawn 200 times by the probabilities of the predicted classes.
    """
    confidence = np.max(probabilities, axis=1)
    right = np.random.default_rng(random_state).random((DRAWS, len(confidence))) < confidence
    drawn = _error(confidence, right, n_bins)
    return float(np.mean(drawn)), float(np.quantile(drawn, 0.95))


def reliability_curve(happened: Any, probability: Any, n_bins: int = CURVE_BINS) -> pd.DataFrame:
    """Return how often a class occurs among rows of about the same predicted probability.

    Parameters
    ----------
    happened : array of shape (n_rows,), bool
        Whether the row is of the class, or its predicted class is right, see `top_label`.
    probability : array of shape (n_rows,)
        That was given for it.
    n_bins : int
        At most; bins have as equal a number of rows as can be, and ten at least where there are so many.

    Returns
    -------
    DataFrame
        By rising probability: ``predicted`` (mean probability), ``share``, ``low``, ``high`` (95 % interval of the
        share), ``rows``.

    References
    ----------
    Wilson (1927) for the interval.
    """
    happened, probability = np.asarray(happened, bool), np.asarray(probability, float)
    if happened.shape != probability.shape or happened.ndim != 1 or not len(happened):
        raise PermGradError(
            f"expected an outcome and a probability for each row, got shapes {happened.shape} and {probability.shape}"
        )
    rows = []
    for part in _bins(probability, min(n_bins, max(1, len(probability) // LEAST_ROWS))):
        share = binomtest(int(happened[part].sum()), len(part))
        ends = share.proportion_ci(0.95, method="wilson")
        mean = float(probability[part].mean())
        rows.append({"predicted": mean, "share": share.statistic, "low": ends.low, "high": ends.high})
        rows[-1]["rows"] = len(part)
    return pd.DataFrame(rows)


def top_label(y_number: Any, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of each row's likeliest class, (n_rows,), and whether it is the true one, (n_rows,)."""
    y, p = np.asarray(y_number), np.asarray(probabilities, float)
    if p.ndim != 2 or y.shape != (len(p),) or not len(p):
        raise PermGradError(
            f"expected class numbers (n_rows,) and probabilities (n_rows, n_classes), got {y.shape} and {p.shape}"
        )
    return p.max(axis=1), p.argmax(axis=1) == y


def _error(confidence: np.ndarray, right: np.ndarray, n_bins: int) -> list[float]:
    """Return the error of each of several outcomes, (n_outcomes, n_rows), of the same probabilities."""
    parts = _bins(confidence, n_bins)
    gaps = np.array([np.abs(confidence[part].sum() - right[:, part].sum(axis=1)) for part in parts])
    return (gaps.sum(axis=0) / len(confidence)).tolist()


def _bins(probability: np.ndarray, n_bins: int) -> list[np.ndarray]:
    """Return row numbers by rising probability, in parts of nearly one size."""
    if n_bins < 1:
        raise PermGradError(f"n_bins must be at least 1, got {n_bins}")
    return np.array_split(np.argsort(probability, kind="stable"), min(n_bins, len(probability)))
