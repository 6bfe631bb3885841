"""What a column holds: numbers in text, dates, categories, identifiers, free text. Each is told by its values.

What is decided here looks at one column at a time and fits nothing: a text means the same number in whichever rows it
stands. What depends on rows, such as a date's first day, is learned by the encoder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Real
from typing import Literal, get_args

import numpy as np
import pandas as pd

from permgrad.data._dates import ISO, SECONDS_OF_DAY, date_format, is_date, require_dates, to_dates
from permgrad.data._levels import FEW_LEVELS
from permgrad.data._text_numbers import BLANKS, decimal_mark, to_numbers
from permgrad.errors import PermGradError, listing

Kind = Literal["number", "category", "date", "text", "id"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WORDS_OF_TEXT = 3
"""Texts of more words than this, on average, that mostly differ, are free text."""
MIN_SHARE_OF_TEXT = 0.5
"""Distinct values per row from which texts mostly differ."""
_ID_NAME = re.compile(r"(?i:(.*[_\s.-])?(id|idx|index|uuid|guid|rownames?|row|key)|unnamed: \d+)|.*[a-z]I[dD]")


@dataclass(frozen=True)
class TextRule:
    """How texts of a column become numbers or dates.

    Attributes
    ----------
    kind : {"number", "date"}
    form : str
        The decimal mark, or the dates' format as `strptime` has it.
    """

    kind: Literal["number", "date"]
    form: str

    def __post_init__(self) -> None:
        if self.kind not in ("number", "date") or not isinstance(self.form, str):
            raise PermGradError(f"a column's text is read as numbers or dates, got {self.kind!r}, {self.form!r}")


@dataclass
class Cleaned:
    """A frame whose columns are numbers, dates (datetime64), or categories.

    Attributes
    ----------
    frame : DataFrame
    rules : dict of str to TextRule
        Of the columns that came as text.
    said : list of str
        What was done, a line each.
    changed : tuple of str
        Columns that are not as they came.
    """

    frame: pd.DataFrame
    rules: dict[str, TextRule] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    changed: tuple[str, ...] = ()


def cleaned(frame: pd.DataFrame, kinds: Mapping[str, Kind] | None = None, *, decimal: str = ".") -> Cleaned:
    """Return a frame with numbers where its texts are numbers, and datetime64 where they are dates.

    Parameters
    ----------
    frame : DataFrame
    kinds : mapping of str to {"number", "category", "date", "text", "id"}, optional
        What columns are, where that is not to be told by their values. Those of kind "text" and "id" are left out.
    decimal : {".", ","}
        What decides where a column's numbers fit both marks.

    Raises
    ------
    PermGradError
        If `kinds` names an absent column or an unknown kind, or a value is not of the kind that its column should be.
    """
    kinds = dict(kinds or {})
    _check_known(kinds, frame)
    out = Cleaned(frame)
    columns: dict[str, pd.Series] = {}
    for name, column in frame.items():
        if name in kinds:
            rule, new = _as_told(str(name), column, kinds[name], decimal)
        elif _may_be_text(column):
            rule, new = _by_values(column, decimal)
        else:
            rule, new = None, _by_dtype(column)
        if rule is not None:
            out.rules[str(name)] = rule
        if new is not None and new is not column:
            columns[str(name)] = new
    left_out = [name for name, kind in kinds.items() if kind in ("text", "id")]
    out.said = _told(frame, columns, out.rules, left_out)
    out.changed = tuple(columns)
    if columns or left_out:  # else nothing is copied
        out.frame = frame.assign(**columns).drop(columns=left_out)
    return out


def blanks_to_missing(column: pd.Series) -> pd.Series:
    """Return a column of categories in which texts that stand for nothing are missing values."""
    if isinstance(column.dtype, pd.CategoricalDtype) or not _may_be_text(column):
        return column
    blank = [text for text in pd.unique(column) if isinstance(text, str) and text.strip() in BLANKS]
    return column.mask(column.isin(blank)) if blank else column


def numbers_of(column: pd.Series, rule: TextRule | None) -> np.ndarray:
    """Return the numbers of a column that held numbers at fit, (n_rows,), NaN where missing.

    Raises
    ------
    TypeError, ValueError
        If a value is none.
    """
    if not _may_be_text(column):
        return _by_dtype(column).to_numpy(dtype=float, na_value=np.nan)
    mark = rule.form if rule is not None else decimal_mark(_texts(column)) or "."
    values, wrong = to_numbers(column, mark)
    if wrong:
        raise ValueError(listing(wrong))
    return values.to_numpy()


def dates_of(column: pd.Series, rule: TextRule | None, name: str) -> pd.Series:
    """Return the points in time of a column that held dates at fit, as datetime64.

    Raises
    ------
    PermGradError
        If a value is none.
    """
    if rule is not None and _may_be_text(column):
        return require_dates(column, rule.form, name)
    form = next(iter(date_format(_texts(column))), ISO) if _may_be_text(column) and not is_date(column) else ISO
    if pd.api.types.is_numeric_dtype(column) and not column.isna().all():
        raise PermGradError(f"expected dates in {name!r} as at fit, got numbers")
    return require_dates(column, form, name)


def matching(frame: pd.DataFrame, like: pd.DataFrame, rules: Mapping[str, TextRule]) -> pd.DataFrame:
    """Return further rows whose columns are numbers and dates where those of `like` are.

    Raises
    ------
    PermGradError
        If a value is neither a number nor a date where one is expected.
    """
    columns: dict[str, pd.Series] = {}
    for name, column in frame.items():
        known, rule = like[name], rules.get(str(name))
        if pd.api.types.is_datetime64_any_dtype(known.dtype):
            columns[str(name)] = dates_of(column, rule, str(name))
        elif pd.api.types.is_numeric_dtype(known) and not pd.api.types.is_bool_dtype(known) and _may_be_text(column):
            try:
                columns[str(name)] = pd.Series(numbers_of(column, rule), index=column.index)
            except (TypeError, ValueError) as error:
                raise PermGradError(f"expected numbers in {name!r}, got {error}") from error
        elif _may_be_text(column):
            columns[str(name)] = blanks_to_missing(column)
    return frame.assign(**columns) if columns else frame


def tells_nothing(name: str, column: pd.Series) -> str:
    """Return why a column has nothing to tell a network, though it varies; "" where it may have.

    Looked at are text and whole numbers; who makes a category or fractional numbers of a column wants it kept.
    """
    if pd.api.types.is_float_dtype(column.dtype):
        return ""
    rows = int(column.count())
    if rows <= FEW_LEVELS:
        return ""
    if pd.api.types.is_integer_dtype(column.dtype):
        if names_rows(name) and column.nunique() == rows:
            return f"an identifier by its name, with another value in each of {rows:,} rows"
        return ""
    if not _may_be_text(column) or not isinstance(column.dropna().iloc[0], str):
        return ""
    distinct = column.nunique()
    if distinct > MIN_SHARE_OF_TEXT * rows:
        some = column.dropna().astype(str).iloc[:1000]
        words = some.str.count(r"\s+").mean() + 1
        if words > WORDS_OF_TEXT:
            return f"free text, {words:.0f} words on average"
    return f"an identifier, with another text in each of {rows:,} rows" if distinct == rows else ""


def names_rows(name: str) -> bool:
    """Tell whether a column is called as identifiers are."""
    return bool(_ID_NAME.fullmatch(name.strip()))


def _by_dtype(column: pd.Series) -> pd.Series:
    """Return a column that is no text: spans of time as days, dates without a zone, others as they are."""
    if pd.api.types.is_timedelta64_dtype(column.dtype):
        return column.dt.total_seconds() / SECONDS_OF_DAY
    return to_dates(column)[0] if is_date(column) else column


def _by_values(column: pd.Series, decimal: str) -> tuple[TextRule | None, pd.Series]:
    """Return what a column of text or objects is by its values, and the rule by which its texts were read."""
    if is_date(column):
        return None, to_dates(column)[0]
    kinds = set(map(type, column.dropna()))
    if not kinds:
        return None, column
    if all(issubclass(kind, (Real, Decimal)) and not issubclass(kind, (bool, np.bool_)) for kind in kinds):
        return None, pd.Series(column.to_numpy(float, na_value=np.nan), index=column.index)
    if not all(issubclass(kind, str) for kind in kinds):
        return None, column
    texts = _texts(column)
    mark = decimal_mark(texts, decimal)
    if mark is not None:
        return TextRule("number", mark), to_numbers(column, mark)[0]
    forms = date_format(texts)
    if forms:
        return TextRule("date", forms[0]), to_dates(column, forms[0])[0]
    return None, blanks_to_missing(column)


def _as_told(name: str, column: pd.Series, kind: Kind, decimal: str) -> tuple[TextRule | None, pd.Series | None]:
    if kind in ("text", "id"):
        return None, None
    if kind == "category":
        return None, as_category(column)
    if kind == "date":
        if pd.api.types.is_numeric_dtype(column):
            raise PermGradError(f"column {name!r} cannot be dates: it holds numbers; give them as text or datetime64")
        forms = date_format(_texts(column)) if _may_be_text(column) and not is_date(column) else ()
        rule = TextRule("date", forms[0]) if forms else None
        return rule, require_dates(column, forms[0] if forms else ISO, name)
    if pd.api.types.is_numeric_dtype(column):
        return None, column.astype(float)
    mark = decimal_mark([text for text in _texts(column) if decimal_mark([text], decimal)], decimal) or decimal
    numbers, wrong = to_numbers(column.astype(object), mark)
    if wrong:
        raise PermGradError(
            f"column {name!r} cannot be numbers: it holds {listing(wrong)}; say which texts stand for a missing value"
            " (na, --na)"
        )
    return TextRule("number", mark), numbers


def as_category(column: pd.Series) -> pd.Series:
    """Return a column as categories; whole numbers lose their fraction, so that 8.0 and 8 are one level."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return column
    return level_texts(blanks_to_missing(column)).astype("category")


