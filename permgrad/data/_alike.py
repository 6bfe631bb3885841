"""Which column says that rows belong together: few rows of each value, whose targets are alike."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from scipy.stats import f as fisher

from permgrad.data._kinds import names_rows

LEAST_LEVELS, MOST_ROWS = 10, 30
"""Levels of a column of groups at least, and rows of a level at most, on average; of more rows it is a category."""
LEAST_ROWS = 1.5
"""Of a level, on average: fewer, and it names rows."""
LEAST_ALIKE, ALPHA = 0.2, 1e-4
"""Intraclass correlation of the target within levels, and the p-value of an F test, from where levels are groups."""
MOST_CLASSES = 20
_GROUP_NAME = re.compile(
    r"(?i).*(patient|subject|person|participant|donor|animal|slide|household|customer|user|group)s?.*"
)


def alike_in_target(name: str, column: pd.Series, y: pd.Series, *, classes: bool) -> float:
    """Return the intraclass correlation of the target within a column's levels; 0 where these look like no groups.

    Parameters
    ----------
    name : str
        Numbers are groups only by their name: an age, too, has few rows of each value.
    column, y : Series
    classes : bool
        Whether `y` holds labels.

    References
    ----------
    Donner, International Statistical Review 54 (1986): the analysis-of-variance estimator.
    """
    told = names_rows(name) or bool(_GROUP_NAME.fullmatch(name))
    if pd.api.types.is_float_dtype(column.dtype) or pd.api.types.is_datetime64_any_dtype(column.dtype):
        return 0.0
    if pd.api.types.is_numeric_dtype(column.dtype) and not told:
        return 0.0
    known = column.notna().to_numpy()
    codes, levels = pd.factorize(column[known])
    if len(levels) < LEAST_LEVELS or not LEAST_ROWS <= len(codes) / len(levels) <= MOST_ROWS:
        return 0.0
    target = y[known]
    if classes:
        common = target.value_counts().index[:MOST_CLASSES]
        values = [(target == label).to_numpy(float) for label in common]
    else:
        values = [target.to_numpy(float)]
    return max(_intraclass(codes, each) for each in values)


def _intraclass(codes: np.ndarray, values: np.ndarray) -> float:
    sizes = np.bincount(codes)
    n, k = len(codes), len(sizes)
    means = np.bincount(codes, values) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (k - 1)
    within = float(((values - means[codes]) ** 2).sum()) / max(n - k, 1)
    typical = (n - (sizes**2).sum() / n) / (k - 1)
    total = between + (typical - 1) * within
    if total <= 0 or n <= k or (within > 0 and fisher.sf(between / within, k - 1, n - k) >= ALPHA):
        return 0.0
    found = (between - within) / total
    return found if found >= LEAST_ALIKE else 0.0
