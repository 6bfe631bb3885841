"""A table with its target: checked once, split without leaking."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.utils import column_or_1d

from permgrad.data._kinds import Kind, TextRule, cleaned, matching
from permgrad.data._targets import Rare, Task, as_task, check_class_sizes, without_rare
from permgrad.data.probes import NOTE, probe_note, shuffled_copies
from permgrad.data.reading import ReadOptions, check_unique, name_of, read_any
from permgrad.errors import PermGradError, as_permgrad_error, listing

if TYPE_CHECKING:
    from permgrad.data.checkup import TableCheck


@dataclass(frozen=True, eq=False)
class Table:
    """Rows and columns with one target.

    Parameters
    ----------
    X : DataFrame, polars or pyarrow table, array of shape (n_rows, n_features), or Table
        Numeric, text, category, boolean and date columns. Numbers and dates in text become numbers and dates. An
        array's columns are named ``x0``, ``x1``, ... Columns of a table are not checked again.
    y : Series, array or list of length n_rows
        The target: numbers for regression, labels of any kind for classification.
    task : {"regression", "classification"}, optional
        Inferred when not given: text, booleans, and whole numbers with at most 20 distinct values are
        classes; every other number is regression. `said` has the reason.
    name : str
        Shown in tables and pictures.
    notes : dict
        Facts about where the table comes from (source, licence, hash), carried into results.
    drop : sequence of str
        Columns to leave out.
    kinds : mapping of str to {"number", "category", "date", "text", "id"}
        What columns are, where their values would tell otherwise. Those of kind "text" and "id" are left out.
    rare : {"error", "merge", "drop"}
        What becomes of classes of fewer than 5 rows: a split refuses them; they are one class, "other"; their rows
        are left out.
    rules : mapping of str to TextRule
        How the texts of a column became numbers or dates: found here, and given only of a table that was read.
    said : tuple of str
        What was made of the table, a line each: how it was read, columns in text, the task and its reason.
    decimal : {".", ","}
        What decides where a column's numbers in text fit both marks, as of "1,234" alone.

    Raises
    ------
    PermGradError
        For duplicate column names, infinite values, a target that is absent, missing in some rows,
        of another length, a column's own values, or of a single value, and for fewer rows than classes.
    """

    X: pd.DataFrame
    y: pd.Series
    task: Task | None = None
    name: str = "table"
    notes: dict[str, Any] = field(default_factory=dict)
    drop: Sequence[str] = ()
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    rare: Rare = "error"
    rules: Mapping[str, TextRule] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    decimal: InitVar[str] = "."

    def __post_init__(self, decimal: str) -> None:
        X, rules, columns_said = self._columns(decimal)
        y = as_target(self.y)
        if len(X) != len(y):
            raise PermGradError(f"X and y must have the same number of rows, got {len(X)} and {len(y)}")
        y, task, reason = as_task(y, self.task, decimal=decimal)
        merged = ""
        if task == "classification":
            rows, y, merged = without_rare(y, self.rare)
            X, y = (X, y) if len(rows) == len(X) else (X.iloc[rows].reset_index(drop=True), y.reset_index(drop=True))
        _check_target(X, y)
        if task == "classification":
            _check_classes(y)
        said = [*self.said, *columns_said, *filter(None, (reason, merged))]
        for name, value in {"X": X, "y": y, "task": task, "rules": rules, "said": tuple(said)}.items():
            object.__setattr__(self, name, value)

    def _columns(self, decimal: str) -> tuple[pd.DataFrame, Mapping[str, TextRule], list[str]]:
        """Return the columns, checked and cleaned, how their texts were read, and what is to be said of it."""
        X = as_frame(self.X).reset_index(drop=True)
        absent = [name for name in self.drop if name not in X.columns]
        if absent:
            raise PermGradError(f"no column {listing(absent)} to drop; there are {listing(X.columns, 12)}")
        X = X.drop(columns=list(self.drop)) if self.drop else X
        dropped = [f"left out, as you said: {listing(self.drop)}"] if self.drop else []
        if isinstance(self.X, Table) and not self.kinds:
            return X, {**self.X.rules, **self.rules}, dropped
        clean = cleaned(X, self.kinds, decimal=decimal)
        if clean.frame.shape[1] == 0:
            raise PermGradError(f"no column is left of {listing(as_frame(self.X).columns)}; drop fewer")
        if clean.changed:
            _check_numbers(clean.frame[list(clean.changed)])
        return clean.frame, {**self.rules, **clean.rules}, [*dropped, *clean.said]

    @classmethod
    def from_frame(cls, frame: Any, target: str, **keywords: Any) -> Table:
        """Split a data frame (polars and pyarrow too) into its column `target` and the others."""
        if not isinstance(frame, pd.DataFrame):
            frame = _as_named_frame(frame)
        check_unique(frame.columns)
        if target not in frame.columns:
            raise PermGradError(
                f"target column {target!r} is not in the table; its columns are {listing(frame.columns, 12)}"
            )
        return cls(frame.drop(columns=target), frame[target], **keywords)

    @classmethod
    def from_file(
        cls,
        path: str | Path,
        target: str,
        *,
        sep: str | None = None,
        decimal: str | None = None,
        encoding: str | None = None,
        header: bool | None = None,
        na: Sequence[str] = (),
        sheet: str | int | None = None,
        **keywords: Any,
    ) -> Table:
        """Read a file: text of any dialect, Parquet, Feather, JSON, Excel, Stata or SPSS, as its name says.

        Parameters
        ----------
        path : path
            Of a file, compressed or not; of a directory of Parquet files; or a pattern such as ``part-*.csv``.
        target : str
            Column to predict; of a text file without a header, ``x0``, ``x1``, ...
        sep : str, optional
            What parts fields: a character, "tab" or "blanks". Guessed, as what follows is, and told in `said`.
        decimal : {".", ","}, optional
        encoding : str, optional
        header : bool, optional
            Whether the first line names the columns.
        na : sequence of str
            Texts, or numbers, that stand for a missing value, beside the usual ones.
        sheet : str or int, optional
            Of an Excel file; by default the first.
        **keywords
            Of `Table`.

        Raises
        ------
        PermGradError
            If the file cannot be read, or for what `Table` refuses.
        """
        given = {"sep": sep, "decimal": decimal, "encoding": encoding, "header": header, "sheet": sheet}
        options = ReadOptions(**given, na=tuple(na), known=(target,))  # type: ignore[arg-type]
        read = read_any(path, options)
        if target not in read.frame.columns and not read.dialect.header:
            raise PermGradError(
                f"target column {target!r} is not in the table: its first line looks like values, so that columns are"
                f" called {listing(read.frame.columns, 3)}; name one of these, or say that there is a header"
                " (header=True, --header)"
            )
        told = {name: value for name, value in given.items() if value is not None} | ({"na": [*na]} if na else {})
        told |= {name: keywords[name] for name in ("drop", "kinds", "rare") if keywords.get(name)}
        notes = {**keywords.pop("notes", {}), **({"read": told} if told else {})}
        said = (*read.said, *keywords.pop("said", ()))
        keywords = {"name": name_of(path), "notes": notes, "said": said, "decimal": read.dialect.decimal, **keywords}
        return cls.from_frame(read.frame, target, **keywords)

    @property
    def features(self) -> list[str]:
        """Column names of `X`, in order."""
        return list(self.X.columns)

    @property
    def classes(self) -> list[Any] | None:
        """Sorted labels, or None for regression."""
        return np.unique(self.y).tolist() if self.task == "classification" else None

    @property
    def sha256(self) -> str:
        """SHA-256 over column names, values and target: equal tables, equal hash."""
        digest = hashlib.sha256()
        for column, values in [*self.X.items(), (str(self.y.name), self.y)]:
            digest.update(str(column).encode())
            digest.update(pd.util.hash_pandas_object(values, index=False, categorize=True).to_numpy().tobytes())
        return digest.hexdigest()

    def split(
        self, sizes: tuple[float, float, float] = (0.6, 0.2, 0.2), *, random_state: int = 42
    ) -> tuple[Table, Table, Table]:
        """Split the rows at random into train, validation and test, stratified for classification.

        Parameters
        ----------
        sizes : three floats that sum to 1
            Shares of the rows.
        random_state : int
            Passed to `sklearn.model_selection.train_test_split`, first for train against the rest,
            then for validation against test: the published protocol.

        Raises
        ------
        PermGradError
            If a class has too few rows to be in every part.
        """
        train_size, val_size, test_size = sizes
        if min(sizes) <= 0 or not np.isclose(sum(sizes), 1.0):
            raise PermGradError(f"sizes must be three positive shares that sum to 1, got {sizes}")
        classification = self.task == "classification"
        if classification:
            check_class_sizes(self.y)
        with as_permgrad_error():
            train, rest = train_test_split(
                np.arange(len(self.y)),
                train_size=train_size,
                random_state=random_state,
                stratify=self.y if classification else None,
            )
            val, test = train_test_split(
                rest,
                test_size=test_size / (val_size + test_size),
                random_state=random_state,
                stratify=self.y[rest] if classification else None,
            )
        return self.take(train), self.take(val), self.take(test)

    def check(self, test: Table | None = None, *, random_state: int = 42) -> TableCheck:
        """Look at the table before anything is trained on it, in seconds.

        Told are each column's kind, missing and distinct values, histogram, and how well it tells the target alone;
        and what speaks against learning from the table: columns that tell the target almost alone, duplicates,
        identifiers, small classes, test rows that differ from those trained on.

        Parameters
        ----------
        test : Table, optional
            Rows that will be tested on, where this table has those to train on. By default this table is split.
        random_state : int
            Of the split, and of rows drawn to measure on: 2,000 at most.

        Returns
        -------
        TableCheck
            Its ``table`` has a row for each column, its ``findings`` each say what to do.
        """
        from permgrad.data.checkup import check_table

        return check_table(self, test, random_state=random_state)

    def take(self, rows: np.ndarray) -> Table:
        """Return the table of these rows (positions), target and notes kept."""
        part = copy(self)  # not checked again: a part may well hold a single class
        object.__setattr__(part, "X", self.X.iloc[rows].reset_index(drop=True))
        object.__setattr__(part, "y", self.y.iloc[rows].reset_index(drop=True))
        return part

    @property
    def probes(self) -> list[str]:
        """Columns that `with_probes` added."""
        return [name for name in self.notes.get(NOTE, {}).get("names", ()) if name in self.X.columns]

    def with_probes(self, n_probes: int = 4, *, random_state: int = 0) -> Table:
        """Return the table with shuffled copies of some of its columns behind its own, before it is split.

        A probe has the values of a column, and tells nothing of the target or of any other column: a network that is
        trained with it, and ranked, shows what score a column gets for nothing. Rankings know their probes
        (``settings["probes"]``), draw their level, and `FeatureRanking.select` can refuse what is not above it.

        Parameters
        ----------
        n_probes : int
            How many; each column is drawn once before one is drawn again. They are called "probe of age", then "probe
            2 of age".
        random_state : int
            Of the columns that are drawn, and of their order of rows.

        Raises
        ------
        PermGradError
            If `n_probes` is less than 1, or the table has probes.

        References
        ----------
        Stoppiglia, Dreyfus, Dubois & Oussar, JMLR 3 (2003); Kursa & Rudnicki, J. Stat. Softw. 36 (2010): shadows.
        """
        copies = shuffled_copies(self.X, n_probes, random_state)
        rules = {probe: self.rules[column] for probe, (column, _) in copies.items() if column in self.rules}
        added = pd.DataFrame({probe: values for probe, (_, values) in copies.items()})
        part = copy(self)
        object.__setattr__(part, "X", pd.concat([self.X, added], axis=1))
        object.__setattr__(part, "rules", {**self.rules, **rules})
        object.__setattr__(part, "notes", {**self.notes, NOTE: probe_note(n_probes, random_state, copies)})
        return part

    def with_rows(self, data: Any) -> Table:
        """Return this table with further rows behind its own.

        Parameters
        ----------
        data : (X, y) or Table
            See `more_rows`, which also says what is refused.
        """
        more = self.more_rows(data, "data")
        part = copy(self)
        object.__setattr__(part, "X", pd.concat([self.X, more.X], ignore_index=True))
        y = pd.concat([self.y, more.y], ignore_index=True)
        y.name = self.y.name
        object.__setattr__(part, "y", y)
        return part

    def more_rows(self, data: Any, what: str = "validation_data") -> Table:
        """Return further rows of this table's columns and task; they may well hold a single class.

        Parameters
        ----------
        data : (X, y) or Table
            Columns of an array take this table's names. Values of a table are not checked again.
        what : str
            The argument's name, for messages.

        Raises
        ------
        PermGradError
            If the columns are others or in another order, the values cannot be used, or a target is missing.
        """
        X, y = rows_and_target(data, what)
        frame, target = as_frame(X), as_target(y)
        if not isinstance(X, (pd.DataFrame, Table)) and frame.shape[1] == len(self.features):
            frame = frame.set_axis(self.features, axis=1)
        check_columns(frame.columns, self.features, what)
        if not isinstance(X, Table):
            with as_permgrad_error():
                frame = matching(frame, self.X, self.rules)
        if len(frame) != len(target) or target.isna().any():
            raise PermGradError(
                f"{what} must have a target for each row, got {len(frame)} rows and {target.count()} targets"
            )
        part = copy(self)
        object.__setattr__(part, "X", frame.reset_index(drop=True))
        object.__setattr__(part, "y", target)
        return part

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"Table({self.name!r}, {len(self)} rows × {self.X.shape[1]} features, {self.task}{classes})"


def rows_and_target(data: Any, what: str = "validation_data") -> tuple[Any, Any]:
    """Return X and y of rows that came as ``(X, y)`` or as a `Table`; of a table, X is the table itself.

    Raises
    ------
    PermGradError
        If `data` is neither.
    """
    if isinstance(data, Table):
        return data, data.y
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise PermGradError(f"{what} must be a pair (X, y) or a Table, got {type(data).__name__}")
    return data[0], data[1]


def as_frame(X: Any) -> pd.DataFrame:
    """Return `X` as a DataFrame with unique string column names and no infinite value.

    A `Table` has been checked, and is not checked again.

    Raises
    ------
    PermGradError
        If `X` is sparse, not two-dimensional, empty, complex, holds infinities or repeats a name.
    """
    if isinstance(X, Table):
        return X.X
    X = _single_values(_as_named_frame(X).infer_objects())
    check_unique(X.columns)
    _check_shape(X)
    _check_numbers(X)
    return X


def as_given(X: Any) -> Any:
    """Return `X` as scikit-learn takes it: the frame of any kind of table; names all text where some of them are."""
    if isinstance(X, Table):
        return X.X
    if _is_arrow(X):
        return _as_named_frame(X)
    if isinstance(X, pd.DataFrame) and len({isinstance(name, str) for name in X.columns}) > 1:
        return X.set_axis(X.columns.astype(str), axis=1)
    return X


def check_complete(y: pd.Series) -> None:
    """Raise if a target is missing in some rows."""
    missing = int(y.isna().sum())
    if missing:
        raise PermGradError(f"the target {y.name!r} is missing in {missing} of {len(y)} rows; drop those rows first")


def _as_named_frame(X: Any) -> pd.DataFrame:
    if hasattr(X, "toarray"):
        raise PermGradError("expected a dense table, got a sparse matrix; pass X.toarray()")
    if isinstance(X, pd.DataFrame):
        if X.columns.nlevels > 1:
            raise PermGradError("expected one name per column, got several levels; join them first")
        return X.set_axis(X.columns.astype(str), axis=1)
    if _is_arrow(X):
        import pyarrow as pa

        return pa.table(X).to_pandas()
    array = np.asarray(X)
    if array.ndim != 2:
        raise PermGradError(
            f"Expected 2D array, got {array.ndim}D array instead. Reshape your data: X.reshape(-1, 1) if it"
            " has a single feature, X.reshape(1, -1) if it is a single row."
        )
    return pd.DataFrame(array, columns=[f"x{i}" for i in range(array.shape[1])])


def _is_arrow(X: Any) -> bool:
    """Tell whether something, no pandas frame, hands out its columns by Arrow's protocol, as polars and pyarrow do."""
    return hasattr(X, "__arrow_c_stream__") and not isinstance(X, (pd.DataFrame, pd.Series))


