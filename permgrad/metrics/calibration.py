"""Do probabilities hold what they say: shares of rows beside the probability that was given for them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from permgrad.data.rows import check_sample_weight
from permgrad.errors import PermGradError

BINS = 15
"""Of the calibration error."""
CURVE_BINS = 10
LEAST_ROWS = 10
"""Of a bin of the curve: fewer would show noise alone."""
ROUNDING = 1e-9
"""Share of all weights that a sum of them may be off by."""
DRAWS = 200
"""Of labels, for what a calibrated prediction's error would be."""


def expected_calibration_error(
    y_number: Any, probabilities: np.ndarray, n_bins: int = BINS, *, sample_weight: Any = None
) -> float:
    """Return how far predicted probabilities are from the share of rows in which they come true.

    With two classes, this uses the probability of the second class: in the probability of the most probable class,
    errors for rows of one class could cancel those for rows of the other. With more classes, it uses the probability of
    the most probable class, which comes true if that class is the true one.

    Parameters
    ----------
    y_number : array of shape (n_rows,)
        Class numbers.
    probabilities : ndarray of shape (n_rows, n_classes)
    n_bins : int
        Rows are sorted by that probability, and parted into so many bins of as equal a number of rows as can be; a
        bin for each row where there are fewer.
    sample_weight : array of shape (n_rows,), optional
        How many rows each stands for, the lightest being one; only ratios matter. What a bin has no room for is in the
        next: so a row of weight 2 is the row twice.

    Returns
    -------
    float
        Mean over bins, each weighed by its rows, of ``|mean probability - share that came true|``. With few rows it
        is above 0 for a perfectly calibrated prediction too, see `calibrated_error`.

    Raises
    ------
    PermGradError
        If the shapes do not fit, or `n_bins` is less than 1.

    References
    ----------
    Naeini, Cooper & Hauskrecht (AAAI 2015); Nguyen & O'Connor (EMNLP 2015) for bins of equal numbers of rows.

    Examples
    --------
    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.4, 0.6]])
    >>> round(pg.expected_calibration_error([0, 0, 1, 0], probabilities, n_bins=2), 3)
    0.15
    """
    probability, happened = judged(y_number, probabilities)
    return _error(probability, happened[None], n_bins, _checked(sample_weight, len(happened)))[0]


def calibrated_error(
    probabilities: np.ndarray, n_bins: int = BINS, random_state: int = 0, *, sample_weight: Any = None
) -> tuple[float, float]:
    """Return the calibration error's mean and 95th percentile, were these very probabilities true.

    What comes true is drawn 200 times by the probabilities, one for each row.
    """
    probability = _judged(np.asarray(probabilities, float))
    happened = np.random.default_rng(random_state).random((DRAWS, len(probability))) < probability
    drawn = _error(probability, happened, n_bins, _checked(sample_weight, len(probability)))
    return float(np.mean(drawn)), float(np.quantile(drawn, 0.95))


