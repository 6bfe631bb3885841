"""One model on parts of the rows: how well it predicts, and what columns are worth, in each level of a column."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from permgrad.data.checks import as_target
from permgrad.data.html import html_table
from permgrad.data.rows import check_sample_weight, weights_and_groups
from permgrad.data.streamed import StreamedTable
from permgrad.data.table import Table, as_frame
from permgrad.errors import PermGradError, listing, reading
from permgrad.evaluation._differing import differing
from permgrad.files import SAVE_AGAIN, new_file, read_json, write_json
from permgrad.importance.bootstrap import Bootstrap, percentiles
from permgrad.importance.network.opaque import predictions_of, response_of
from permgrad.importance.rank import rank_features
from permgrad.importance.ranking import FeatureRanking
from permgrad.importance.responding.grid import grid_of, is_date
from permgrad.metrics.losses import cross_entropy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "permgrad.ByLevel"
ALL = "(all rows)"
MEASURES = {True: ("accuracy", "log_loss"), False: ("r2", "rmse")}
"""Of classification, and of regression: a score and a loss."""
LOWEST = {"accuracy": 0.0, "log_loss": 0.0, "r2": -np.inf, "rmse": 0.0}
HIGHEST = {"accuracy": 1.0, "log_loss": np.inf, "r2": 1.0, "rmse": np.inf}
MOST_LEVELS = 12
"""Levels of a category, the most frequent; of more distinct numbers, quarters of the rows."""
FEW, LEAST = 30, 10
"""Rows of a level below which it is said to have few, and below which columns are not ranked in it."""
TABLES, FILE = ("by.csv", "by_importance.csv"), "by.json"
"""In a results directory."""


@dataclass(frozen=True, eq=False)
class ByLevel:
    """The performance of a model, and its ranking, in each level of a column.

    Attributes
    ----------
    by : str
        The column.
    table : DataFrame
        One row for all rows together, and one for each level: ``level``, ``rows``, ``few`` (fewer than 30 rows, so that
        intervals are rough), and each measure with the ends of its 95 % interval, ``<name>_low`` and ``<name>_high``.
        Intervals come from a bootstrap of the level's rows. Measures are ``accuracy`` and ``log_loss``, or ``r2`` and
        ``rmse``. A measure that is not defined is NaN, such as the r2 of equal targets.
    importance : DataFrame
        One row for each column and level: ``feature``, ``level``, ``score``, ``low``, ``high``, ``rank``.
    rankings : dict of str to FeatureRanking
        The ranking on all rows, and on each level of at least 10 rows.

    Examples
    --------
    >>> levels.table[["level", "rows"]]
            level  rows
    0  (all rows)    30
    1           A    10
    2           B    20
    """

    by: str
    table: pd.DataFrame
    importance: pd.DataFrame
    rankings: dict[str, FeatureRanking] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"ByLevel({self.by!r}, {len(self.table) - 1} levels)"

    @property
    def measures(self) -> tuple[str, str]:
        """The names of the score and the loss in `table`."""
        return MEASURES["accuracy" in self.table]

    def scores(self, top: int | None = None) -> pd.DataFrame:
        """Return the scores: a row for each column, the best on all rows first, and a column for each level.

        Examples
        --------
        >>> levels.scores(top=2).columns.tolist()
        ['feature', '(all rows)', 'A', 'B']
        """
        levels = [level for level in self.table["level"] if level in set(self.importance["level"])]
        wide = self.importance.pivot(index="feature", columns="level", values="score")[levels]
        order = self.importance[self.importance["level"] == ALL].sort_values("rank", kind="stable")["feature"]
        return wide.loc[order.head(len(order) if top is None else top)].rename_axis(columns=None).reset_index()

    def differences(self) -> pd.DataFrame:
        """Compare levels of at least 30 rows, two by two: the loss, and what each column is worth there.

        Returns
        -------
        DataFrame
            One row for each pair and measure: ``of`` (the name of the loss, or of the column), ``level``, ``other``,
            ``value`` and ``other_value``, their ``difference`` with its 95 % interval, ``low`` and ``high``, and ``p``.
            The p-value is two-sided. Holm's method adjusts it for all pairs: those of the loss together, and those of
            all columns together. Levels have no row in common. If groups of rows have rows in several levels, intervals
            are rather too wide.

        References
        ----------
        Zou & Donner, Statistics in Medicine 27 (2008), for the interval; Holm, Scand. J. Statistics 6 (1979), for p.

        Examples
        --------
        >>> levels.differences().columns.tolist()[:3]
        ['of', 'level', 'other']
        """
        return differing(self.table, self.importance, self.measures[1])

    def plot(self, top: int = 8) -> Figure:
        """Draw the score and the loss in each level, and the scores of the best columns there.

        Examples
        --------
        >>> figure = levels.plot(top=2)
        """
        from permgrad.plotting import plot_by_level

        return plot_by_level(self, top)

    def _repr_html_(self) -> str:
        return html_table(f"By {self.by!r}", self.table)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers, ready for JSON.

        Examples
        --------
        >>> sorted(levels.to_dict())
        ['by', 'importance', 'kind', 'rankings', 'table']
        """
        tables = {"table": self.table.to_dict("list"), "importance": self.importance.to_dict("list")}
        rankings = {level: ranking.to_dict() for level, ranking in self.rankings.items()}
        return {"kind": KIND, "by": self.by, **tables, "rankings": rankings}

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> ByLevel:
        """Build the object that `to_dict` described.

        Examples
        --------
        >>> pg.ByLevel.from_dict(levels.to_dict()).by == levels.by
        True
        """
        table, importance = (pd.DataFrame(content[name]) for name in ("table", "importance"))
        measures = MEASURES["accuracy" in table]
        numbers = [f"{measure}{end}" for measure in measures for end in ("", "_low", "_high")]
        kinds = {"level": str, "rows": int, "few": bool, **dict.fromkeys(numbers, float)}
        of_columns = {"feature": str, "level": str, "score": float, "low": float, "high": float, "rank": int}
        rankings = {level: FeatureRanking.from_dict(known) for level, known in content["rankings"].items()}
        by = str(content["by"])
        return cls(by, table[[*kinds]].astype(kinds), importance[[*of_columns]].astype(of_columns), rankings)

    @classmethod
    def load(cls, path: str | Path) -> ByLevel:
        """Read the file ``by.json`` that `write` wrote.

        Raises
        ------
        FileFormatError
            If the file is absent or damaged, or is not such a record.

        Examples
        --------
        >>> from pathlib import Path
        >>> levels.write_tables(Path("."))
        >>> pg.ByLevel.load("by.json").by == levels.by
        True
        """
        content = read_json(path, kind=KIND)
        with reading(path, "levels saved by permgrad", SAVE_AGAIN):
            return cls.from_dict(content)

    def write(self, directory: Path) -> None:
        """Write ``by.csv``, ``by_importance.csv``, ``by.json`` and ``by.png`` into a directory.

        Examples
        --------
        >>> from pathlib import Path
        >>> levels.write(Path("."))
        >>> Path("by.csv").exists()
        True
        """
        self.write_tables(directory)
        with new_file(directory / "by.png") as part:
            self.plot().savefig(part, dpi=150, format="png")

    def write_tables(self, directory: Path) -> None:
        """Write the same files, except for the picture.

        Examples
        --------
        >>> from pathlib import Path
        >>> levels.write_tables(Path("."))
        >>> Path("by_importance.csv").exists()
        True
        """
        for name, table in zip(TABLES, (self.table, self.importance), strict=True):
            with new_file(directory / name) as part:
                table.to_csv(part, index=False)
        write_json(directory / FILE, self.to_dict())


