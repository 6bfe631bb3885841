"""Test rows that are explained, all at once: those that the page carries, and those whose images are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from permgrad.data.table import Table
from permgrad.importance.row_explanations import RowExplanations
from permgrad.report.background import chosen_rows
from permgrad.report.row_heat import RowHeat, heat_of, row_heat

FILE = "rows.parquet"
"""In a results directory: the rows that its page carries."""
MOST_ROWS, LEAST_ROWS = 200, 5
WORK = 60_000
"""Rows × columns², which the time goes by that explaining them takes: some five seconds."""
MOST_COLUMNS = 150
"""Of which rows are explained; of more it takes minutes, and `permgrad explain` does one row."""
MAX_SAMPLES = 6
"""Rows whose images the page shows."""


@dataclass(frozen=True, eq=False)
class CarriedRows:
    """Test rows that the page carries.

    Attributes
    ----------
    at : ndarray of shape (n_rows,)
        Their positions in the test part.
    found : RowExplanations
    n_background : int
        Rows that stood for what is not seen.
    """

    at: np.ndarray
    found: RowExplanations
    n_background: int

    @property
    def ends(self) -> dict[str, int]:
        """The places of the rows with the ``lowest`` and the ``highest`` answer."""
        ascending = np.argsort(self.found.outputs, kind="stable")
        return {"lowest": int(ascending[0]), "highest": int(ascending[-1])}


@dataclass(frozen=True, eq=False)
class ImageRows:
    """Test rows whose images are drawn.

    Attributes
    ----------
    samples : ndarray of shape (n_samples,)
        Positions in the test part of the rows that the page shows, chosen by rule and not by look. Classification: the
        first row of each class, and the first that is predicted wrongly. Regression: the rows with the lowest, the
        median and the highest target. At most `MAX_SAMPLES`.
    at : ndarray of shape (n_rows,)
        Those and the first row, ascending.
    heat : RowHeat
        Of the rows `at`.
    """

    samples: np.ndarray
    at: np.ndarray
    heat: RowHeat

    def place(self, row: int) -> int:
        """Return where among the rows a row of the test part is."""
        return int(np.searchsorted(self.at, row))


def explain_test_rows(
    estimator: Any, test: Table, predicted: np.ndarray
) -> tuple[CarriedRows | None, ImageRows | None]:
    """Choose test rows, and explain them in one go.

    Returns
    -------
    carried : CarriedRows or None
        None of tables with too many columns.
    images : ImageRows or None
        None of networks without an image.
    """
    n_columns, imaged = test.X.shape[1], estimator.layout_ is not None
    samples = _samples(test, predicted) if imaged else np.zeros(0, int)
    drawn = np.union1d([0], samples).astype(int) if imaged else samples
    if n_columns > MOST_COLUMNS:
        if not imaged:
            return None, None
        return None, ImageRows(samples, drawn, row_heat(estimator, test.X.iloc[drawn], test.X))
    at = chosen_rows(len(test), int(np.clip(WORK // n_columns**2, LEAST_ROWS, MOST_ROWS)))
    background = test.X.iloc[chosen_rows(len(test))]
    both = np.union1d(at, drawn)
    found = estimator.explain_rows(test.X.iloc[both], background, random_state=0)
    carried = CarriedRows(at, found.take(np.searchsorted(both, at)), len(background))
    if not imaged:
        return carried, None
    heat = heat_of(estimator, test.X.iloc[drawn], found.take(np.searchsorted(both, drawn)))
    return carried, ImageRows(samples, drawn, heat)


def _samples(test: Table, predicted: np.ndarray) -> np.ndarray:
    y = test.y.to_numpy()
    if test.task == "regression":
        return np.argsort(y, kind="stable")[np.unique([0, len(y) // 2, len(y) - 1])]
    first = [int(np.flatnonzero(y == label)[0]) for label in np.unique(y)][:MAX_SAMPLES]
    wrong = np.flatnonzero((y != predicted) & ~np.isin(np.arange(len(y)), first))[:1]
    return np.array([*first[: MAX_SAMPLES - len(wrong)], *wrong], int)
