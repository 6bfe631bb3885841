"""Is one model better than another, or is it noise: means, intervals and paired tests over the same splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t as student

from permgrad.errors import PermGradError

WITHIN_NOISE = "within noise"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Models compared over the same splits: what `compare_models` returns.

    Attributes
    ----------
    summary : DataFrame
        One row per model, in the order given: ``model``, ``mean``, ``low``, ``high``, ``splits``.
    pairs : DataFrame
        One row per pair: ``first``, ``second``, ``difference`` (mean of first less second), ``low``, ``high``, ``p``,
        ``p_adjusted`` (Holm, over all pairs of the table) and ``verdict``: "within noise"; "<model> may be higher",
        where only the number of pairs makes it noise; or "<model> is higher".
    level : float
        Of intervals, and one minus that of tests.

    Examples
    --------
    >>> scores = {"network": [0.91, 0.93, 0.92, 0.94, 0.90], "forest": [0.85, 0.87, 0.86, 0.88, 0.84]}
    >>> pg.compare_models(scores, test_share=0.2).summary[["model", "mean", "splits"]]
         model  mean  splits
    0  network  0.92       5
    1   forest  0.86       5
    """

    summary: pd.DataFrame
    pairs: pd.DataFrame
    level: float

    def __repr__(self) -> str:
        noise = int((self.pairs["verdict"] == WITHIN_NOISE).sum())
        return f"Comparison({len(self.summary)} models, {noise} of {len(self.pairs)} differences within noise)"


def compare_models(
    scores: Mapping[str, Sequence[float] | np.ndarray],
    *,
    test_share: float,
    level: float = 0.95,
    bounds: tuple[float, float] = (-np.inf, np.inf),
    pairs: Sequence[tuple[str, str]] | None = None,
) -> Comparison:
    """Compare models by their scores on the same splits of one table, such as those of repeated cross-validation.

    Splits share most of their training rows, so their scores vary less than scores on independent tables. A plain
    t-test would often call noise a difference. The corrected test adds n_test / n_train to 1 / n_splits.

    Parameters
    ----------
    scores : mapping of str to sequence of float
        Each model's score on every split, in the same order of splits.
    test_share : float
        Share of the rows that each split tests on; 0.2 for five folds.
    level : float
        Of the intervals.
    bounds : (float, float)
        Lowest and highest possible score, such as (0, 1) for accuracy; intervals of means are cut off there.
    pairs : sequence of (str, str), optional
        Pairs of models to compare; by default all pairs.

    Returns
    -------
    Comparison

    Raises
    ------
    PermGradError
        For fewer than two models or splits, scores of different lengths, that are no numbers or beyond their bounds, or
        shares out of range.

    Notes
    -----
    Intervals and tests: Student's t with n_splits - 1 degrees of freedom and variance
    ``(1 / n_splits + test_share / (1 - test_share)) * var(scores, ddof=1)``. An interval of a mean is of the score of
    a model trained on so many rows of such tables; it is rough where the score is near a bound.

    References
    ----------
    Nadeau & Bengio, Inference for the Generalization Error, Machine Learning 52 (2003); Bouckaert & Frank (2004) for
    repeated cross-validation; Holm, Scand. J. Statistics 6 (1979).

    Examples
    --------
    >>> scores = {"network": [0.91, 0.93, 0.92, 0.94, 0.90], "forest": [0.85, 0.87, 0.86, 0.88, 0.84]}
    >>> pg.compare_models(scores, test_share=0.2).pairs[["first", "second", "verdict"]]
         first  second            verdict
    0  network  forest  network is higher
    """
    arrays = {name: np.asarray(values, float) for name, values in scores.items()}
    _check(arrays, test_share, level, bounds)
    summary: list[dict[str, Any]] = [
        {"model": name, **_interval(values, test_share, level), "splits": len(values)}
        for name, values in arrays.items()
    ]
    for row in summary:
        row["low"], row["high"] = max(row["low"], bounds[0]), min(row["high"], bounds[1])
    chosen = list(combinations(arrays, 2)) if pairs is None else [tuple(pair) for pair in pairs]
    unknown = sorted({name for pair in chosen for name in pair} - set(arrays))
    if unknown:
        raise PermGradError(f"pairs name models without scores: {unknown}")
    rows: list[dict[str, Any]] = []
    for first, second in chosen:
        differences = arrays[first] - arrays[second]
        interval = _interval(differences, test_share, level)
        p = corrected_t_test(differences, test_share)
        rows.append({"first": first, "second": second, "difference": interval.pop("mean"), **interval, "p": p})
    adjusted = holm(np.array([row["p"] for row in rows]))
    for row, p in zip(rows, adjusted, strict=True):
        higher = row["first"] if row["difference"] > 0 else row["second"]
        row |= {"p_adjusted": p, "verdict": _verdict(higher, row["p"], p, 1 - level)}
    return Comparison(pd.DataFrame(summary), pd.DataFrame(rows), level)


def _verdict(higher: str, p: float, p_adjusted: float, alpha: float) -> str:
    if p >= alpha:
        return WITHIN_NOISE
    return f"{higher} is higher" if p_adjusted < alpha else f"{higher} may be higher"


def corrected_t_test(differences: np.ndarray, test_share: float) -> float:
    """Return the two-sided p-value of the mean of paired differences being 0, see `compare_models`."""
    mean, error = float(np.mean(differences)), _standard_error(differences, test_share)
    if error == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * student.sf(abs(mean) / error, len(differences) - 1))


def holm(p_values: np.ndarray) -> np.ndarray:
    """Adjust p-values so that no difference at all is found by chance with the tests' probability (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted


def _standard_error(values: np.ndarray, test_share: float) -> float:
    return float(np.sqrt((1 / len(values) + test_share / (1 - test_share)) * np.var(values, ddof=1)))


def _interval(values: np.ndarray, test_share: float, level: float) -> dict[str, float]:
    mean = float(np.mean(values))
    margin = float(student.ppf((1 + level) / 2, len(values) - 1)) * _standard_error(values, test_share)
    return {"mean": mean, "low": mean - margin, "high": mean + margin}


def _check(scores: Mapping[str, np.ndarray], test_share: float, level: float, bounds: tuple[float, float]) -> None:
    if len(scores) < 2:
        raise PermGradError(f"a comparison needs at least two models, got {len(scores)}")
    shapes = {name: values.shape for name, values in scores.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 or shape[0] < 2 for shape in shapes.values()):
        raise PermGradError(f"each model needs a score for each of the same splits, two at least, got {shapes}")
    for name, values in scores.items():
        if not np.isfinite(values).all():
            raise PermGradError(f"scores must be finite numbers, those of {name!r} are not")
        if values.min() < bounds[0] or values.max() > bounds[1]:
            raise PermGradError(f"scores must be within the bounds {bounds}, those of {name!r} are not")
    if not 0 < test_share < 1 or not 0 < level < 1:
        raise PermGradError(f"test_share and level must be between 0 and 1, got {test_share} and {level}")