def _single_values(X: pd.DataFrame) -> pd.DataFrame:
    """Return a frame with one plain value in each cell; Decimals become floats."""
    decimals = []
    for name, column in X.select_dtypes("object").items():
        kinds = set(map(type, column.dropna()))
        wrong = [
            kind.__name__ for kind in kinds if kind.__hash__ is None or issubclass(kind, (bytes, tuple, frozenset))
        ]
        if wrong:
            raise PermGradError(
                f"expected one number, text or truth value in each cell, column {name!r} holds values of type"
                f" {listing(sorted(wrong))}; make columns of them, or drop it"
            )
        if kinds and all(issubclass(kind, (Decimal, int, float)) for kind in kinds) and Decimal in kinds:
            decimals.append(name)
    return X.astype(dict.fromkeys(decimals, float)) if decimals else X


def _check_shape(X: pd.DataFrame) -> None:
    for axis, what in enumerate(("sample", "feature")):
        if X.shape[axis] == 0:
            raise PermGradError(f"Found array with 0 {what}(s) (shape={X.shape}) while a minimum of 1 is required.")


def _check_numbers(X: pd.DataFrame) -> None:
    numbers = X.select_dtypes("number")
    if any(np.iscomplexobj(column) for _, column in numbers.items()):
        raise PermGradError("Complex data not supported; pass real and imaginary parts as columns of their own")
    infinite = [name for name, column in numbers.items() if np.isinf(column.to_numpy(float, na_value=np.nan)).any()]
    if infinite:
        raise PermGradError(
            f"expected finite numbers, found infinity in {listing(infinite)}; replace it by a number or by NaN"
        )


