"""How a text file writes a table: encoding, separator, decimal mark, header. Guessed from its beginning, or given."""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from permgrad.data._dates import date_format
from permgrad.data._text_numbers import decimal_mark, is_missing
from permgrad.errors import PermGradError

SEPARATORS = ("\t", ";", "|", ",")
"""What may part fields, the rarer within them first; blanks are tried last."""
BLANKS = r"\s+"
NAMES = {"\t": "tab-separated", BLANKS: "separated by blanks"}
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
LINES = 200
"""Of the file's beginning, to guess from."""
MIN_CONSISTENT, CONSISTENT = 0.8, 0.95
"""Shares of lines that have as many fields as most: for a separator to be taken at all, and before others."""


@dataclass(frozen=True)
class Dialect:
    r"""How a text file writes a table.

    Attributes
    ----------
    sep : str
        What parts fields: a character, or ``\s+`` for blanks.
    decimal : {".", ","}
    encoding : str
    header : bool
        Whether the first line names the columns.
    skipped : int
        Lines of comment (from ``#``) before that line.
    """

    sep: str = ","
    decimal: str = "."
    encoding: str = "utf-8"
    header: bool = True
    skipped: int = 0

    def __str__(self) -> str:
        """Say what is not as in a plain CSV file; nothing of one that is."""
        said = [] if self.sep == "," else [NAMES.get(self.sep, f"{self.sep!r}-separated")]
        said += ["decimal comma"] if self.decimal == "," else []
        said += [] if self.encoding in ("utf-8", "utf-8-sig", "ascii") else [self.encoding]
        said += [] if self.header else ["no header: columns are x0, x1, ..."]
        said += [f"{self.skipped} lines of comment"] if self.skipped else []
        return ", ".join(said)


def guess_dialect(
    beginning: bytes,
    *,
    sep: str | None = None,
    decimal: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    known: Iterable[str] = (),
) -> Dialect:
    """Guess how a file writes a table.

    Parameters
    ----------
    beginning : bytes
        Of the file, decompressed; of some hundred lines.
    sep, decimal, encoding, header : optional
        What is given is not guessed.
    known : iterable of str
        Names of columns that must be there: where the first line has one, it is a header.

    Raises
    ------
    PermGradError
        If what is given is no separator, mark or encoding.
    """
    encoding = _checked_encoding(encoding) if encoding else guess_encoding(beginning)
    lines = _lines(beginning, encoding)
    skipped = next((i for i, line in enumerate(lines) if not line.startswith("#")), 0)
    lines = [line for line in lines[skipped:] if line.strip()]
    known = set(known)
    sep = _checked_separator(sep) if sep else _guess_separator(lines, known)
    rows = _fields(lines, sep)
    first, columns = (rows[0], _columns(rows)) if rows else ([], [])
    if header is None:
        header = bool(known & {name.strip() for name in first}) or not _is_row_of_values(first, columns)
    if decimal is None:
        decimal = _guess_decimal(columns, sep)
    elif decimal not in (".", ","):
        raise PermGradError(f"decimal must be '.' or ',', got {decimal!r}")
    return Dialect(sep, decimal, encoding, header, skipped)


def guess_encoding(beginning: bytes) -> str:
    """Return the encoding of a text: by its byte order mark, UTF-8 if it is that, else Windows' Latin-1."""
    for mark, encoding in BOMS.items():
        if beginning.startswith(mark):
            return encoding
    for start, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):  # every other byte of Latin letters is 0
        half = beginning[start:2000:2]
        if half.count(0) > len(half) / 2:
            return encoding
    for encoding in ("utf-8", "cp1252"):
        try:
            codecs.getincrementaldecoder(encoding)().decode(beginning)  # a letter may be cut at the end
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def first_row(beginning: bytes, dialect: Dialect) -> list[str]:
    """Return the fields of the first line that is no comment."""
    lines = [line for line in _lines(beginning, dialect.encoding)[dialect.skipped :] if line.strip()]
    return _first_fields(lines, dialect.sep)


def _lines(beginning: bytes, encoding: str) -> list[str]:
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(beginning)
    lines = text.splitlines()
    whole = text.endswith(("\n", "\r")) or len(lines) <= 3
    return (lines if whole else lines[:-1])[:LINES]