def by_level(
    model: Any,
    X: Any,
    y: Any = None,
    *,
    by: Any,
    ranking: FeatureRanking | None = None,
    n_repeats: int = 5,
    random_state: int = 0,
    **settings: Any,
) -> ByLevel:
    """Measure how well a model predicts, and how it scores columns, in each level of a column.

    Parameters
    ----------
    model : fitted estimator
        It has ``predict_proba`` or ``predict``.
    X : DataFrame, Table or array of shape (n_rows, n_columns)
        Rows on which the model was not fitted. Weights and groups of a `Table` are used.
    y : array of shape (n_rows,), optional
        By default the target of the table.
    by : str, or array of shape (n_rows,)
        A column of X, or a label for each row. With more than 12 distinct numbers or dates, the rows are split into
        quarters. With more than 12 levels, only the most frequent ones are compared. Rows with a missing value form a
        level.
    ranking : FeatureRanking, optional
        The ranking on all rows, if you already have it.
    n_repeats, random_state
        See `rank_features`.
    settings
        Further arguments of `rank_features`, such as ``budget``.

    Returns
    -------
    ByLevel

    Raises
    ------
    PermGradError
        If there is no such column, it does not vary, or the model cannot predict.

    Examples
    --------
    >>> found = pg.by_level(logistic, test, by="petal width (cm)", n_repeats=1)
    >>> found.by, len(found.table)
    ('petal width (cm)', 5)
    """
    if isinstance(X, StreamedTable):
        raise PermGradError("expected rows in memory, got a StreamedTable; draw a sample: X, y = table.draw(2000, 0)")
    table = X if y is None and isinstance(X, Table) else None
    frame = as_frame(X).reset_index(drop=True)
    if table is None and y is None:
        raise PermGradError("y is needed: the true values of the rows")
    target = (table.y if table is not None else as_target(y)).reset_index(drop=True)
    if len(target) != len(frame):
        raise PermGradError(f"X and y must have the same number of rows, got {len(frame)} and {len(target)}")
    column = _column(frame, by)
    levels = _levels(column)
    weights, groups = weights_and_groups(X, None, None)
    rows = _Rows(
        frame,
        target,
        np.ones(len(frame)) if weights is None else check_sample_weight(weights, len(frame)),
        None if groups is None else pd.factorize(np.asarray(groups))[0],
    )
    right = _row_values(model, rows)
    parts = {ALL: np.arange(len(frame)), **levels}
    measured = [_measured(name, right, rows, at, random_state) for name, at in parts.items()]
    rankings = {} if ranking is None else {ALL: ranking}
    rankings |= {
        name: _ranked(model, rows, at, {"n_repeats": n_repeats, "random_state": random_state, **settings})
        for name, at in parts.items()
        if name not in rankings and (name == ALL or (len(at) >= LEAST and rows.y.iloc[at].nunique() > 1))
    }
    importance = pd.concat([_scored(name, ranking) for name, ranking in rankings.items()], ignore_index=True)
    return ByLevel(str(column.name), pd.DataFrame(measured), importance, rankings)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows, their true values, weights and groups."""

    X: pd.DataFrame
    y: pd.Series
    weights: np.ndarray
    groups: np.ndarray | None


def _column(frame: pd.DataFrame, by: Any) -> pd.Series:
    """Return the values by which rows are grouped."""
    if isinstance(by, str):
        check_by(frame, by)
        return frame[by]
    column = pd.Series(np.asarray(by) if not isinstance(by, pd.Series) else by).reset_index(drop=True)
    if len(column) != len(frame):
        raise PermGradError(f"by must be a column's name or a label for each of {len(frame)} rows, got {len(column)}")
    return column.rename("by" if column.name is None else str(column.name))


def check_by(frame: pd.DataFrame, by: str) -> None:
    """Raise unless a frame has this column, with at least two values."""
    if by not in frame.columns:
        raise PermGradError(f"no column {by!r} to group the rows by; the columns are {listing(frame.columns, 12)}")
    if frame[by].nunique(dropna=False) < 2:
        raise PermGradError(f"column {by!r} has a single value; grouping needs at least two")


def _levels(column: pd.Series) -> dict[str, np.ndarray]:
    """Return the rows of each level, in the order of the numbers or of the levels."""
    numeric = (pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)) or is_date(column)
    if numeric and column.nunique() > MOST_LEVELS:
        return _quarters(column)
    grid = grid_of(column, max(2, column.nunique()), missing=True)
    place = np.nan_to_num(grid.place, nan=-1).astype(int)
    counts = np.bincount(place[place >= 0], minlength=len(grid))
    shown = np.sort(np.argsort(-counts, kind="stable")[:MOST_LEVELS])
    names = [_told(grid.labels[i]) for i in shown]
    levels = {name: np.flatnonzero(place == i) for name, i in zip(names, shown, strict=True)}
    if len(levels) < 2:
        raise PermGradError(f"{column.name!r} has a single level; grouping needs at least two")
    return levels


def _quarters(column: pd.Series) -> dict[str, np.ndarray]:
    parts = pd.qcut(column, 4, duplicates="drop", labels=False).to_numpy(float, na_value=np.nan)
    levels = {}
    for part in np.unique(parts[~np.isnan(parts)]):
        rows = np.flatnonzero(parts == part)
        levels[f"{_told(column.iloc[rows].min())} to {_told(column.iloc[rows].max())}"] = rows
    gaps = np.flatnonzero(np.isnan(parts))
    return {**levels, "(missing)": gaps} if len(gaps) else levels


def _told(value: Any) -> str:
    if isinstance(value, pd.Timestamp):
        return value.date().isoformat()
    if isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
        return "(missing)" if np.isnan(float(value)) else f"{value:.6g}"
    return str(value)


def _row_values(model: Any, rows: _Rows) -> dict[str, np.ndarray]:
    """Return each row's loss, and whether it is right or, in regression, its true value."""
    ask, of_classes = response_of(model, None)
    said = predictions_of(ask(rows.X), len(rows.X))
    if not of_classes:
        y = rows.y.to_numpy(float)
        return {"loss": (said[:, 0] - y) ** 2, "y": y}
    classes = np.asarray(model.classes_)
    labels = {label: i for i, label in enumerate(classes.tolist())}
    unknown = [str(label) for label in rows.y.unique() if label not in labels]
    if unknown:
        raise PermGradError(f"y holds labels that the model does not know: {listing(unknown)}")
    y = rows.y.map(labels).to_numpy(int)
    return {"loss": cross_entropy(y, said), "right": (said.argmax(axis=1) == y).astype(float)}