def level_texts(column: pd.Series) -> pd.Series:
    """Return a column's levels as text, where they are numbers; others as they are."""
    if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return column
    values = column.to_numpy(float, na_value=np.nan)
    whole = (values[np.isfinite(values)] % 1 == 0).all()
    return column.map(lambda value: str(int(value)) if whole else str(value), na_action="ignore").astype(object)


def _told(
    frame: pd.DataFrame, columns: dict[str, pd.Series], rules: dict[str, TextRule], left_out: list[str]
) -> list[str]:
    """Say what became of columns that are not what they came as."""
    said = []
    for mark in dict.fromkeys(rule.form for rule in rules.values() if rule.kind == "number"):
        names = [name for name, rule in rules.items() if rule == TextRule("number", mark)]
        comma = ", with a decimal comma" if mark == "," else ""
        said.append(f"numbers in text{comma}: {listing(names)}")
    for name, rule in rules.items():
        if rule.kind == "date":
            forms = date_format(_texts(frame[name]))
            other = f"; {_plain(forms[1])} would fit as well" if len(forms) > 1 and ISO not in forms else ""
            said.append(f"dates in text, {_plain(rule.form)}{other}: {name!r}")
    for name, new in columns.items():
        gaps = new.isna() & frame[name].notna()
        if gaps.any():
            texts = ", ".join(sorted({repr(str(value)) for value in frame[name][gaps].unique()})[:5])
            said.append(f"{int(gaps.sum()):,} values of {name!r} stand for nothing, and are missing: {texts}")
    if left_out:
        said.append(f"left out, as you said: {listing(left_out)}")
    return said


def _plain(form: str) -> str:
    """Return a date format as people write it."""
    words = {"%d": "day", "%m": "month", "%Y": "year", "%y": "year", "%b": "month", "%B": "month"}
    if form == ISO:
        return "year-month-day"
    day = re.split(r"[ T]%[HI]", form)[0]
    for code, word in words.items():
        day = day.replace(code, word)
    return day


def _check_known(kinds: Mapping[str, str], frame: pd.DataFrame) -> None:
    absent = [name for name in kinds if name not in frame.columns]
    if absent:
        raise PermGradError(f"no column {listing(absent)} to say the kind of; there are {listing(frame.columns, 12)}")
    unknown = [kind for kind in kinds.values() if kind not in KINDS]
    if unknown:
        raise PermGradError(f"a column is one of {listing(KINDS)}, got {listing(unknown)}")


def _may_be_text(column: pd.Series) -> bool:
    return pd.api.types.is_object_dtype(column.dtype) or pd.api.types.is_string_dtype(column.dtype)


def _texts(column: pd.Series) -> list[str]:
    return [value for value in pd.unique(column) if isinstance(value, str)]
