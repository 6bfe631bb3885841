"""What a row's columns add to its answer by way of the image: the numbers behind the pictures of single rows.

They are the explainer's own: Shapley values of the game whose players are (column, branch), of which the image's are
shown. Of tables so wide that this would take long, gradient × input stands in, and is named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from permgrad.data.table import as_frame
from permgrad.importance.game.local import LEAST_ROUNDS
from permgrad.importance.pixels import read_pixels
from permgrad.importance.row_explanations import RowExplanations

BACKGROUND = 16
"""Rows that stand for what is not seen."""
MOST_ANSWERS = 200_000
"""Of the network, for all rows together: some seconds."""
FEWEST_ORDERS = 2
NAMED = 3
"""Columns that a caption names."""
SHAPLEY, GRADIENT = "Shapley values of the image’s columns", "gradient × input"
NOTHING = 1e-6
"""Smaller values are rounding."""


@dataclass(frozen=True, eq=False)
class RowHeat:
    """What columns add to rows' answers by way of the image.

    Attributes
    ----------
    features : tuple of str
        The table's columns.
    values : ndarray of shape (n_rows, n_features)
        Towards the class that is predicted, or upwards; of "gradient × input" sizes alone, the largest 1.
    pixels : ndarray of shape (n_rows, n_layout_features)
        The same at each encoded column's pixel; NaN for levels that the row does not have.
    rows : DataFrame
        The rows as they were given.
    method, unit : str
    sums : ndarray of shape (n_rows, 2) or None
        What the image and the table add in all, where both are there.
    """

    features: tuple[str, ...]
    values: np.ndarray
    pixels: np.ndarray
    rows: pd.DataFrame
    method: str
    unit: str
    sums: np.ndarray | None = None

    def named(self, row: int) -> list[tuple[str, float, str]]:
        """Return the columns that add most, either way: name, what it adds, and both in words with the row's value."""
        best = np.argsort(-np.abs(self.values[row]), kind="stable")[:NAMED]
        found = []
        for i in best[np.abs(self.values[row][best]) > NOTHING]:
            value, name = float(self.values[row, i]), self.features[i]
            added = f"{value:+.2g}" if self.method == SHAPLEY else f"{value:.2g}"
            found.append((name, value, f"{name} = {cell_text(self.rows.iloc[row][name])} ({added})"))
        return found

    def caption(self, row: int) -> str:
        """Say which columns speak for the answer, and which against it, by the row's own values; or why none does."""
        sums = (
            ""
            if self.sums is None
            else " In all, the image adds {:+.2g} and the table {:+.2g}.".format(*self.sums[row])
        )
        return self._of_columns(row) + sums

    def _of_columns(self, row: int) -> str:
        named = self.named(row)
        if not named:
            empty = self.rows.iloc[row].isna().all()
            why = (
                "all of its values are missing" if empty else "it adds as much as to the rows that it is compared with"
            )
            return f"No column speaks for this answer by way of the image: {why}."
        if self.method == GRADIENT:
            return f"By gradient × input (sizes, not directions): {', '.join(text for *_, text in named)}."
        sides = {"For this answer": [t for _, v, t in named if v > 0], "Against it": [t for _, v, t in named if v < 0]}
        if self.unit == "the target's unit":
            sides = {"Upwards": sides["For this answer"], "Downwards": sides["Against it"]}
        return " ".join(f"{side}: {', '.join(texts)}." for side, texts in sides.items() if texts)


def row_heat(estimator: Any, X: Any, others: Any) -> RowHeat:
    """Measure what rows' columns add by way of the image, compared with 16 of other rows.

    Parameters
    ----------
    estimator : HybridClassifier or HybridRegressor
        With an image branch.
    X, others : DataFrame
        Rows to explain, and rows of which those that stand for what is not seen are drawn.
    """
    encoder, rows = estimator.encoder_, as_frame(X).set_axis(list(estimator.features_), axis=1)
    per_order = 2 * min(BACKGROUND, len(others)) * len(rows) * (2 * len(encoder.groups_) + 1)
    orders = min(LEAST_ROUNDS, MOST_ANSWERS // per_order)
    if orders < FEWEST_ORDERS:
        values = _by_gradient(estimator, rows)
        at_pixels, unit = _at_pixels(estimator, rows, values), "gradient × input, the largest 1"
        return RowHeat(tuple(encoder.features_), values, at_pixels, rows, GRADIENT, unit)
    drawn = np.sort(np.random.default_rng(0).permutation(len(others))[:BACKGROUND])
    found = estimator.explain_rows(rows, as_frame(others).iloc[drawn], n_orders=orders, random_state=0)
    return heat_of(estimator, rows, found)


def heat_of(estimator: Any, X: Any, found: RowExplanations) -> RowHeat:
    """Return what rows' columns add by way of the image, given all that they add, as `explain_rows` says by default."""
    encoder, rows = estimator.encoder_, as_frame(X).set_axis(list(estimator.features_), axis=1)
    parts = found.by_branch
    classes: Any = getattr(estimator, "classes_", ())
    if len(classes) == 2:  # explained is the second; what is told is towards the one that is predicted
        first = np.asarray(estimator.predict(rows)) == classes[0]
        parts = {name: np.where(first[:, None], -part, part) for name, part in parts.items()}
    values, sums = parts["image"], None
    if "tabular" in parts:
        sums = np.column_stack([parts[name].sum(axis=1) for name in ("image", "tabular")])
    unit = "log-odds of the predicted class" if len(classes) else "the target's unit"
    return RowHeat(tuple(encoder.features_), values, _at_pixels(estimator, rows, values), rows, SHAPLEY, unit, sums)


def _by_gradient(estimator: Any, rows: pd.DataFrame) -> np.ndarray:
    maps = estimator.grad_cam_maps(rows, attribution="gradient_input")
    outputs = np.zeros(len(rows), int)
    if hasattr(estimator, "classes_"):
        outputs = np.searchsorted(estimator.classes_, estimator.predict(rows))
    heat = read_pixels(maps, estimator.layout_)[np.arange(len(rows)), :, outputs]
    groups, values = estimator.encoder_.groups_, np.zeros((len(rows), len(estimator.features_)))
    for i, name in enumerate(estimator.features_):
        if name in groups:
            values[:, i] = heat[:, groups[name]].sum(axis=1)
    return values / np.maximum(values.max(axis=1, keepdims=True), 1e-30)


def _at_pixels(estimator: Any, rows: pd.DataFrame, values: np.ndarray) -> np.ndarray:
    """Give each column's value to the pixels of what the row has: its numbers, and the level that is its own."""
    encoder = estimator.encoder_
    encoded = encoder.encode(rows)
    has = encoded > 0
    has[:, : encoder.n_numbers_] = True
    pixels = np.full(encoded.shape, np.nan)
    for i, name in enumerate(encoder.features_):
        at = encoder.groups_.get(name, np.zeros(0, int))
        own = has[:, at] | ~has[:, at].any(axis=1, keepdims=True)
        pixels[:, at] = np.where(own, values[:, i, None], np.nan)
    return pixels


def cell_text(value: Any) -> str:
    """Return a cell as a caption has it."""
    if pd.isna(value):
        return "missing"
    return f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)