def _measured(
    name: str, values: dict[str, np.ndarray], rows: _Rows, at: np.ndarray, random_state: int
) -> dict[str, Any]:
    """Return the measures of some rows, with intervals from a bootstrap of these rows or of their groups."""
    found: dict[str, Any] = {"level": name, "rows": len(at), "few": len(at) < FEW}
    groups = None if rows.groups is None else rows.groups[at]
    bootstrap = Bootstrap.of(len(at), random_state, groups=groups, weights=rows.weights[at])
    draws = np.vstack([np.ones(len(at)), bootstrap.weights[:, bootstrap.bundle]]) * rows.weights[at]
    loss = _means(draws, values["loss"][at])
    if "right" in values:
        measures = {"accuracy": _means(draws, values["right"][at]), "log_loss": loss}
    else:
        y = values["y"][at]
        variance = _means(draws, y**2) - _means(draws, y) ** 2
        r2 = 1 - np.divide(loss, variance, out=np.full_like(loss, np.nan), where=variance > 1e-12 * (1 + y.var()))
        measures = {"r2": r2, "rmse": np.sqrt(loss)}
    for measure, replicates in measures.items():
        known = bootstrap.widened(replicates[0], replicates[1:][~np.isnan(replicates[1:])])
        low, high = percentiles(known) if len(known) else (np.nan, np.nan)
        low, high = max(low, LOWEST[measure]), min(high, HIGHEST[measure])  # a nan stays one
        found |= {measure: replicates[0]}
        found |= {f"{measure}_low": np.fmin(low, replicates[0]), f"{measure}_high": np.fmax(high, replicates[0])}
    return found


