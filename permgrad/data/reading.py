"""A table's file → a data frame: text of any dialect, Parquet, Feather, JSON, Excel's, Stata's and SPSS's files."""

from __future__ import annotations

import bz2
import glob
import gzip
import lzma
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from permgrad.data._dialect import BLANKS as BLANK_SEPARATED
from permgrad.data._dialect import Dialect, first_row, guess_dialect
from permgrad.errors import FileFormatError, PermGradError, listing, reading

BEGINNING = 1 << 18
"""Bytes of a text file, decompressed, that its dialect is guessed from."""
COMPRESSIONS = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
PACKED = (*COMPRESSIONS, ".zip")
NEEDS = {".xlsx": "openpyxl", ".xlsm": "openpyxl", ".sav": "pyreadstat", ".zsav": "pyreadstat"}
OF_TEXT = ("sep", "decimal", "encoding", "header")


@dataclass(frozen=True)
class ReadOptions:
    """What a user says of a file; what is None is guessed.

    Attributes
    ----------
    sep : str, optional
        What parts fields: a character, "tab" or "blanks".
    decimal : {".", ","}, optional
    encoding : str, optional
    header : bool, optional
        Whether the first line names the columns; where not, they are ``x0``, ``x1``, ...
    na : sequence of str
        Texts, or numbers, that stand for a missing value, beside the usual ones.
    sheet : str or int, optional
        Of an Excel file: the sheet's name, or its number from 0.
    known : tuple of str
        Names of columns that must be there: where the first line has one, it is a header.
    """

    sep: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: bool | None = None
    na: Sequence[str] = ()
    sheet: str | int | None = None
    known: tuple[str, ...] = ()


@dataclass
class ReadTable:
    """What a file holds, and how it was read.

    Attributes
    ----------
    frame : DataFrame
    dialect : Dialect
        Of a text file; of another, the plain one.
    said : list of str
        How it was read, where that is not as a plain CSV file; a line each.
    """

    frame: pd.DataFrame
    dialect: Dialect = field(default_factory=Dialect)
    said: list[str] = field(default_factory=list)


def read_any(path: str | Path, options: ReadOptions | None = None) -> ReadTable:
    """Read a table, whatever its file's name says that it is; also a directory of Parquet files, or several files.

    Parameters
    ----------
    path : path
        Of a file, a directory of Parquet files, or a pattern such as ``part-*.parquet``.
    options : ReadOptions, optional

    Raises
    ------
    FileFormatError
        If there is no such file, it is damaged, or several files hold other columns.
    PermGradError
        If the path is a URL, an option is not for such a file, or a package is missing.
    """
    options = options or ReadOptions()
    if "://" in str(path):  # pandas would fetch what a URL names, which nothing vouches for
        raise PermGradError(f"{path} is a URL; download the file, check it, and give its path")
    if Path(path).is_dir():
        return _with_gaps(ReadTable(_read_directory(Path(path))), options)
    if glob.has_magic(str(path)) and not Path(path).exists():
        return _read_several(str(path), options)
    suffix = kind_of(path)
    _check_options(suffix, options)
    read = READERS.get(suffix)
    if read is None:
        return read_text(path, options)
    with reading(path, f"a readable {KIND_NAMES[suffix]} table"):
        return _with_gaps(ReadTable(_named(_call(read, path, suffix, options))), options)


def read_like(path: str | Path, options: ReadOptions, first: ReadTable) -> ReadTable:
    """Read a table as another was read: text of the same dialect, other files by the same options."""
    dialect = first.dialect
    if kind_of(path) in READERS or dialect == Dialect():
        return read_any(path, options)
    sep = {"\t": "tab", BLANK_SEPARATED: "blanks"}.get(dialect.sep, dialect.sep)
    guessed: dict[str, Any] = {"sep": sep, "decimal": dialect.decimal, "header": dialect.header}
    unsaid = {name: value for name, value in guessed.items() if getattr(options, name) is None}
    return read_any(path, replace(options, **unsaid))


