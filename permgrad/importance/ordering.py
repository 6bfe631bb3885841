"""Does a model put rows in the right order, whatever its loss: the area under the ROC curve, or a rank correlation."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata
from scipy.stats import t as student

from permgrad.importance.network._target import Target
from permgrad.metrics.paired import LEVEL, mean_and_error, mean_p_value

CHANCE = {"AUC": 0.5, "Spearman's correlation": 0.0}


def ordering(target: Target, outputs: np.ndarray) -> dict[str, Any]:
    """Measure how well outputs order the rows: with classes by the area of each against the rest, else by ranks.

    Parameters
    ----------
    target : Target
    outputs : ndarray of shape (n_rows, n_outputs)

    Returns
    -------
    dict
        ``measure`` ("AUC" or "Spearman's correlation"), ``value`` (mean over classes or outputs) with its 95 % interval
        ``low`` and ``high``, and ``p`` (one-sided, of a value at chance). Rows, or their groups, are what was drawn.

    References
    ----------
    DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988): a row's part in the area.
    """
    said, truth = target.task.probabilities(outputs), target.indicators()
    counted = target.task.counted(truth.shape[1])
    said, truth = said[:, counted], truth[:, counted]
    weights = np.ones(len(truth)) if target.weights is None else target.weights
    measure, parts_of = ("AUC", _parts_of_area) if target.classes else ("Spearman's correlation", _parts_of_correlation)
    found = [parts_of(*columns, weights) for columns in zip(truth.T, said.T, strict=True)]
    parts, at_chance = (np.mean(each, axis=0) for each in zip(*[one for one in found if one is not None], strict=True))
    value, error, n = mean_and_error(parts, target.weights, target.groups)
    margin = float(student.ppf((1 + LEVEL) / 2, max(1.0, n - 1))) * error
    chance = CHANCE[measure]
    return {
        "measure": measure,
        "value": value,
        "low": float(max(2 * chance - 1, value - margin)),
        "high": float(min(1.0, value + margin)),
        "p": mean_p_value(at_chance - chance, target.weights, target.groups),
    }


def _parts_of_area(truth: np.ndarray, said: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return numbers of rows whose mean is the area of one class; twice, for they serve at chance, too."""
    own = truth == 1
    if own.all() or not own.any():
        return None
    share = np.where(
        own, _share_below(said, said[~own], weights[~own]), 1 - _share_below(said, said[own], weights[own])
    )
    area = np.average(share[own], weights=weights[own] if weights[own].any() else None)
    of_class = np.where(own, weights[own].sum(), weights[~own].sum())
    parts = area + (share - area) * weights.sum() / np.maximum(of_class, np.finfo(float).tiny)
    return parts, parts


def _share_below(values: np.ndarray, others: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the share of others, as they weigh, that is below each value, half of those that equal it."""
    order = np.argsort(others)
    summed = np.concatenate([[0.0], np.cumsum(weights[order])])
    ends = [summed[np.searchsorted(others[order], values, side)] for side in ("left", "right")]
    return (ends[0] + ends[1]) / 2 / max(summed[-1], np.finfo(float).tiny)


def _parts_of_correlation(truth: np.ndarray, said: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers of rows whose mean is the correlation of ranks, and such whose spread is that at chance."""
    u, v = (_standardised(rankdata(each), weights) for each in (truth, said))
    products = u * v
    r = np.average(products, weights=weights)
    return r + products - r * (u**2 + v**2) / 2, products


def _standardised(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    centred = values - np.average(values, weights=weights)
    spread = np.sqrt(np.average(centred**2, weights=weights))
    return centred / spread if spread > 0 else np.zeros(len(values))