def check_columns(given: Iterable[str], expected: Iterable[str], what: str) -> None:
    """Raise `PermGradError`, naming the difference, unless `what` has the expected columns in their order."""
    given, expected = list(given), list(expected)
    if given == expected:
        return
    absent, extra = sorted(set(expected) - set(given)), sorted(set(given) - set(expected))
    if not absent and not extra:
        raise PermGradError(f"{what} has the expected columns in another order; they must be {listing(expected)}")
    raise PermGradError(
        f"{what} must have the expected columns in their order;"
        f" absent: {listing(absent) or 'none'}; not expected: {listing(extra) or 'none'}"
    )


def as_target(y: Any) -> pd.Series:
    """Return `y` as a Series of plain rows 0, 1, ... with a name ("target" if it has none).

    Raises
    ------
    PermGradError
        If `y` has more than one column.
    """
    if not isinstance(y, pd.Series) and hasattr(y, "to_pandas"):  # polars, pyarrow
        y = y.to_pandas()
    if not isinstance(y, pd.Series):
        if getattr(getattr(y, "dtype", None), "kind", "") == "S":
            raise PermGradError("the target holds bytes; decode them to text: y.astype(str)")
        with as_permgrad_error():
            y = pd.Series(column_or_1d(y, warn=True))
    y = y.rename("target" if y.name is None else y.name).reset_index(drop=True).infer_objects()
    return _single_values(y.to_frame()).iloc[:, 0]


