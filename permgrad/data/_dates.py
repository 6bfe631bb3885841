"""Dates: text → points in time, and points in time → the numbers that a network reads."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from permgrad.data._text_numbers import is_missing
from permgrad.errors import PermGradError, listing

ISO = "ISO8601"
_DAYS = ("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%d/%m/%y", "%m/%d/%y")
_NAMED = ("%d.%m.%y", "%d %b %Y", "%d %B %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y")
_TIMES = ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S", " %I:%M %p", " %I:%M:%S %p", " %H:%M:%S.%f")
FORMATS = (ISO, *(day + time for time in _TIMES for day in (*_DAYS, *_NAMED)))
"""Of dates in text, the first that fits counts: day before month where both do."""
_LOOKS = re.compile(
    r"(\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}[- ][A-Za-z]{3,9}[- ]\d{2,4}|[A-Za-z]{3,9} \d{1,2},? \d{4})([ T].*)?"
)
PARTS = ("days", "year", "month", "weekday", "hour")
"""What a date becomes: days since the first in training, with their fraction, and what recurs; weekday 0 is Monday."""
SECONDS_OF_DAY = 86_400.0


def date_format(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the formats by which all texts are dates, the likelier first, two at most; none where they are no dates.

    Parameters
    ----------
    texts : sequence of str
        A column's distinct values.
    """
    dates = [text.strip() for text in texts if not is_missing(text)]
    if not dates or not all(_LOOKS.fullmatch(text) for text in dates):
        return ()
    found = []
    for known in FORMATS:
        if _parsed(dates[:50], known) is not None and _parsed(dates, known) is not None:
            found.append(known)
        if len(found) == 2:
            break
    return tuple(found)


def to_dates(column: pd.Series, form: str = ISO) -> tuple[pd.Series, list[str]]:
    """Return a column of dates or texts as datetime64 (UTC where zones are given), and the texts that are no dates."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        zoned = isinstance(column.dtype, pd.DatetimeTZDtype)
        return (column.dt.tz_convert("UTC").dt.tz_localize(None) if zoned else column), []
    if isinstance(column.dtype, pd.PeriodDtype):
        return column.dt.to_timestamp(), []
    codes, values = pd.factorize(column)
    texts = [isinstance(value, str) for value in values]
    known = pd.Series(
        [None if text and is_missing(value) else value for text, value in zip(texts, values, strict=True)]
    )
    keywords: dict[str, Any] = {"format": form} if all(texts) else {}
    times = pd.to_datetime(known.astype(object), errors="coerce", utc=True, **keywords).dt.tz_localize(None)
    wrong = [
        str(value) for value, gap, time in zip(values, known.isna(), times, strict=True) if not gap and pd.isna(time)
    ]
    at = pd.concat([times, pd.Series([pd.NaT], dtype=times.dtype)], ignore_index=True)  # the last one: of code -1
    return pd.Series(at.to_numpy()[codes], index=column.index, name=column.name), wrong


def is_date(column: pd.Series) -> bool:
    """Tell whether a column holds points in time: by its dtype, or as Python's dates."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype) or isinstance(column.dtype, pd.PeriodDtype):
        return True
    if not pd.api.types.is_object_dtype(column.dtype):
        return False
    kinds = set(map(type, column.dropna()))
    return bool(kinds) and all(issubclass(kind, (date, np.datetime64)) for kind in kinds)


def date_parts(column: pd.Series, origin: pd.Timestamp) -> dict[str, np.ndarray]:
    """Return each of `PARTS` of a column of datetime64, float64 of shape (n_rows,), NaN where a date is missing."""
    days = (column - origin).dt.total_seconds().to_numpy(float) / SECONDS_OF_DAY
    clock = {"year": column.dt.year, "month": column.dt.month, "weekday": column.dt.weekday, "hour": column.dt.hour}
    return {"days": days, **{part: values.to_numpy(float, na_value=np.nan) for part, values in clock.items()}}


def require_dates(column: pd.Series, form: str, name: str) -> pd.Series:
    """Return a column as datetime64.

    Raises
    ------
    PermGradError
        If a value is no date.
    """
    times, wrong = to_dates(column, form)
    if wrong:
        raise PermGradError(f"expected dates such as {_example(form)} in {name!r}, got {listing(wrong)}")
    return times


def _example(form: str) -> str:
    return "2024-01-31" if form == ISO else pd.Timestamp("2024-01-31 13:05").strftime(form)


def _parsed(texts: list[str], form: str) -> pd.Series | None:
    try:
        return pd.to_datetime(pd.Series(texts, dtype=object), format=form, utc=True)
    except (ValueError, OverflowError):
        return None