def _guess_separator(lines: list[str], known: set[str]) -> str:
    """Return what parts lines into as many fields as most lines have, and gives a known column's name if any does."""
    best = _most_consistent(lines)
    if not known or not lines:
        return best
    naming = [sep for sep in (best, *SEPARATORS, BLANKS) if known & {*map(str.strip, _first_fields(lines, sep))}]
    return naming[0] if naming else best


def _first_fields(lines: list[str], sep: str) -> list[str]:
    return next(iter(_fields(lines[:1], sep)), [])


def _most_consistent(lines: list[str]) -> str:
    """Return what parts lines into as many fields as most lines have; of several, what text holds less often."""
    shares = {sep: share for sep in (*SEPARATORS, BLANKS) if (share := _consistent(lines, sep)) >= MIN_CONSISTENT}
    if not shares:
        return ","
    whole = [sep for sep, share in shares.items() if share >= CONSISTENT]
    if whole[:2] == [",", BLANKS] and _commas_are_decimal(lines):
        return BLANKS
    return whole[0] if whole else max(shares, key=lambda sep: shares[sep])


def _consistent(lines: list[str], sep: str) -> float:
    """Return the share of lines that have as many fields as most; 0 where most have one."""
    counts = Counter(len(fields) for fields in _fields(lines, sep))
    n_fields, n_lines = max(counts.items(), key=lambda item: item[1], default=(1, 0))
    return n_lines / counts.total() if n_fields > 1 else 0.0


def _commas_are_decimal(lines: list[str]) -> bool:
    fields = [field for row in _fields(lines, BLANKS) for field in row if "," in field]
    return decimal_mark(fields) is not None


def _guess_decimal(columns: list[list[str]], sep: str) -> str:
    """Return a comma where columns are numbers by a decimal comma alone, and fewer by a point alone."""
    if sep == ",":
        quoted = [values for values in columns if any("," in value for value in values)]
        columns = quoted or columns
    marks: Counter[str] = Counter()
    for values in columns:
        by_point, by_comma = decimal_mark(values, "."), decimal_mark(values, ",")
        if by_point == by_comma and by_point is not None:
            marks[by_point] += 1
        elif by_point is not None and sep != ",":  # "1,234" alone: who writes ";" between fields writes 1,234 for 1.234
            marks["either"] += any("," in value for value in values)
    return "," if marks[","] > marks["."] or (marks["either"] and not marks["."] and sep == ";") else "."


def _is_row_of_values(first: list[str], columns: list[list[str]]) -> bool:
    """Tell whether a first line looks like values: numbers or dates above numbers or dates, and no numbering."""
    like = [
        name.strip()
        for name, values in zip(first, columns, strict=False)
        if any(kind([name]) and kind(values) for kind in (decimal_mark, date_format)) and not is_missing(name)
    ]
    if not like or any(re.fullmatch(r"[A-Za-z_]\w*", name) and is_missing(name) for name in first):
        return False
    return not _is_numbering(like) or len(set(like)) < len(like)


def _is_numbering(names: list[str]) -> bool:
    """Tell whether names count columns, as 0, 1, 2 or 2019, 2020 do."""
    if len(names) < 2 or not all(re.fullmatch(r"\d{1,9}", name) for name in names):
        return False
    numbers = [int(name) for name in names]
    return len({after - before for before, after in pairwise(numbers)}) == 1 and numbers[1] > numbers[0]


def _fields(lines: list[str], sep: str) -> list[list[str]]:
    if sep == BLANKS:
        return [line.split() for line in lines]
    try:
        return [row for row in csv.reader(lines, delimiter=sep, skipinitialspace=True) if row]
    except csv.Error:
        return []


def _columns(rows: list[list[str]]) -> list[list[str]]:
    """Return the fields below the first line, by column."""
    width = max(map(len, rows))
    return [[row[i] for row in rows[1:] if i < len(row)] for i in range(width)]


def _checked_separator(sep: str) -> str:
    sep = {"tab": "\t", "\\t": "\t", "blank": BLANKS, "blanks": BLANKS, " ": BLANKS}.get(sep, sep)
    if len(sep) != 1 and sep != BLANKS:
        raise PermGradError(f"sep must be one character, 'tab' or 'blanks', got {sep!r}")
    return sep


def _checked_encoding(encoding: str) -> str:
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise PermGradError(f"no encoding {encoding!r}; there are utf-8, utf-16, latin-1, cp1252, ...") from error
    return encoding