def _check_target(X: pd.DataFrame, y: pd.Series) -> None:
    check_complete(y)
    if pd.api.types.is_numeric_dtype(y) and np.isinf(y.to_numpy(float)).any():
        raise PermGradError(f"the target {y.name!r} has infinite values; drop those rows or replace the values")
    if len(y) < 2:
        raise PermGradError("found 1 sample; a table needs at least two rows to learn from")
    if y.nunique() < 2:
        raise PermGradError(f"the target {y.name!r} has one value (one class), {y.iloc[0]!r}; at least two are needed")
    _check_no_leak(X, y)


def _check_no_leak(X: pd.DataFrame, y: pd.Series) -> None:
    """Raise if a column of `X` is the target itself: by its values, where that can be no coincidence."""
    for name, column in X.items():
        alike = pd.notna(column.iloc[0]) and column.iloc[0] == y.iloc[0]  # spares most columns the full comparison
        if (
            alike
            and (column.nunique() > 2 or str(y.name) == name)
            and (column.astype(object) == y.astype(object)).fillna(False).all()
        ):
            raise PermGradError(f"column {name!r} equals the target {y.name!r} in every row; drop it from X")


def _check_classes(y: pd.Series) -> None:
    if len({isinstance(label, str) for label in y.unique()}) > 1:
        raise PermGradError(f"labels must be all text or all numbers, the target {y.name!r} mixes them; convert it")
    if y.nunique() > len(y) // 2 and y.nunique() > 2:
        raise PermGradError(
            f"the target {y.name!r} has {y.nunique()} classes in {len(y)} rows; give rows enough to learn each"
            " class, or pass task='regression'"
        )