def kind_of(path: str | Path) -> str:
    """Return the suffix that says what a file is, in small letters, those of compressed files aside."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def name_of(path: str | Path) -> str:
    """Return a table's name by its file's: all before the first point; of several files, their directory's."""
    path = Path(path)
    if glob.has_magic(str(path)) and not path.exists():
        path = next((parent for parent in path.parents if not glob.has_magic(str(parent))), Path("table"))
    return path.resolve().name.split(".")[0] or "table"


def read_csv(path: str | Path, **keywords: Any) -> pd.DataFrame:
    """Read a plain CSV file, every number as the nearest float64 (pandas' default may be off by the last bit)."""
    if keywords.get("header", "infer") == "infer":  # pandas would rename repeated columns: a, a.1
        names = pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0].dropna()
        check_unique(names)
    return pd.read_csv(path, float_precision="round_trip", **keywords)


def read_text(path: str | Path, options: ReadOptions) -> ReadTable:
    """Read a text file of any dialect, compressed or not."""
    with reading(path, "a readable table of text"):
        beginning = _beginning(path)
        if not beginning.strip():
            raise FileFormatError(f"{path} is not a readable table of text: it is empty")
        given = {name: getattr(options, name) for name in OF_TEXT}
        dialect = guess_dialect(beginning, **given, known=options.known)
        if dialect.header:
            check_unique(name for name in first_row(beginning, dialect) if name.strip())
        try:
            frame = _parsed(path, dialect, options.na)
        except UnicodeDecodeError:
            if options.encoding or dialect.encoding not in ("utf-8", "utf-8-sig"):
                raise
            dialect = Dialect(dialect.sep, dialect.decimal, "latin-1", dialect.header, dialect.skipped)
            frame = _parsed(path, dialect, options.na)
    return ReadTable(frame, dialect, [f"read as {dialect}"] if str(dialect) else [])


def check_unique(names: Iterable[Any]) -> None:
    """Raise if a column's name is there more than once."""
    index = pd.Index(list(names))
    repeated = index[index.duplicated()].unique()
    if len(repeated):
        raise PermGradError(f"column names must be unique, found {listing(repeated)} more than once; rename them")


def _parsed(path: str | Path, dialect: Dialect, na: Sequence[str]) -> pd.DataFrame:
    frame = pd.read_csv(
        path,
        sep=dialect.sep,
        decimal=dialect.decimal,
        encoding=dialect.encoding,
        header=0 if dialect.header else None,
        skiprows=dialect.skipped,
        na_values=list(na),
        skipinitialspace=True,
        float_precision="round_trip",
    )
    return _named(frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index(drop=True))  # rows had names


def _beginning(path: str | Path) -> bytes:
    suffix = Path(path).suffix.lower()
    if suffix == ".zip":
        with zipfile.ZipFile(path) as packed:
            members = [name for name in packed.namelist() if not name.endswith("/")]
            if len(members) != 1:
                raise PermGradError(f"expected one file in the archive, got {listing(members) or 'none'}")
            with packed.open(members[0]) as file:
                return file.read(BEGINNING)
    with COMPRESSIONS.get(suffix, open)(path, "rb") as file:  # type: ignore[operator]
        return file.read(BEGINNING)


def _read_directory(path: Path) -> pd.DataFrame:
    import pyarrow.dataset as ds

    with reading(path, "a directory of Parquet files of one table"):
        data = ds.dataset(path, format="parquet", partitioning="hive", exclude_invalid_files=False)
        if not data.files:
            raise PermGradError("expected a directory of Parquet files, it holds none")
        partitions = set(data.schema.names)
        for fragment in data.get_fragments():
            physical = set(fragment.physical_schema.names)
            if not physical <= partitions:
                raise PermGradError(
                    f"the files have other columns: {listing(sorted(physical - partitions))} only in {fragment.path}"
                )
        return data.to_table().to_pandas()


def _read_several(pattern: str, options: ReadOptions) -> ReadTable:
    """Read the files that a pattern names, sorted by name, as one table."""
    paths = sorted(glob.glob(pattern))
    if not paths:
        raise FileFormatError(f"cannot read {pattern}: no file is called so")
    parts = [read_any(path, options) for path in paths]
    for path, part in zip(paths, parts, strict=True):
        if list(part.frame.columns) != list(parts[0].frame.columns):
            other = set(part.frame.columns) ^ set(parts[0].frame.columns)
            raise FileFormatError(
                f"{path} must have the columns of {paths[0]} in their order; only in one: {listing(sorted(other))}"
            )
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    return ReadTable(frame, parts[0].dialect, [f"read from {len(paths)} files", *parts[0].said])


