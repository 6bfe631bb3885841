"""Rows of a table that stays in its Parquet files: what is asked for is read, row group by row group.

A row group is read from its first row on, and no other way: who wants its end reads past its beginning. So rows come
fast in the order of the files, and in `RowsInFiles.mixed_order`; in any other order they come right, but slowly.
"""

from __future__ import annotations

import glob
import warnings
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from permgrad.data.encoding import ColumnEncoder
from permgrad.data.table import as_frame
from permgrad.errors import FileFormatError, PermGradError, listing, reading

if TYPE_CHECKING:
    import pyarrow as pa

READ_ROWS = 8192
"""Rows of a row group that are decoded at once."""
ENCODED_ROWS = 16_384
"""Rows that are encoded at once: on the way they are float64, and several times in memory."""
BUFFER_BYTES, MOST_BUFFERED, LEAST_BUFFERED = 2**26, 2**17, 2**12
"""Of the rows that are mixed at a time, encoded."""
AT_ONCE, COLUMNS_AT_ONCE = 8, 200
"""Row groups that are read side by side in a mixed order, and columns of them: each holds its pages, 2 or 3 MB."""
PIECE = 2048
"""Rows that one of them gives in its turn."""
PAGES = 2**16
"""Bytes of a column that are read at once: by default a row group's whole column would be held."""


class ParquetFiles:
    """Parquet files of the same columns, as one table whose rows are numbered through.

    Parameters
    ----------
    paths : sequence of path

    Attributes
    ----------
    columns : list of str
        All of the files' columns, in order; an index that pandas wrote is none.
    starts : ndarray of shape (n_groups + 1,), int64
        The first row of each row group, and the number of rows.
    n_bytes : int
        What all values take in memory, uncompressed: at least 8 bytes for each cell.

    Raises
    ------
    FileFormatError
        If a file cannot be read, or has other columns than the first.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        import pyarrow.parquet as pq

        self.paths, self.metadata = [str(path) for path in paths], []
        self.groups: list[tuple[int, int]] = []
        n_rows, packed = [], 0
        for number, path in enumerate(self.paths):
            with reading(path, "a readable Parquet table"):
                metadata = pq.read_metadata(path)
                names = _columns(metadata.schema.to_arrow_schema())
            if number == 0:
                self.columns = names
            elif names != self.columns:
                other = listing(sorted(set(names) ^ set(self.columns)))
                raise FileFormatError(
                    f"{path} must have the columns of {self.paths[0]} in their order; only in one: {other or 'none'}"
                )
            self.metadata.append(metadata)
            for group in range(metadata.num_row_groups):
                self.groups.append((number, group))
                n_rows.append(metadata.row_group(group).num_rows)
                packed += metadata.row_group(group).total_byte_size
        self.starts = np.concatenate([[0], np.cumsum(n_rows)]).astype(np.int64)
        self.n_bytes = max(packed, 8 * len(self) * len(self.columns))

    def __len__(self) -> int:
        return int(self.starts[-1])

    def batches(self, group: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield some columns of a row group, from its first row on."""
        import pyarrow.parquet as pq

        number, of_file = self.groups[group]
        with (
            reading(self.paths[number], "a readable Parquet table"),
            pq.ParquetFile(self.paths[number], metadata=self.metadata[number], buffer_size=PAGES) as file,
        ):
            yield from file.iter_batches(READ_ROWS, row_groups=[of_file], columns=list(columns), use_threads=False)


def parquet_paths(path: str | Path) -> list[str]:
    """Return the Parquet files that a path names: itself, a directory's, or those of a pattern, sorted.

    Raises
    ------
    FileFormatError
        If there are none, or one is no Parquet file by its name.
    """
    if Path(path).is_dir():
        found = sorted(map(str, Path(path).glob("*.parquet")))
    else:
        found = sorted(glob.glob(str(path))) if glob.has_magic(str(path)) and not Path(path).exists() else [str(path)]
    wrong = [name for name in found if Path(name).suffix.lower() not in (".parquet", ".pq")]
    if not found or wrong:
        got = listing(wrong) if wrong else "none"
        raise FileFormatError(
            f"expected Parquet files at {path}, got {got}; other files are read whole: Table.from_file"
        )
    return found