def reliability_curve(
    happened: Any, probability: Any, n_bins: int = CURVE_BINS, *, sample_weight: Any = None
) -> pd.DataFrame:
    """Return how often a class occurs among rows of about the same predicted probability.

    Parameters
    ----------
    happened : array of shape (n_rows,), bool
        Whether the row is of the class, or its predicted class is right.
    probability : array of shape (n_rows,)
        That was given for it.
    n_bins : int
        At most; bins have as equal a number of rows as can be, and ten at least where there are so many.
    sample_weight : array of shape (n_rows,), optional
        See `expected_calibration_error`. Intervals know that a row was drawn once, whatever it weighs.

    Returns
    -------
    DataFrame
        By rising probability: ``predicted`` (mean probability), ``share``, ``low``, ``high`` (95 % interval of the
        share), ``rows``.

    References
    ----------
    Wilson (1927) for the interval; Kish, Survey Sampling (1965) for the number of rows that weights leave it.

    Examples
    --------
    >>> happened = np.array([0, 0, 1, 0, 1, 1] * 10)
    >>> pg.reliability_curve(happened, np.linspace(0, 1, 60), n_bins=2)[["predicted", "share", "rows"]].round(2)
       predicted  share  rows
    0       0.25    0.5    30
    1       0.75    0.5    30
    """
    happened, probability = np.asarray(happened, bool), np.asarray(probability, float)
    if happened.shape != probability.shape or happened.ndim != 1 or not len(happened):
        raise PermGradError(
            f"expected an outcome and a probability for each row, got shapes {happened.shape} and {probability.shape}"
        )
    weights = _checked(sample_weight, len(happened))
    n_rows = len(happened) if weights is None else int(np.count_nonzero(weights))
    rows = []
    for part, weight in _bins(probability, min(n_bins, max(1, n_rows // LEAST_ROWS)), weights):
        share = float(np.average(happened[part], weights=weight))
        low, high = _wilson(share, weight.sum() ** 2 / (weight**2).sum())
        told = float(np.average(probability[part], weights=weight))
        rows.append({"predicted": told, "share": share, "low": low, "high": high, "rows": len(part)})
    return pd.DataFrame(rows)


def _wilson(share: float, n: float) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a share among `n` rows."""
    z = float(norm.ppf(0.975))
    middle, scale = share + z**2 / (2 * n), 1 + z**2 / n
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (middle - half) / scale if share > 0 else 0.0, (middle + half) / scale if share < 1 else 1.0


def judged(y_number: Any, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the probability of each row that is judged, (n_rows,), and whether it came true, (n_rows,).

    Of two classes it is the second's, of more the likeliest's.
    """
    y, p = np.asarray(y_number), np.asarray(probabilities, float)
    if p.ndim != 2 or y.shape != (len(p),) or not len(p):
        raise PermGradError(
            f"expected class numbers (n_rows,) and probabilities (n_rows, n_classes), got {y.shape} and {p.shape}"
        )
    return _judged(p), y == 1 if p.shape[1] == 2 else p.argmax(axis=1) == y


def _judged(p: np.ndarray) -> np.ndarray:
    return p[:, 1] if p.shape[1] == 2 else p.max(axis=1)


def _checked(sample_weight: Any, n_rows: int) -> np.ndarray | None:
    return None if sample_weight is None else check_sample_weight(sample_weight, n_rows)


def _error(probability: np.ndarray, happened: np.ndarray, n_bins: int, weights: np.ndarray | None) -> list[float]:
    """Return the error of each of several outcomes, (n_outcomes, n_rows), of the same probabilities."""
    parts = _bins(probability, n_bins, weights)
    gaps = np.array([np.abs(probability[part] @ weight - happened[:, part] @ weight) for part, weight in parts])
    return (gaps.sum(axis=0) / sum(weight.sum() for _, weight in parts)).tolist()


def _bins(
    probability: np.ndarray, n_bins: int, weights: np.ndarray | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return row numbers by rising probability, in parts of nearly one size, and what each row weighs in its part."""
    if n_bins < 1:
        raise PermGradError(f"n_bins must be at least 1, got {n_bins}")
    order = np.argsort(probability, kind="stable")
    if weights is None:
        return [(part, np.ones(len(part))) for part in np.array_split(order, min(n_bins, len(order)))]
    order = order[weights[order] > 0]
    counts = weights[order] / weights[order].min()
    ends = np.cumsum(counts)
    n_bins = min(n_bins, int(round(ends[-1], 6)))
    size, left = divmod(round(ends[-1], 6), n_bins)  # the first parts are larger by 1, as of rows that weigh alike
    cuts = np.cumsum([0.0, *(size + np.clip(left - np.arange(n_bins), 0, 1))])
    parts = []
    for low, high in pairwise(cuts):
        inside = np.minimum(ends, high) - np.maximum(ends - counts, low)
        taken = inside > ROUNDING * high
        parts.append((order[taken], inside[taken]))
    return parts
