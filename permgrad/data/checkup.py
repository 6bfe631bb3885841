"""A table before anything is trained on it: what its columns hold, and the problems that it has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import sklearn

from permgrad.data._alike import alike_in_target
from permgrad.data._alone import FOLDS, as_numbers, correlated_most, first_columns, sample, told_alone, told_apart
from permgrad.data._kinds import tells_nothing
from permgrad.data._levels import MOST_LEVELS
from permgrad.data._targets import MIN_CLASS_ROWS, small_classes
from permgrad.errors import PermGradError, listing

if TYPE_CHECKING:
    from permgrad.data.table import Table

BINS = 12
"""Of a column's histogram, or levels, the most frequent first."""
ALONE_AUC, ALONE_R2 = 0.99, 0.98
"""From where a column tells the target almost alone."""
DRIFT_AUC = 0.65
"""From where training and test rows can be told apart; a random split gives about 0.5."""
PERIOD_AUC = 0.8
"""The same of earlier and later rows, by a column of dates."""
ROWS, FEW_ROWS, CELLS = 2_000, 500, 100_000
"""To measure on, drawn at random of more: at most the first, fewer of a table of many columns, at least the second."""
COLUMNS = 200
"""To measure, of more those that correlate most with the target."""
MOSTLY_MISSING = 0.5
IMBALANCE = 0.05
"""Share of rows below which a class is small."""
MIN_SENTINELS = 5
"""Rows in which a number stands that may stand for a missing value."""


@dataclass(frozen=True)
class Finding:
    """A problem of a table.

    Attributes
    ----------
    kind : str
        "leak", "duplicate rows", "duplicate columns", "identifier", "constant", "missing", "levels", "sentinel",
        "classes", "drift", "period" or "groups".
    columns : tuple of str
        That it is about.
    text : str
    advice : str
        What to do.
    """

    kind: str
    columns: tuple[str, ...]
    text: str
    advice: str

    def __str__(self) -> str:
        return f"{self.text}: {self.advice}"


@dataclass(frozen=True, eq=False)
class TableCheck:
    """The result of `Table.check`.

    Attributes
    ----------
    table : DataFrame
        A row for each column: its name, kind ("number", "category", "ordered category", "truth value", "date",
        "identifier", "free text", "constant"), missing and distinct values, lowest and highest value (of categories,
        the most and the least frequent level), and ``alone``, how well it alone predicts the target: AUC or R² on
        held-out rows, NaN if that was not measured.
    histograms : dict
        For each column with values, the number of rows in each of 12 equal bins, lowest first, or with each of the 12
        most frequent levels.
    findings : tuple of Finding
        The most serious first.
    score : {"AUC", "R²"}
        What ``alone`` is.

    Examples
    --------
    >>> check = table.check()
    >>> check.table[["column", "kind", "missing"]].head(2)
                  column    kind  missing
    0  sepal length (cm)  number        0
    1   sepal width (cm)  number        0
    >>> [finding.kind for finding in check.findings]
    ['duplicate rows']
    """

    table: pd.DataFrame
    histograms: dict[str, tuple[int, ...]]
    findings: tuple[Finding, ...]
    score: str

    def __repr__(self) -> str:
        return f"TableCheck({len(self.table)} columns, {len(self.findings)} findings)"


def check_table(table: Table, test: Table | None = None, *, random_state: int = 42) -> TableCheck:
    """Look at a table before training, see `Table.check`."""
    X = table.X
    reasons = {name: tells_nothing(str(name), column) for name, column in X.items()}
    kinds = {str(name): _kind(column, reasons[name]) for name, column in X.items()}
    telling = [name for name, kind in kinds.items() if kind not in ("identifier", "free text", "constant")]
    alone = _alone(table, telling, random_state)
    described = pd.DataFrame([_described(str(name), column, kinds[str(name)]) for name, column in X.items()])
    described["alone"] = [alone.get(name, np.nan) for name in described["column"]]
    histograms = {str(name): histogram(column) for name, column in X.items() if column.notna().any()}
    findings = [
        *_leaks(table, alone),
        *_duplicate_rows(table),
        *_duplicate_columns(X[telling]),
        *_groups(table),
        *_drift(table, test, telling, random_state),
        *_of_classes(table),
        *_of_columns(X, kinds, reasons),
        *(_period(X[telling], random_state) if table.times is None else []),
    ]
    return TableCheck(described, histograms, tuple(findings), "AUC" if table.task == "classification" else "R²")


def histogram(column: pd.Series) -> tuple[int, ...]:
    """Return the number of rows in each of 12 equal bins, or of the 12 most frequent levels."""
    values, levels = as_numbers(column[column.notna()])
    if levels:
        return tuple(np.bincount(values.astype(int))[:BINS].tolist())
    return tuple(np.histogram(values, bins=BINS)[0].tolist())


