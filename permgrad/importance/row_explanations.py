"""The result of explaining single rows: what each column adds to each row's answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from permgrad.data.html import html_table
from permgrad.errors import PermGradError, require

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INTERVAL = 1.96
COLUMNS_SHOWN = 10


@dataclass(frozen=True, eq=False)
class RowExplanations:
    """Shapley values of a network's predictions for rows.

    Attributes
    ----------
    features : tuple of str
    values : ndarray of shape (n_rows, n_features), float64
        What each column adds to the prediction for a row: in log-odds of a class, or in the target's unit. Positive
        values push towards that class, or upwards.
    error : ndarray of shape (n_rows, n_features)
        Standard error of each value, over orders of the columns.
    base : ndarray of shape (n_rows,)
        Mean prediction for the background rows.
    outputs : ndarray of shape (n_rows,)
        The prediction for each row: ``base + values.sum(axis=1)``.
    by_branch : dict of str to ndarray of shape (n_rows, n_features)
        Each branch's part of the values.
    explained : tuple of str or None
        The class that each row is explained for; None for regression.
    rows : DataFrame or None
        The rows as they were given, if they came as a table.

    Examples
    --------
    >>> values = np.array([[0.5, -0.2]])
    >>> explained = pg.RowExplanations(("age", "dose"), values, 0 * values, np.array([0.1]), np.array([0.4]))
    >>> explained.row(0)[["feature", "adds"]]
      feature  adds
    0     age   0.5
    1    dose  -0.2
    """

    features: tuple[str, ...]
    values: np.ndarray
    error: np.ndarray
    base: np.ndarray
    outputs: np.ndarray
    by_branch: dict[str, np.ndarray] = field(default_factory=dict)
    explained: tuple[str, ...] | None = None
    rows: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"RowExplanations({len(self)} rows × {len(self.features)} features, {self.unit(0)})"

    @property
    def table(self) -> pd.DataFrame:
        """One row for each row: ``output``, ``base``, and each column's value under its name."""
        frame = pd.DataFrame(self.values, columns=list(self.features))
        frame.insert(0, "base", self.base, allow_duplicates=True)
        frame.insert(0, "output", self.outputs, allow_duplicates=True)
        return frame

    def unit(self, row: int) -> str:
        """Return the unit of a row's values.

        Examples
        --------
        >>> values = np.array([[0.5, -0.2]])
        >>> explained = pg.RowExplanations(("age", "dose"), values, 0 * values, np.array([0.1]), np.array([0.4]))
        >>> explained.unit(0)
        "the target's unit"
        """
        return "the target's unit" if self.explained is None else f"log-odds of {self.explained[row]!r}"

    def row(self, row: int) -> pd.DataFrame:
        """Return one row's values, largest first: ``feature``, ``is`` (its value), ``adds``, ``low``, ``high`` ...

        Parameters
        ----------
        row : int
            Position of the row, counted from 0.

        Returns
        -------
        DataFrame
            ``low`` and ``high``: a 95 % interval over orders of the columns.

        Raises
        ------
        PermGradError
            If there is no such row.

        Examples
        --------
        >>> values = np.array([[0.5, -0.2]])
        >>> explained = pg.RowExplanations(("age", "dose"), values, 0 * values, np.array([0.1]), np.array([0.4]))
        >>> explained.row(0)["adds"].tolist()
        [0.5, -0.2]
        """
        if not 0 <= row < len(self):
            raise PermGradError(f"row must be between 0 and {len(self) - 1}, got {row}")
        adds, half = self.values[row], INTERVAL * self.error[row]
        columns: dict[str, Any] = {"feature": self.features}
        if self.rows is not None:
            columns["is"] = [self.rows.iloc[row][name] for name in self.features]
        columns |= {"adds": adds, "low": adds - half, "high": adds + half}
        if len(self.by_branch) > 1:
            columns |= {name: part[row] for name, part in self.by_branch.items()}
        order = np.argsort(-np.abs(adds), kind="stable")
        return pd.DataFrame(columns).iloc[order].reset_index(drop=True)

    def take(self, rows: Sequence[int] | np.ndarray) -> RowExplanations:
        """Return the same of some of the rows, by their places, in this order.

        Examples
        --------
        >>> values = np.array([[0.5, -0.2], [0.1, 0.3]])
        >>> explained = pg.RowExplanations(("age", "dose"), values, 0 * values, np.zeros(2), values.sum(axis=1))
        >>> explained.take([1]).values.tolist()
        [[0.1, 0.3]]
        """
        at = np.asarray(rows, int)
        return replace(
            self,
            **{name: getattr(self, name)[at] for name in ("values", "error", "base", "outputs")},
            by_branch={name: part[at] for name, part in self.by_branch.items()},
            explained=None if self.explained is None else tuple(self.explained[i] for i in at),
            rows=None if self.rows is None else self.rows.iloc[at].reset_index(drop=True),
        )

    def plot(self, row: int = 0, top: int = 10) -> Figure:
        """Draw one row's values as a waterfall, from the mean prediction for the background to that for the row.

        Examples
        --------
        >>> values = np.array([[0.5, -0.2]])
        >>> explained = pg.RowExplanations(("age", "dose"), values, 0 * values, np.array([0.1]), np.array([0.4]))
        >>> figure = explained.plot(row=0)
        """
        from permgrad.plotting import plot_row

        return plot_row(self, row, top)

    def _repr_html_(self) -> str:
        if len(self) == 1:
            told = f"{self.unit(0)}: from {self.base[0]:.3g}, the background's mean, to {self.outputs[0]:.3g}"
            return html_table(told, self.row(0))
        most = [self.features[i] for i in np.argsort(-np.abs(self.values).mean(axis=0), kind="stable")[:COLUMNS_SHOWN]]
        table = self.table[["output", "base", *most]]
        left = len(self.features) - len(most)
        notes = [f"and {left} columns that add less; row(i) has all of a row's"] if left > 0 else []
        return html_table(f"What columns add to the answers to {len(self):,} rows", table, notes=notes)

    def to_shap(self) -> Any:
        """Return the values as a ``shap.Explanation``, for SHAP's plots.

        Raises
        ------
        PermGradError
            If the package shap is missing.

        Examples
        --------
        >>> values = np.array([[0.5, -0.2]])
        >>> explained = pg.RowExplanations(("age", "dose"), values, 0 * values, np.array([0.1]), np.array([0.4]))
        >>> explained.to_shap().feature_names
        ['age', 'dose']
        """
        require("shap", "a shap.Explanation", "shap")
        import shap

        data = None if self.rows is None else self.rows[list(self.features)].to_numpy()
        return shap.Explanation(self.values, self.base, data=data, feature_names=list(self.features))

    def with_features(self, features: Sequence[str]) -> RowExplanations:
        """Return the explanations with all of these features, in this order; features that are missing here add 0.

        Examples
        --------
        >>> values = np.array([[0.5, -0.2]])
        >>> explained = pg.RowExplanations(("age", "dose"), values, 0 * values, np.array([0.1]), np.array([0.4]))
        >>> explained.with_features(["age", "site", "dose"]).values
        array([[ 0.5,  0. , -0.2]])
        """
        position = {name: i for i, name in enumerate(self.features)}
        at = [position.get(name, len(position)) for name in features]

        def expand(values: np.ndarray) -> np.ndarray:
            return np.insert(values, values.shape[1], 0, axis=1)[:, at]

        return replace(
            self,
            features=tuple(features),
            values=expand(self.values),
            error=expand(self.error),
            by_branch={name: expand(part) for name, part in self.by_branch.items()},
        )


def average_explanations(explanations: Sequence[RowExplanations]) -> RowExplanations:
    """Return the mean of several networks' explanations of the same rows: of the mean of their answers."""
    first, n = explanations[0], len(explanations)
    means = {
        name: np.mean([getattr(each, name) for each in explanations], axis=0) for name in ("values", "base", "outputs")
    }
    error = np.sqrt(np.sum([each.error**2 for each in explanations], axis=0)) / n
    parts = {name: np.mean([each.by_branch[name] for each in explanations], axis=0) for name in first.by_branch}
    return replace(first, **means, error=error, by_branch=parts)
