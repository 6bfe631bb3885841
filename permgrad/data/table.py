"""A table with its target: checked once, split without leaking."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from permgrad.data._frames import as_named_frame, check_numbers, check_shape, is_arrow, single_values
from permgrad.data._kinds import Kind, TextRule, cleaned, matching
from permgrad.data._splitting import how_split, three_parts
from permgrad.data._targets import Rare, Task, as_task, check_labels, check_no_leak, without_rare
from permgrad.data._test_rows import rows_to_test
from permgrad.data.checks import as_target, check_columns, check_complete
from permgrad.data.html import html_table
from permgrad.data.probes import NOTE, probe_note, shuffled_copies
from permgrad.data.reading import ReadOptions, check_unique, name_of, read_any, read_like
from permgrad.data.rows import RowFacts, taken_columns
from permgrad.errors import PermGradError, as_permgrad_error, listing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from permgrad.data.checkup import TableCheck

MOST_SHOWN, FINDINGS_SHOWN = 500, 5
"""Columns of a table that is looked at to show it, and findings that are told."""


@dataclass(frozen=True, eq=False)
class Table:
    """A table of rows and columns, with one target.

    Parameters
    ----------
    X : DataFrame, polars or pyarrow table, array of shape (n_rows, n_features), or Table
        Numeric, text, category, boolean and date columns. Numbers and dates in text become numbers and dates. The
        columns of an array are named ``x0``, ``x1``, ... Columns of a `Table` are not checked again.
    y : Series, array or list of length n_rows
        The target: numbers for regression, labels of any kind for classification.
    task : {"regression", "classification"}, optional
        Inferred if not given: text, booleans, and whole numbers with at most 20 distinct values are classes; all other
        numbers mean regression. `said` gives the reason.
    name : str
        Shown in tables and pictures.
    notes : dict
        Facts about the origin of the table (source, licence, hash), which results carry along.
    drop : sequence of str
        Columns to leave out.
    kinds : mapping of str to {"number", "category", "date", "text", "id"}
        Kinds of columns whose values suggest another kind. Columns of kind "text" and "id" are left out.
    rare : {"error", "merge", "drop"}
        What to do with classes of fewer than 5 rows: "error" lets a split refuse them; "merge" makes them one class,
        "other"; "drop" leaves out their rows.
    rules : mapping of str to TextRule
        How the texts of a column become numbers or dates. They are inferred; pass them only for a table read earlier.
    said : tuple of str
        How the table was interpreted, one line each: how it was read, columns in text, the task and its reason.
    groups : array of length n_rows, optional
        Rows with the same label belong together (a patient, a slide): no group is on both sides of a split, and
        intervals and p-values count groups, not rows.
    times : array of length n_rows, optional
        Dates or numbers: the latest rows are the test rows; the latest rows before those decide when training stops.
    weights : array of length n_rows, optional
        How many rows each row stands for: in training, losses, scores and rankings.
    parts : array of length n_rows, optional
        "train", "validation" or "test"; `split` puts rows with "" into one of the first two.
    decimal : {".", ","}
        Decimal mark for numbers in text that fit both marks, such as "1,234".

    Raises
    ------
    PermGradError
        If column names are duplicated or values infinite; if the target is absent, missing in some rows, of another
        length, equal to a column, or constant; if there are fewer rows than classes.

    Examples
    --------
    >>> table = pg.Table(pd.DataFrame({"age": [20, 30, 40, 50]}), ["no", "no", "yes", "yes"], name="patients")
    >>> table.task, table.features, table.classes
    ('classification', ['age'], ['no', 'yes'])
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
    groups: Any = None
    times: Any = None
    weights: Any = None
    parts: Any = None
    decimal: InitVar[str] = "."

    def __post_init__(self, decimal: str) -> None:
        X, rules, columns_said = self._columns(decimal)
        y = as_target(self.y)
        if len(X) != len(y):
            raise PermGradError(f"X and y must have the same number of rows, got {len(X)} and {len(y)}")
        facts = self._row_facts(len(X))
        y, task, reason = as_task(y, self.task, decimal=decimal)
        merged = ""
        if task == "classification":
            rows, y, merged = without_rare(y, self.rare)
            if len(rows) < len(X):
                X, y, facts = X.iloc[rows].reset_index(drop=True), y.reset_index(drop=True), facts.take(rows)
        _check_target(X, y)
        if task == "classification":
            check_labels(y)
        said = [*self.said, *columns_said, *filter(None, (reason, merged)), *facts.said()]
        known = {"X": X, "y": y, "task": task, "rules": rules, "said": tuple(said)}
        for name, value in {**known, **dict(facts.items())}.items():
            object.__setattr__(self, name, value)

    def _row_facts(self, n_rows: int) -> RowFacts:
        """Return what is known of the rows, checked; by default that of the table that came as X."""
        earlier: dict[str, Any] = self.X.facts.known() if isinstance(self.X, Table) else {}
        given = {name: getattr(self, name) for name in ("groups", "times", "weights", "parts")}
        return RowFacts.of(n_rows, **{**earlier, **{name: one for name, one in given.items() if one is not None}})

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
            check_numbers(clean.frame[list(clean.changed)])
        return clean.frame, {**self.rules, **clean.rules}, [*dropped, *clean.said]

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        target: str,
        *,
        group: str | None = None,
        time: str | None = None,
        weight: str | None = None,
        split: str | None = None,
        **keywords: Any,
    ) -> Table:
        """Split a data frame (polars and pyarrow too) into its column `target` and the others.

        Parameters
        ----------
        frame : DataFrame
        target : str
        group, time, weight, split : str, optional
            Columns that hold `groups`, `times`, `weights` and `parts`. They are not features, except for the time,
            unless it is dropped.
        **keywords
            Of `Table`.

        Examples
        --------
        >>> frame = pd.DataFrame({"age": [20, 30, 40], "patient": ["a", "a", "b"], "sick": ["no", "yes", "yes"]})
        >>> read = pg.Table.from_frame(frame, "sick", group="patient")
        >>> read.features, read.groups.tolist()
        (['age'], ['a', 'a', 'b'])
        """
        if not isinstance(frame, pd.DataFrame):
            frame = as_named_frame(frame)
        check_unique(frame.columns)
        if target not in frame.columns:
            raise PermGradError(
                f"target column {target!r} is not in the table; its columns are {listing(frame.columns, 12)}"
            )
        features, kinds = frame.drop(columns=target), keywords.get("kinds", {})
        taken, facts = taken_columns(features, group, time, weight, split, kinds)
        if taken:
            keywords["drop"] = [name for name in keywords.get("drop", ()) if name not in taken]
            keywords["kinds"] = {name: kind for name, kind in kinds.items() if name not in taken}
        return cls(features.drop(columns=taken), frame[target], **{**facts, **keywords})

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
        group: str | None = None,
        time: str | None = None,
        weight: str | None = None,
        split: str | None = None,
        test: str | Path | None = None,
        **keywords: Any,
    ) -> Table:
        """Read a file: text with any separator, Parquet, Feather, JSON, Excel, Stata or SPSS, by its file name.

        Parameters
        ----------
        path : path
            A file, compressed or not; a directory of Parquet files; or a pattern such as ``part-*.csv``.
        target : str
            Column to predict; in a text file without a header, ``x0``, ``x1``, ...
        sep : str, optional
            Separator of fields: a character, "tab" or "blanks". Like the next arguments, it is guessed if not given;
            `said` says how.
        decimal : {".", ","}, optional
        encoding : str, optional
        header : bool, optional
            Whether the first line holds column names.
        na : sequence of str
            Further texts or numbers that mean a missing value.
        sheet : str or int, optional
            Sheet of an Excel file; by default the first.
        group, time, weight, split : str, optional
            Columns, see `from_frame`.
        test : path, optional
            Another file with the same columns, read in the same way: all of its rows are test rows.
        **keywords
            Of `Table`.

        Raises
        ------
        PermGradError
            If the file cannot be read, or `Table` refuses its content.

        Examples
        --------
        >>> pd.DataFrame({"age": [20, 30, 40], "price": [1.5, 2.5, 4.0]}).to_csv("prices.csv", index=False)
        >>> read = pg.Table.from_file("prices.csv", target="price")
        >>> read.features, read.task, len(read)
        (['age'], 'regression', 3)
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
        roles = {"group": group, "time": time, "weight": weight, "split": split}
        columns: dict[str, str] = {name: column for name, column in roles.items() if column is not None}
        told |= {**columns, **({} if test is None else {"test": str(test)})}
        notes = {**keywords.pop("notes", {}), **({"read": told} if told else {})}
        said = (*read.said, *keywords.pop("said", ()))
        keywords = {"name": name_of(path), "notes": notes, "said": said, "decimal": read.dialect.decimal, **keywords}
        table = cls.from_frame(read.frame, target, **columns, **keywords)
        if test is None:
            return table
        if split is not None or keywords.get("rare", "error") != "error":
            other = "split" if split is not None else "rare"
            raise PermGradError(f"{other} cannot be had beside a test file; leave one out, or make one file of both")
        X, y, facts = rows_to_test(table, read_like(test, options, read).frame, columns)
        plain = replace_facts(table.take(np.arange(len(table))), RowFacts())
        return replace_facts(plain.with_rows((X, y)), facts)

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
        """SHA-256 of column names, values, target and row facts: equal tables have equal hashes."""
        digest = hashlib.sha256()
        for column, values in [*self.X.items(), (str(self.y.name), self.y)]:
            digest.update(str(column).encode())
            digest.update(pd.util.hash_pandas_object(values, index=False, categorize=True).to_numpy().tobytes())
        for fact, values in self.facts.known().items():
            digest.update(f" {fact} {values.name}".encode())
            digest.update(pd.util.hash_pandas_object(values, index=False, categorize=True).to_numpy().tobytes())
        return digest.hexdigest()

    def split(
        self, sizes: tuple[float, float, float] = (0.6, 0.2, 0.2), *, random_state: int = 42
    ) -> tuple[Table, Table, Table]:
        """Split the rows into train, validation and test.

        The split is random, and stratified for classification. Groups are kept whole. With times, the latest rows are
        test rows, and the latest of the others are validation rows. Given parts are kept.

        Parameters
        ----------
        sizes : three floats that sum to 1
            Shares of the rows.
        random_state : int
            Passed to `sklearn.model_selection.train_test_split`, first to separate training rows from the rest, then
            validation from test rows: the published protocol.

        Raises
        ------
        PermGradError
            If a class, a group or a time has too few rows for every part.

        Examples
        --------
        >>> train, val, test = pg.load_dataset("iris").split(random_state=42)
        >>> len(train), len(val), len(test)
        (90, 30, 30)
        """
        if min(sizes) <= 0 or not np.isclose(sum(sizes), 1.0):
            raise PermGradError(f"sizes must be three positive shares that sum to 1, got {sizes}")
        parts = three_parts(self.y, self.facts, sizes, random_state, classes=self.task == "classification")
        return self.take(parts[0]), self.take(parts[1]), self.take(parts[2])

    def how_split(self, *, random_state: int = 42) -> str:
        """Say in one line which rows `split` trains and tests on.

        Examples
        --------
        >>> table.how_split()
        'split at random with random state 42: 90 / 30 / 30'
        """
        classes = self.task == "classification"
        parts = three_parts(self.y, self.facts, (0.6, 0.2, 0.2), random_state, classes=classes)
        return how_split(self.facts, parts, random_state)

    @property
    def facts(self) -> RowFacts:
        """What is known about the rows besides their columns."""
        return RowFacts(self.groups, self.times, self.weights, self.parts)

    def check(self, test: Table | None = None, *, random_state: int = 42) -> TableCheck:
        """Check the table before anything is trained on it; this takes seconds.

        The check covers each column's kind, missing and distinct values, histogram, and how well it alone predicts the
        target. It also finds problems: columns that almost predict the target alone, duplicates, identifiers, small
        classes, test rows that differ from the training rows.

        Parameters
        ----------
        test : Table, optional
            Test rows, if this table holds the training rows. By default this table is split.
        random_state : int
            Seed of the split, and of the sample of rows to measure on (at most 2,000).

        Returns
        -------
        TableCheck
            Its ``table`` has a row for each column; each of its ``findings`` says what to do.

        Examples
        --------
        >>> pg.load_dataset("iris").check().score
        'AUC'
        """
        from permgrad.data.checkup import check_table

        return check_table(self, test, random_state=random_state)

    def take(self, rows: np.ndarray) -> Table:
        """Return a table of these rows (positions), with target and notes.

        Examples
        --------
        >>> len(table.take(np.arange(5)))
        5
        """
        part = copy(self)  # not checked again: a part may well hold a single class
        object.__setattr__(part, "X", self.X.iloc[rows].reset_index(drop=True))
        object.__setattr__(part, "y", self.y.iloc[rows].reset_index(drop=True))
        return replace_facts(part, self.facts.take(rows))

    @property
    def probes(self) -> list[str]:
        """Columns that `with_probes` added."""
        return [name for name in self.notes.get(NOTE, {}).get("names", ()) if name in self.X.columns]

    def with_probes(self, n_probes: int = 4, *, random_state: int = 0) -> Table:
        """Return the table with shuffled copies of some columns appended. Call it before the table is split.

        A probe has the values of a column, but no information about the target or any other column. A ranking of a
        network trained with probes shows what score such a column gets. Rankings know their probes
        (``settings["probes"]``) and draw their level; `FeatureRanking.select` can keep only columns above it.

        Parameters
        ----------
        n_probes : int
            Number of probes; each column is drawn once before any is drawn again. Names are "probe of age", then "probe
            2 of age".
        random_state : int
            Seed of the choice of columns, and of the shuffles.

        Raises
        ------
        PermGradError
            If `n_probes` is less than 1, or the table already has probes.

        References
        ----------
        Stoppiglia, Dreyfus, Dubois & Oussar, JMLR 3 (2003); Kursa & Rudnicki, J. Stat. Softw. 36 (2010): shadows.

        Examples
        --------
        >>> table.with_probes(2).probes
        ['probe of petal length (cm)', 'probe of sepal length (cm)']
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
        """Return this table with further rows appended.

        Parameters
        ----------
        data : (X, y) or Table
            See `more_rows`, also for errors.

        Examples
        --------
        >>> len(train), len(train.with_rows(val))
        (90, 120)
        """
        more = self.more_rows(data, "data")
        part = copy(self)
        object.__setattr__(part, "X", pd.concat([self.X, more.X], ignore_index=True))
        y = pd.concat([self.y, more.y], ignore_index=True)
        y.name = self.y.name
        object.__setattr__(part, "y", y)
        return replace_facts(part, self.facts.joined(more.facts, (len(self), len(more))))

    def more_rows(self, data: Any, what: str = "validation_data") -> Table:
        """Return further rows as a table with the same columns and task; they may hold a single class.

        Parameters
        ----------
        data : (X, y) or Table
            Columns of an array take this table's names. Values of a `Table` are not checked again.
        what : str
            The argument's name, for messages.

        Raises
        ------
        PermGradError
            If the columns or their order differ, the values cannot be used, or a target is missing.

        Examples
        --------
        >>> len(train.more_rows(test))
        30
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
        return replace_facts(part, X.facts if isinstance(X, Table) else RowFacts())

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"Table({self.name!r}, {len(self)} rows × {self.X.shape[1]} features, {self.task}{classes})"

    @property
    def table(self) -> pd.DataFrame:
        """A row for each column: kind, missing and distinct values, how well it tells the target alone; see `check`."""
        return self.check().table

    def plot(self, top: int = 12) -> Figure:
        """Draw the histograms of the first `top` columns.

        Examples
        --------
        >>> figure = table.plot(top=2)
        """
        from permgrad.data._pictures import plot_columns

        return plot_columns(self.check(), top)

    def _repr_html_(self) -> str:
        told = f"{self!r}, target {str(self.y.name)!r}"
        if self.X.shape[1] > MOST_SHOWN:
            return html_table(told, pd.DataFrame({"column": self.features}))
        check = self.check()
        found = [f"{len(check.findings)} findings, see check()", *map(str, check.findings[:FINDINGS_SHOWN])]
        return html_table(told, check.table, notes=found if check.findings else ["no problems found"])


def replace_facts(table: Table, facts: RowFacts) -> Table:
    """Give a table, a copy that nobody else has, what is known of its rows; return it."""
    for name, values in facts.items():
        object.__setattr__(table, name, values)
    return table


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
    X = single_values(as_named_frame(X).infer_objects())
    check_unique(X.columns)
    check_shape(X)
    check_numbers(X)
    return X


def as_given(X: Any) -> Any:
    """Return `X` as scikit-learn takes it: the frame of any kind of table; names all text where some of them are."""
    if isinstance(X, Table):
        return X.X
    if is_arrow(X):
        return as_named_frame(X)
    if isinstance(X, pd.DataFrame) and len({isinstance(name, str) for name in X.columns}) > 1:
        return X.set_axis(X.columns.astype(str), axis=1)
    return X


def _check_target(X: pd.DataFrame, y: pd.Series) -> None:
    check_complete(y)
    if pd.api.types.is_numeric_dtype(y) and np.isinf(y.to_numpy(float)).any():
        raise PermGradError(f"the target {y.name!r} has infinite values; drop those rows or replace the values")
    if len(y) < 2:
        raise PermGradError("found 1 sample; a table needs at least two rows to learn from")
    if y.nunique() < 2:
        raise PermGradError(
            f"the target {y.name!r} has one value (one class), {listing([y.iloc[0]])}; at least two are needed"
        )
    check_no_leak(X, y)