def _kind(column: pd.Series, reason: str) -> str:
    if column.nunique() < 2 and not (column.nunique() == 1 and column.isna().any()):
        return "constant"
    if reason:
        return "free text" if reason.startswith("free text") else "identifier"
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return "date"
    if pd.api.types.is_bool_dtype(column):
        return "truth value"
    if isinstance(column.dtype, pd.CategoricalDtype) and column.dtype.ordered:
        return "ordered category"
    return "number" if pd.api.types.is_numeric_dtype(column) else "category"


def _described(name: str, column: pd.Series, kind: str) -> dict[str, Any]:
    known = column.dropna()
    if known.empty:
        low, high = "", ""
    elif pd.api.types.is_datetime64_any_dtype(column.dtype):
        low, high = (str(value).removesuffix(" 00:00:00") for value in (known.min(), known.max()))
    elif pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        low, high = (f"{float(value):.6g}" for value in (known.min(), known.max()))
    else:
        counts = known.map(str).value_counts()
        low, high = str(counts.index[0]), str(counts.index[-1])
    missing = int(column.isna().sum())
    return {"column": name, "kind": kind, "missing": missing, "distinct": column.nunique(), "low": low, "high": high}


def _alone(table: Table, names: list[str], random_state: int) -> dict[str, float]:
    """Return how well each column tells the target alone; of a wide table, of those that correlate with it most."""
    most = int(np.clip(CELLS // max(1, len(names)), FEW_ROWS, ROWS))
    rows = sample(len(table), most, random_state)
    classes = table.task == "classification"
    if classes:  # a class of fewer rows than there are folds is left out of all
        counts = table.y.iloc[rows].map(table.y.iloc[rows].value_counts())
        rows = rows[counts.to_numpy() >= FOLDS]
    y = table.y.iloc[rows]
    target = np.unique(np.asarray(y), return_inverse=True)[1] if classes else y.to_numpy(float)
    X = table.X[names].iloc[rows].reset_index(drop=True)
    some = names if len(names) <= COLUMNS else correlated_most(X, target, COLUMNS)
    if classes and len(np.unique(target)) < 2:
        return {}
    with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):  # many fits of one column each
        return {name: told_alone(X[name], target, classes=classes, random_state=random_state) for name in some}


def _leaks(table: Table, alone: dict[str, float]) -> list[Finding]:
    classes = table.task == "classification"
    found = sorted(((-score, name) for name, score in alone.items() if score >= (ALONE_AUC if classes else ALONE_R2)))
    return [
        Finding(
            "leak",
            (name,),
            f"{name!r} tells {table.y.name!r} almost alone ({'AUC' if classes else 'R²'} {-negative:.3f})",
            "if it is known only with the target or after it, leave it out (drop, --drop)",
        )
        for negative, name in found
    ]


def _duplicate_rows(table: Table) -> list[Finding]:
    hashes = pd.util.hash_pandas_object(_hashable(table.X), index=False)
    twice = int(hashes.duplicated().sum())
    if not twice:
        return []
    together = pd.DataFrame({"row": hashes, "y": table.y.map(str)})
    disagreeing = int((together.groupby("row")["y"].nunique() > 1).sum())
    differ = f", and {disagreeing:,} of such rows with another target" if disagreeing else ""
    return [
        Finding(
            "duplicate rows",
            (),
            f"{twice:,} of {len(table):,} rows repeat another in all columns{differ}",
            "if they are copies, keep one of each: the network would be tested on rows that it has seen",
        )
    ]


def _duplicate_columns(X: pd.DataFrame) -> list[Finding]:
    """Find columns that part rows alike: equal numbers, or few values with other names for the same rows."""
    groups: dict[bytes, list[str]] = {}
    for name, column in X.items():
        values, levels = as_numbers(column)
        if levels or column.nunique() <= MOST_LEVELS:
            values = pd.factorize(values)[0].astype(float)
        groups.setdefault(np.nan_to_num(values, nan=np.inf).tobytes(), []).append(str(name))
    return [
        Finding(
            "duplicate columns",
            tuple(names),
            f"{listing(names)} hold the same",
            "keep one of them (drop, --drop): together they share their score",
        )
        for names in groups.values()
        if len(names) > 1
    ]


def _groups(table: Table) -> list[Finding]:
    """Find a column whose levels look like groups of rows that belong together, where nothing is said of rows."""
    if table.facts.known().keys() - {"weights"}:
        return []
    classes = table.task == "classification"
    alike = {
        str(name): alike_in_target(str(name), column, table.y, classes=classes) for name, column in table.X.items()
    }
    name = max(alike, key=alike.__getitem__)
    if not alike[name]:
        return []
    levels = table.X[name].nunique()
    return [
        Finding(
            "groups",
            (name,),
            f"rows of one {name!r} are alike in {table.y.name!r}: {levels:,} levels of"
            f" {table.X[name].count() / levels:.1f} rows on average (intraclass correlation {alike[name]:.2f})",
            f"if they belong together, test on others than are trained on (group, --group {name})",
        )
    ]


def _drift(table: Table, test: Table | None, names: list[str], random_state: int) -> list[Finding]:
    """Tell training rows from test rows; rows of a class too small to be split are the classes' finding."""
    train = table
    if test is None:
        try:
            train, _, test = table.split(random_state=random_state)
        except PermGradError:
            return []
    names = first_columns(names, COLUMNS)
    if not names:
        return []
    parts = [part.X[names].iloc[sample(len(part), ROWS // 2, random_state)] for part in (train, test)]
    auc, by = told_apart(*parts, random_state=random_state)
    if not auc >= DRIFT_AUC:
        return []
    return [
        Finding(
            "drift",
            tuple(by),
            f"training and test rows can be told apart (AUC {auc:.2f}), most by {listing(by)}",
            "scores on the test rows are of another kind of rows; split anew, or leave these columns out",
        )
    ]


def _of_classes(table: Table) -> list[Finding]:
    if table.task != "classification":
        return []
    small = small_classes(table.y)
    if small:
        return [
            Finding(
                "classes",
                (),
                f"{len(small):,} classes have fewer than {MIN_CLASS_ROWS} rows: {listing(small)}",
                "merge or drop them (rare='merge', --rare merge): a split needs 5 rows of each",
            )
        ]
    shares = table.y.value_counts(normalize=True)
    rare = shares[shares < IMBALANCE]
    if rare.empty:
        return []
    rows = int((table.y == rare.index[-1]).sum())
    return [
        Finding(
            "classes",
            (),
            f"class {listing([rare.index[-1]])} has {rows:,} of {len(table):,} rows",
            "look at the AUC and at balanced accuracy, not at accuracy; class_weight='balanced' weighs it up",
        )
    ]


def _of_columns(X: pd.DataFrame, kinds: dict[str, str], reasons: dict[Any, str]) -> list[Finding]:
    """Find columns with nothing to tell, many levels, many gaps, or numbers that stand for a gap."""
    found = []
    useless = tuple(name for name, kind in kinds.items() if kind == "constant")
    if useless:
        advice = "ranked last; leave out what should not stand there (drop, --drop)"
        found.append(Finding("constant", useless, f"{listing(useless)} never vary in these rows", advice))
    for name, column in X.items():
        name = str(name)
        gaps = column.isna().mean()
        if reasons[name]:
            kept = "ranked last; if it is none, say what it is (kinds, --as)"
            found.append(Finding("identifier", (name,), f"{name!r} is {reasons[name]}", kept))
        elif gaps >= MOSTLY_MISSING and kinds[name] != "constant":
            text = f"{name!r} is missing in {gaps:.0%} of the rows"
            found.append(
                Finding("missing", (name,), text, "what fills its gaps outweighs what is known; drop it, or find why")
            )
        elif kinds[name] == "category" and column.nunique() > MOST_LEVELS:
            text = f"{name!r} has {column.nunique():,} levels"
            found.append(Finding("levels", (name,), text, "rare ones are pooled; broader groups would tell more"))
        elif kinds[name] == "number" and (value := _sentinel(column)) is not None:
            rows = int((column == value).sum())
            text = f"{value:g} stands in {rows:,} rows of {name!r}, apart from all other values"
            found.append(
                Finding("sentinel", (name,), text, f"if it stands for a missing value, say so (na, --na {value:g})")
            )
    return found


def _sentinel(column: pd.Series) -> float | None:
    """Return a number of nines, or -1, that stands often at one end and apart from the rest; None where none does."""
    values = column.dropna().to_numpy(float)
    for value in (values.min(), values.max()) if len(values) else ():
        rest = values[values != value]
        often = len(values) - len(rest) >= MIN_SENTINELS
        if not often or not len(rest) or not re.fullmatch(r"-?9+|-1", f"{value:.0f}") or value != round(value):
            continue
        apart = np.abs(rest - value).min()
        spread = np.ptp(rest)
        if abs(value) >= 9 and len(np.unique(rest)) > 2 and apart > spread / 2:
            return float(value)
    return None


def _period(X: pd.DataFrame, random_state: int) -> list[Finding]:
    """Tell earlier rows from later ones by the other columns, for the first column of dates."""
    dates = [name for name, column in X.items() if pd.api.types.is_datetime64_any_dtype(column.dtype)]
    others = first_columns([str(name) for name in X if name not in dates], COLUMNS)
    if not dates or not others:
        return []
    rows = sample(len(X), ROWS, random_state)
    when = X[dates[0]].iloc[rows]
    later = (when > when.median()).to_numpy()
    known = when.notna().to_numpy()
    parts = [X[others].iloc[rows[known & half]] for half in (~later, later)]
    auc, by = told_apart(*parts, random_state=random_state)
    if not auc >= PERIOD_AUC:
        return []
    return [
        Finding(
            "period",
            (str(dates[0]), *by),
            f"rows of earlier and later {dates[0]!r} can be told apart (AUC {auc:.2f}), most by {listing(by)}",
            "a random split tests on days that were trained on; to forecast, test on the latest rows"
            f" (time, --time {dates[0]})",
        )
    ]


def _hashable(X: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose columns of mixed objects are text."""
    objects = [str(name) for name, column in X.items() if pd.api.types.is_object_dtype(column.dtype)]
    return X.assign(**{name: X[name].map(str, na_action="ignore") for name in objects}) if objects else X