def _means(draws: np.ndarray, values: np.ndarray) -> np.ndarray:
    total = draws.sum(axis=1)
    return np.divide(draws @ values, total, out=np.full(len(draws), np.nan), where=total > 0)


def _ranked(model: Any, rows: _Rows, at: np.ndarray, settings: dict[str, Any]) -> FeatureRanking:
    """Rank the columns on some rows only."""
    known = dict(settings)
    if (rows.weights != 1).any():
        known["sample_weight"] = rows.weights[at]
    if rows.groups is not None and len(np.unique(rows.groups[at])) > 1:
        known["row_groups"] = rows.groups[at]
    X, y = rows.X.iloc[at], rows.y.iloc[at]
    with warnings.catch_warnings():  # of few rows, that nothing was learned is no news
        warnings.filterwarnings("ignore", message="this (network|model)'s")
        if hasattr(model, "rank_features"):
            return model.rank_features(X, y, **known)
        return rank_features(model, X, y.to_numpy(), **known)


def _scored(level: str, ranking: FeatureRanking) -> pd.DataFrame:
    places = np.empty(len(ranking.features), int)
    places[ranking.order] = np.arange(1, len(places) + 1)
    columns = {"score": ranking.scores, "low": ranking.low, "high": ranking.high, "rank": places}
    frame = pd.DataFrame({"feature": ranking.features, "level": level, **columns})
    return frame.astype({"low": float, "high": float})
