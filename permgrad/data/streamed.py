"""A table larger than memory: rows stay in Parquet files, the target and the rows' parts are held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from permgrad.data._kinds import Kind
from permgrad.data._targets import Task, as_task
from permgrad.data.in_files import ParquetFiles, RowsInFiles, parquet_paths
from permgrad.data.reading import check_unique, name_of
from permgrad.data.table import Table
from permgrad.errors import PermGradError, listing

SPLIT, SAMPLE, APART = 0, 1, 2
"""What numbers are drawn for: each has numbers of its own."""
HASHED = 2**20


@dataclass(frozen=True, eq=False)
class StreamedTable:
    """A table in Parquet files, read in blocks of rows as they are needed.

    Estimators fit, predict and rank it like a `Table`. They learn scales, categories and places in the image from
    `sample`, and train the network on all rows.

    Attributes
    ----------
    X : RowsInFiles
        The columns, as they are in the files.
    y : Series
        The target of each row: numbers, or labels as categories.
    task : {"regression", "classification"}
    name : str
    sample_rows : int
        Maximum number of rows of a sample.
    kinds : mapping of str to kind
        As of `Table`.
    said : tuple of str
        How the files were interpreted, one line each.
    notes : dict

    Examples
    --------
    >>> table.X.assign(species=table.y).to_parquet("iris.parquet")
    >>> streamed = pg.StreamedTable.from_files("iris.parquet", "species")
    >>> len(streamed), streamed.classes
    (150, ['setosa', 'versicolor', 'virginica'])
    """

    X: RowsInFiles
    y: pd.Series
    task: Task
    name: str = "table"
    sample_rows: int = 100_000
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    said: tuple[str, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)
    groups: ClassVar[None] = None
    weights: ClassVar[None] = None
    """Rows in files are alike and independent."""

    @classmethod
    def from_files(
        cls,
        path: str | Path,
        target: str,
        *,
        task: Task | None = None,
        sample_rows: int = 100_000,
        drop: Sequence[str] = (),
        kinds: Mapping[str, Kind] | None = None,
        na: Sequence[str] = (),
        name: str | None = None,
    ) -> StreamedTable:
        """Open Parquet files; only the target of all rows is read.

        Parameters
        ----------
        path : path
            A Parquet file, a directory of them, or a pattern such as ``part-*.parquet``.
        target : str
            Column to predict.
        task : {"regression", "classification"}, optional
            By default inferred from the target of all rows, as for `Table`.
        sample_rows : int
            Number of training rows from which scales, categories, quantiles and the image's layout are learned; at
            least 10.
        drop, kinds, na
            As for `Table` and `Table.from_file`. Classes with few rows are neither merged nor dropped.
        name : str, optional

        Raises
        ------
        PermGradError
            If the files cannot be read or differ, a column is absent, the target is missing in some rows, or has one
            value.

        Examples
        --------
        >>> table.X.assign(species=table.y).to_parquet("iris.parquet")
        >>> pg.StreamedTable.from_files("iris.parquet", "species", drop=["sepal width (cm)"]).features
        ['sepal length (cm)', 'petal length (cm)', 'petal width (cm)']
        """
        if sample_rows < 10:
            raise PermGradError(f"sample_rows must be at least 10, got {sample_rows}")
        files, kinds = ParquetFiles(parquet_paths(path)), dict(kinds or {})
        check_unique(files.columns)
        _check_present(files.columns, [target], "as the target")
        _check_present(files.columns, drop, "to drop")
        _check_present(files.columns, kinds, "to say the kind of")
        left_out = {target, *drop, *(column for column, kind in kinds.items() if kind in ("text", "id"))}
        columns = [column for column in files.columns if column not in left_out]
        if not columns:
            raise PermGradError(f"no column is left of {listing(files.columns)}; drop fewer")
        y, task, reason = read_target(files, target, task)
        of = f"{len(files.paths)} files" if len(files.paths) > 1 else "a file"
        read = f"read block by block from {of} of {len(files):,} rows"
        kept = {column: kind for column, kind in kinds.items() if column in columns}
        told = {"drop": list(drop), "kinds": kinds, "na": list(na)}
        notes = {"read": {name: value for name, value in told.items() if value}}
        rows, said = RowsInFiles(files, columns, na=na), (read, *filter(None, [reason]))
        return cls(rows, y, task, name or name_of(path), sample_rows, kept, said, notes)

    @property
    def features(self) -> list[str]:
        """Column names, in order."""
        return list(self.X.columns)

    @property
    def classes(self) -> list[Any] | None:
        """Sorted labels, or None for regression."""
        return self.y.cat.categories.tolist() if self.task == "classification" else None

    def split(
        self, sizes: tuple[float, float, float] = (0.6, 0.2, 0.2), *, random_state: int = 42
    ) -> tuple[StreamedTable, StreamedTable, StreamedTable]:
        """Split the rows at random into train, validation and test, by a hash of each row's number in the files.

        Parameters
        ----------
        sizes : three floats that sum to 1
            Probability that a row is in each part.
        random_state : int

        Raises
        ------
        PermGradError
            If a part is empty, or a class has no training row.

        Examples
        --------
        >>> table.X.assign(species=table.y).to_parquet("iris.parquet")
        >>> parts = pg.StreamedTable.from_files("iris.parquet", "species").split()
        >>> sum(len(part) for part in parts)
        150
        """
        if min(sizes) <= 0 or not np.isclose(sum(sizes), 1.0):
            raise PermGradError(f"sizes must be three positive shares that sum to 1, got {sizes}")
        ends, part = np.cumsum(sizes)[:2], np.empty(len(self), np.int8)
        for start in range(0, len(self), HASHED):  # in blocks: their numbers would take 16 bytes a row
            block = slice(start, start + HASHED)
            numbers = uniform(self.X.rows[block], random_state, SPLIT)
            part[block] = np.searchsorted(ends, numbers, side="right")
        train, val, test = (self.take(np.flatnonzero(part == number)) for number in range(3))
        if not min(len(train), len(val), len(test)):
            raise PermGradError(f"{len(self)} rows are too few for three parts; read them whole: Table.from_file")
        check_classes(train)
        return train, val, test

    def apart(self, low: float, high: float, random_state: int) -> tuple[StreamedTable, StreamedTable]:
        """Return the rows outside a share, and those inside it: the rows whose hash is from `low` up to `high`.

        Examples
        --------
        >>> table.X.assign(species=table.y).to_parquet("iris.parquet")
        >>> rest, tenth = pg.StreamedTable.from_files("iris.parquet", "species").apart(0.0, 0.1, random_state=0)
        >>> len(rest) + len(tenth)
        150
        """
        numbers = uniform(self.X.rows, random_state, APART)
        inside = (low <= numbers) & (numbers < high)
        return self.take(np.flatnonzero(~inside)), self.take(np.flatnonzero(inside))

    def take(self, at: np.ndarray) -> StreamedTable:
        """Return a table of these rows, by position in this table.

        Examples
        --------
        >>> table.X.assign(species=table.y).to_parquet("iris.parquet")
        >>> len(pg.StreamedTable.from_files("iris.parquet", "species").take(np.arange(7)))
        7
        """
        return replace(self, X=self.X.take(at), y=self.y.iloc[at].reset_index(drop=True))

    def draw(self, n_rows: int, random_state: int) -> tuple[pd.DataFrame, pd.Series]:
        """Read a random sample of rows, in random order; a smaller sample is the beginning of a larger one.

        Examples
        --------
        >>> table.X.assign(species=table.y).to_parquet("iris.parquet")
        >>> X, y = pg.StreamedTable.from_files("iris.parquet", "species").draw(10, random_state=0)
        >>> X.shape, len(y)
        ((10, 4), 10)
        """
        numbers = uniform(self.X.rows, random_state, SAMPLE)
        n_rows = min(n_rows, len(self))
        first = np.argpartition(numbers, n_rows - 1)[:n_rows]
        at = first[np.argsort(numbers[first], kind="stable")]
        y = np.asarray(self.y.iloc[at])
        rows = self.X.take(at)  # a view of its own, which closes each row group behind the last row that it wants
        return rows.frame(slice(None)), pd.Series(y, name=self.y.name)

    def sample(self, random_state: int) -> Table:
        """Return `sample_rows` of the rows, or all if there are fewer, as a table in memory.

        Raises
        ------
        PermGradError
            If `Table` refuses the rows.

        Examples
        --------
        >>> table.X.assign(species=table.y).to_parquet("iris.parquet")
        >>> streamed = pg.StreamedTable.from_files("iris.parquet", "species", sample_rows=20)
        >>> len(streamed.sample(random_state=0))
        20
        """
        X, y = self.draw(self.sample_rows, random_state)
        return Table(X, y, self.task, self.name, kinds=self.kinds)

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        classes = f", {len(self.classes)} classes" if self.classes else ""
        return f"StreamedTable({self.name!r}, {len(self)} rows × {len(self.features)} features, {self.task}{classes})"


def uniform(rows: np.ndarray, random_state: int, purpose: int) -> np.ndarray:
    """Return a number in [0, 1) for each row's number, float64: a hash of it, of the seed, and of what it is for.

    References
    ----------
    Steele, Lea & Flood, Fast Splittable Pseudorandom Number Generators (OOPSLA 2014): SplitMix64, whose n-th number
    this is, for a seed that is drawn by NumPy's `SeedSequence`.
    """
    seed = np.random.SeedSequence([random_state, purpose]).generate_state(1, np.uint64)
    out = np.empty(len(rows))
    for start in range(0, len(rows), HASHED):
        block = slice(start, start + HASHED)
        z = rows[block].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + seed  # wraps around, as it should
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        out[block] = ((z ^ (z >> np.uint64(31))) >> np.uint64(11)) * 2.0**-53
    return out


def read_target(files: ParquetFiles, name: str, task: Task | None) -> tuple[pd.Series, Task, str]:
    """Read one column of all rows as the target; return it, its task, and why it is this one."""
    import pyarrow as pa

    codes: list[np.ndarray] = []
    known: dict[Any, int] = {}
    kinds = [metadata.schema.to_arrow_schema().field(name).type for metadata in files.metadata]
    numeric = all(pa.types.is_integer(kind) or pa.types.is_floating(kind) for kind in kinds)
    missing = 0
    for group in range(len(files.groups)):
        for batch in files.batches(group, [name]):
            missing += batch.column(0).null_count
            values = batch.column(0).to_pandas()
            codes.append(values.to_numpy() if numeric else _numbered(values, known))
    if missing:
        raise PermGradError(f"the target {name!r} is missing in {missing} of {len(files)} rows; drop those rows first")
    if not codes:
        raise PermGradError("found no rows; a table needs at least two rows to learn from")
    if numeric:
        values = np.concatenate(codes)
        if not np.isfinite(values).all():
            raise PermGradError(f"the target {name!r} has infinite or missing values; drop those rows")
        uniques, numbers = np.unique(values), None
    else:
        numbers, uniques = np.concatenate(codes), np.array([*known], object)
    levels, task, reason = as_task(pd.Series(uniques, name=name).infer_objects(), task)
    if levels.isna().any():
        raise PermGradError(f"the target {name!r} holds blanks, which stand for nothing; drop those rows first")
    if len(levels) < 2:
        raise PermGradError(f"the target {name!r} has one value (one class), {uniques[0]!r}; at least two are needed")
    if task == "regression":
        return pd.Series(values if numbers is None else levels.to_numpy(float)[numbers], name=name), task, reason
    numbers = np.searchsorted(uniques, values) if numbers is None else numbers
    return pd.Series(_categories(levels, numbers), name=name), task, reason


def check_classes(train: StreamedTable) -> None:
    """Raise if a class has no row among those to train on."""
    if train.classes is None:
        return
    counts = np.bincount(train.y.cat.codes, minlength=len(train.classes))
    absent = [label for label, count in zip(train.classes, counts, strict=True) if not count]
    if absent:
        raise PermGradError(f"no training row is of class {listing(absent)}; leave rows of so rare a class out")


def _numbered(values: pd.Series, known: dict[Any, int]) -> np.ndarray:
    """Return the number of each value, by the order in which values were first seen."""
    codes, levels = pd.factorize(values.astype(object))
    return np.array([known.setdefault(level, len(known)) for level in levels], np.int32)[codes]


def _categories(levels: pd.Series, numbers: np.ndarray) -> pd.Categorical:
    """Return labels as categories whose levels are sorted, given the number of each row's level."""
    if len({isinstance(label, str) for label in levels}) > 1:
        raise PermGradError(f"labels must be all text or all numbers, the target {levels.name!r} mixes them")
    labels = levels.to_numpy()
    order = np.argsort(labels, kind="stable")
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order))
    return pd.Categorical.from_codes(place[numbers], categories=pd.Index(labels[order]))


def _check_present(columns: Sequence[str], wanted: Any, what: str) -> None:
    absent = [column for column in wanted if column not in columns]
    if absent:
        raise PermGradError(f"no column {listing(absent)} {what}; the files' columns are {listing(columns, 12)}")