class RowsInFiles:
    """Some rows of `ParquetFiles`, and some columns; with an encoder, as a network takes them.

    Parameters
    ----------
    files : ParquetFiles
    columns : sequence of str
        Columns of the table, in order.
    rows : ndarray of int, optional
        Which rows, in which order; by default all.
    encoder : ColumnEncoder, optional
        Fitted on columns of these names.
    na : sequence of str
        Texts that stand for a missing value.

    Attributes
    ----------
    shape : (int, int)
        Rows, and columns: encoded ones where there is an encoder.
    """

    def __init__(
        self,
        files: ParquetFiles,
        columns: Sequence[str],
        rows: np.ndarray | None = None,
        encoder: ColumnEncoder | None = None,
        na: Sequence[str] = (),
    ) -> None:
        self.files, self.columns, self.encoder, self.na = files, list(columns), encoder, tuple(na)
        number = np.int32 if len(files) < 2**31 else np.int64
        self.rows = np.arange(len(files), dtype=number) if rows is None else np.asarray(rows, number)
        width = len(self.columns) if encoder is None else len(encoder.get_feature_names_out())
        self.shape = (len(self.rows), width)
        self._open: dict[int, _Reader] = {}
        self._said: set[str] = set()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def buffer_rows(self) -> int:
        """How many rows are held and mixed at a time."""
        return int(np.clip(BUFFER_BYTES // (4 * self.shape[1]), LEAST_BUFFERED, MOST_BUFFERED))

    @property
    def at_once(self) -> int:
        """How many row groups are read side by side in a mixed order."""
        return max(2, min(AT_ONCE, COLUMNS_AT_ONCE // len(self.columns)))

    def take(self, at: np.ndarray) -> RowsInFiles:
        """Return a view of some of the rows, by their positions here."""
        return RowsInFiles(self.files, self.columns, self.rows[at], self.encoder, self.na)

    def encoded(self, encoder: ColumnEncoder) -> RowsInFiles:
        """Return a view of the same rows that gives them encoded."""
        return RowsInFiles(self.files, self.columns, self.rows, encoder, self.na)

    def __getitem__(self, at: slice | np.ndarray) -> np.ndarray:
        """Read rows in the order asked for: float32, (n, n_encoded_columns)."""
        if self.encoder is None:
            raise PermGradError("these rows are as they stand in their files; give an encoder: rows.encoded(encoder)")
        wanted = self.rows[at]
        order = np.argsort(wanted, kind="stable")
        out = np.empty((len(wanted), self.shape[1]), np.float32)
        for start in range(0, len(order), ENCODED_ROWS):
            block = order[start : start + ENCODED_ROWS]
            out[block] = self._encode(self._read(wanted[block]))
        return out

    def frame(self, at: slice | np.ndarray) -> pd.DataFrame:
        """Read rows as they stand in the files, in the order asked for."""
        wanted = self.rows[at]
        order = np.argsort(wanted, kind="stable")
        blocks = [self._read(wanted[order[i : i + ENCODED_ROWS]]) for i in range(0, max(1, len(order)), ENCODED_ROWS)]
        back = np.empty(len(order), int)
        back[order] = np.arange(len(order))
        return pd.concat(blocks, ignore_index=True).iloc[back].reset_index(drop=True)

    def mixed_order(self, buffer_rows: int, rng: np.random.Generator) -> np.ndarray:
        """Return an order of all rows, as positions here, that reads each row group from its first row on.

        Row groups come in a random order, `at_once` of them side by side: each gives a piece in its turn. Then
        each `buffer_rows` of them are mixed.
        """
        rows: np.ndarray = self.rows
        if np.all(rows[1:] >= rows[:-1]):  # as `take` of a split has them: nothing to sort
            in_files, ascending = np.arange(len(rows), dtype=rows.dtype), rows
        else:
            in_files = np.argsort(rows, kind="stable").astype(rows.dtype)
            ascending = rows[in_files]
        ends = np.searchsorted(ascending, self.files.starts[1:-1].astype(rows.dtype))
        runs = [run for run in np.split(in_files, ends) if len(run)]
        waiting = [runs[i] for i in rng.permutation(len(runs))]
        beside: list[np.ndarray] = []
        pieces = [in_files[:0]]
        while waiting or beside:
            while waiting and len(beside) < self.at_once:
                beside.append(waiting.pop())
            pieces += [run[:PIECE] for run in beside]
            beside = [run[PIECE:] for run in beside if len(run) > PIECE]
        order = np.concatenate(pieces)
        for start in range(0, len(order), buffer_rows):
            rng.shuffle(order[start : start + buffer_rows])
        return order

    def _read(self, wanted: np.ndarray) -> pd.DataFrame:
        """Read rows whose numbers ascend."""
        groups = np.searchsorted(self.files.starts, wanted, side="right") - 1
        parts = []
        for run in np.split(np.arange(len(wanted)), np.flatnonzero(np.diff(groups)) + 1) if len(wanted) else []:
            group = int(groups[run[0]])
            parts.append(self._of_group(group, wanted[run] - self.files.starts[group]))
        if not parts:
            return pd.DataFrame({name: [] for name in self.columns})
        frame = parts[0] if len(parts) == 1 else pd.concat(parts, ignore_index=True)
        return frame.mask(frame.astype(str).isin(self.na)) if self.na else frame

    def _of_group(self, group: int, wanted: np.ndarray) -> pd.DataFrame:
        """Read rows of a row group, by their ascending numbers in it; keep it open for those behind them."""
        reader = self._open.pop(group, None)
        if reader is None or wanted[0] < reader.first:
            reader = _Reader(self.files.batches(group, self.columns))
        frame = reader.read(wanted)
        if wanted[-1] < self._last_rows[group]:
            self._open[group] = reader
            while len(self._open) > 2 * self.at_once:  # some are at their end, others begin
                del self._open[next(iter(self._open))]
        return frame[self.columns]

    @cached_property
    def _last_rows(self) -> np.ndarray:
        """The last row of each row group that is seen here, by its number in the group: behind it, none is read."""
        ascending = np.sort(self.rows)
        before_end = np.searchsorted(ascending, self.files.starts[1:])
        return ascending[np.maximum(before_end, 1) - 1] - self.files.starts[:-1]

    def _encode(self, frame: pd.DataFrame) -> np.ndarray:
        """Encode a block; what is warned of a column is said once, not of each block."""
        encoder: Any = self.encoder
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            encoded = encoder.encode(as_frame(frame))
        for warning in caught:
            column = str(warning.message).split(" holds ")[0]
            if column not in self._said:
                self._said.add(column)
                said = f"{warning.message} (further values of it are not named)"
                warnings.warn(said, warning.category, stacklevel=3)
        return encoded


class _Reader:
    """A row group on the way from its first row to its last."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self.batches = batches
        self.first = self.end = 0
        self.batch: Any = None

    def read(self, wanted: np.ndarray) -> pd.DataFrame:
        """Return rows by their ascending numbers, none of which is before `first`."""
        import pyarrow as pa

        taken, done = [], 0
        while done < len(wanted):
            upto = int(np.searchsorted(wanted, self.end))
            if upto > done:
                taken.append(self.batch.take(pa.array(wanted[done:upto] - self.first)))
                done = upto
            else:
                self.batch = next(self.batches)
                self.first, self.end = self.end, self.end + self.batch.num_rows
        return pa.Table.from_batches(taken).to_pandas(ignore_metadata=True)


def _columns(schema: pa.Schema) -> list[str]:
    """Return the names of a file's columns; an index that pandas wrote is left out."""
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    return [name for name in schema.names if name not in index]
