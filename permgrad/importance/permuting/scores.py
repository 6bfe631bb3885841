"""Permutation importance by any score: how much accuracy, a recall, ... falls when a column is shuffled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd

from permgrad.data.checks import as_target
from permgrad.data.rows import check_sample_weight, weights_and_groups
from permgrad.data.table import Table, as_frame
from permgrad.errors import PermGradError
from permgrad.importance.budget import check_random_state, check_repeats
from permgrad.importance.donors import shuffled
from permgrad.importance.permuting import _stacking
from permgrad.importance.ranking import FeatureRanking
from permgrad.metrics.scorers import PredictedAtOnce, Scorer, get_scorer, scoring_name


def score_importance(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    scoring: str | Scorer = "accuracy",
    sample_weight: Any = None,
    n_repeats: int = 5,
    random_state: int = 0,
) -> FeatureRanking:
    """Permute each column and measure how much a score falls.

    It works for any fitted estimator, of this package or of scikit-learn. (`permutation_importance` and the estimators'
    ``rank_features`` measure the loss, and are faster.) Repeats and columns are predicted together, as many as memory
    allows.

    Parameters
    ----------
    estimator : fitted estimator
    X : DataFrame, array of shape (n_rows, n_features) or Table
        Rows that the estimator was not fitted on.
    y : array of shape (n_rows,)
    scoring : str or callable
        See `get_scorer`: "accuracy", "recall[malignant]", "roc_auc", ...
    sample_weight : array of shape (n_rows,), optional
        How many rows each row stands for: in the score, which must accept ``sample_weight``, and in how often its value
        is given to other rows. Only ratios matter. By default the weights of a `Table`.
    n_repeats : int
        Independent permutations of each column.
    random_state : int
        Column number j in repeat r is permuted by ``numpy.random.default_rng([random_state, j, r])``.

    Returns
    -------
    FeatureRanking
        ``scores``: the score minus that of the permuted table, in the score's unit, averaged over repeats; ``std`` over
        repeats (ddof 1). ``method``: "score_permutation". ``settings["baseline_score"]``: the score without
        permutation.

    Raises
    ------
    PermGradError
        If the scorer does not exist or accepts no weights, if rows, targets and weights do not fit, or if `n_repeats`
        is less than 1.

    Notes
    -----
    A score that counts rows changes in steps of one row: with 91 rows, accuracy falls by multiples of 0.011 in each
    repeat. A loss distinguishes columns that such a score cannot.

    References
    ----------
    Breiman, Random Forests (2001); `sklearn.inspection.permutation_importance`.

    Examples
    --------
    >>> found = pg.score_importance(logistic, test.X, test.y, scoring="accuracy", n_repeats=2)
    >>> found.method, found.scores.shape
    ('score_permutation', (4,))
    """
    check_repeats(n_repeats)
    check_random_state(random_state)
    scorer = get_scorer(scoring)
    frame, target = as_frame(X), as_target(y).to_numpy()
    if len(frame) != len(target):
        raise PermGradError(f"X and y must have the same number of rows, got {len(frame)} and {len(target)}")
    rows = frame if isinstance(X, (pd.DataFrame, Table)) else np.asarray(X)
    weights = _weights(X, sample_weight, len(frame))
    with _weighing(scoring, weights):
        baseline = PredictedAtOnce(estimator, rows, len(rows)).score(0, scorer, target, weights)
    pairs = [(j, r) for j in range(frame.shape[1]) for r in range(n_repeats)]
    at_once = max(1, _stacking.CELLS_PER_CALL // frame.size)  # copies, one at least
    scores: list[float] = []
    for begin in range(0, len(pairs), at_once):
        part = pairs[begin : begin + at_once]
        stacked = PredictedAtOnce(estimator, _permuted(rows, part, random_state, weights), len(rows))
        scores += [stacked.score(i, scorer, target, weights) for i in range(len(part))]
    falls = baseline - np.reshape(scores, (frame.shape[1], n_repeats))
    return FeatureRanking(
        tuple(frame.columns),
        falls.mean(axis=1),
        std=falls.std(axis=1, ddof=1) if n_repeats > 1 else np.zeros(len(falls)),
        method="score_permutation",
        settings={
            "scoring": scoring_name(scoring),
            "n_repeats": n_repeats,
            "random_state": random_state,
            "n_rows": len(rows),
            "baseline_score": baseline,
        },
    )


def _weights(X: Any, sample_weight: Any, n_rows: int) -> np.ndarray | None:
    given, _ = weights_and_groups(X, sample_weight, None)
    return None if given is None else check_sample_weight(given, n_rows)


@contextmanager
def _weighing(scoring: str | Scorer, weights: np.ndarray | None) -> Iterator[None]:
    """Raise our error where a score takes no weights."""
    try:
        yield
    except TypeError as error:
        if weights is None or "sample_weight" not in str(error):
            raise
        raise PermGradError(
            f"the score {scoring_name(scoring)!r} takes no sample_weight; choose one that does, or leave weights out"
        ) from error


def _permuted(rows: Any, pairs: list[tuple[int, int]], random_state: int, weights: np.ndarray | None) -> Any:
    """Return one copy of the rows below the other, in copy (j, r) column `j` permuted for the r-th time."""
    n = len(rows)
    same = np.tile(np.arange(n), len(pairs))
    taken: dict[int, np.ndarray] = {}
    for i, (j, repeat) in enumerate(pairs):
        order = shuffled(n, np.random.default_rng([random_state, j, repeat]), weights)
        taken.setdefault(j, same.copy())[i * n : (i + 1) * n] = order
    return _stacking.stacked(rows, same, taken)