def _with_gaps(read: ReadTable, options: ReadOptions) -> ReadTable:
    """Return what was read with missing values where the user's texts for them were."""
    texts = set(map(str, options.na))
    if texts:
        read.frame = read.frame.apply(lambda column: column.mask(column.astype(str).isin(texts)))
    return read


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose columns have names; numbered ones, as of a file without a header, are x0, x1, ..."""
    if list(frame.columns) == list(range(frame.shape[1])):
        return frame.set_axis([f"x{i}" for i in range(frame.shape[1])], axis=1)
    return frame


def _check_options(suffix: str, options: ReadOptions) -> None:
    excel = suffix in (".xlsx", ".xlsm", ".xls")
    given = [name for name in OF_TEXT if getattr(options, name) is not None and not (excel and name == "header")]
    if suffix in READERS and given:
        raise PermGradError(
            f"{listing(given)} say how text is read, and a {KIND_NAMES[suffix]} file is none; leave them out"
        )
    if options.sheet is not None and not excel:
        raise PermGradError("a sheet is of an Excel file; leave it out")


def _call(read: Callable[..., pd.DataFrame], path: str | Path, suffix: str, options: ReadOptions) -> pd.DataFrame:
    try:
        return read(path, options)
    except ImportError as error:
        package = NEEDS.get(suffix, getattr(error, "name", None) or "a further package")
        raise PermGradError(
            f"{KIND_NAMES[suffix]} files are read by {package}: pip install 'permgrad[files]', or save the table as CSV"
        ) from error


def _read_excel(path: str | Path, options: ReadOptions) -> pd.DataFrame:
    sheet: Any = 0 if options.sheet is None else options.sheet
    sheet = int(sheet) if str(sheet).isdigit() else sheet
    with pd.ExcelFile(path) as book:
        if sheet not in book.sheet_names and not (isinstance(sheet, int) and sheet < len(book.sheet_names)):
            raise PermGradError(f"no sheet {sheet!r}; there are {listing(book.sheet_names)}")
        frame = book.parse(sheet, header=None)
    header = options.header is not False
    if not header:
        return frame
    names = frame.iloc[0].tolist()
    names = [f"Unnamed: {i}" if pd.isna(name) else str(name) for i, name in enumerate(names)]
    check_unique(names)
    return frame.iloc[1:].reset_index(drop=True).set_axis(names, axis=1).infer_objects()


def _read_json(path: str | Path, options: ReadOptions) -> pd.DataFrame:
    lines = kind_of(path) != ".json"
    frame = pd.read_json(path, lines=lines, convert_dates=False, precise_float=True, encoding=options.encoding)
    if frame.columns.empty or not all(isinstance(name, str) for name in frame.columns):
        raise PermGradError("expected rows as objects, or columns by name")
    return frame.reset_index(drop=True)


READERS: dict[str, Callable[[Any, ReadOptions], pd.DataFrame]] = {
    **dict.fromkeys((".parquet", ".pq"), lambda path, _: pd.read_parquet(path)),
    **dict.fromkeys((".feather", ".arrow", ".ipc"), lambda path, _: pd.read_feather(path)),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), _read_json),
    **dict.fromkeys((".xlsx", ".xlsm", ".xls"), _read_excel),
    ".dta": lambda path, _: pd.read_stata(path, order_categoricals=False),
    **dict.fromkeys((".sav", ".zsav"), lambda path, _: pd.read_spss(path)),
}
KIND_NAMES = {
    **dict.fromkeys((".parquet", ".pq"), "Parquet"),
    **dict.fromkeys((".feather", ".arrow", ".ipc"), "Feather"),
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "JSON"),
    **dict.fromkeys((".xlsx", ".xlsm", ".xls"), "Excel"),
    ".dta": "Stata",
    **dict.fromkeys((".sav", ".zsav"), "SPSS"),
}
