"""Numbers that are written as text: ``$1,234.00``, ``12,5 %``, ``(3.10)``, ``1'000``; and texts that stand for nothing.

A column is read as a whole: its texts are numbers if all of them are, by one decimal mark and with one unit at most.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

BLANKS = frozenset({"", "?"})
"""Texts that stand for a missing value in any column."""
MISSING_TEXTS = BLANKS | {
    *("-", "--", "–", "—", ".", "..", "na", "n/a", "#n/a", "n.a.", "nan", "nil", "null", "none", "<na>", "missing"),
    "unknown",
}
"""Texts, in small letters, that stand for a missing value where all others are numbers or dates."""
DECIMAL_MARKS = (".", ",")
_UNIT = "[$€£¥₹₩₽]|(?:USD|EUR|GBP|CHF|JPY|CAD|AUD|SEK|NOK|DKK|INR|CNY|PLN|BRL)"
_NUMBER = re.compile(
    rf"(?P<open>\()?(?P<sign>[-+−])?\s*(?P<before>{_UNIT})?\s*(?P<inner>[-+−])?"
    r"(?P<body>\d[\d.,'’ \u00a0\u202f]*|[.,]\d+)(?P<exponent>[eE][-+]?\d+)?"
    rf"\s*(?P<after>{_UNIT}|%)?(?P<close>\))?"
)
_THOUSANDS = r"'’ \u00a0\u202f"
_BODIES = {
    mark: re.compile(rf"(?:\d{{1,3}}(?:([{other}{_THOUSANDS}])\d{{3}})(?:\1\d{{3}})*|\d*)(?:\{mark}\d*)?")
    for mark, other in ((".", ","), (",", "."))
}
_CODE = re.compile(r"0\d+")


def is_missing(text: str) -> bool:
    """Tell whether a text stands for a missing value in a column of numbers or dates."""
    return text.strip().lower() in MISSING_TEXTS


def decimal_mark(texts: Sequence[str], prefer: str = ".") -> str | None:
    """Return the decimal mark by which all texts are numbers; None where they are not.

    Parameters
    ----------
    texts : sequence of str
        A column's distinct values.
    prefer : {".", ","}
        What decides where both fit, as of "1,234" alone.

    Returns
    -------
    {".", ","} or None
        None also for codes (several with a leading zero, as in "0815"), for two units in one column, and where every
        text stands for a missing value.
    """
    numbers = [text.strip() for text in texts if not is_missing(text)]
    marks = list(dict.fromkeys([prefer, *DECIMAL_MARKS]))
    units = set()
    for text in numbers:
        found = _NUMBER.fullmatch(text)
        if found is None or _CODE.fullmatch(text):
            return None
        units |= {found["before"], found["after"]} - {None}
        body = found["body"].strip()
        marks = [mark for mark in marks if _BODIES[mark].fullmatch(body)]
        if not marks or len(units) > 1 or bool(found["open"]) != bool(found["close"]):
            return None
    return marks[0] if numbers else None


def as_number(text: str, decimal: str) -> float:
    """Return the number that a text is; NaN where it stands for a missing value.

    Raises
    ------
    ValueError
        If it is no number by this decimal mark.
    """
    if is_missing(text):
        return np.nan
    found = _NUMBER.fullmatch(text.strip())
    body = "" if found is None else found["body"].strip()
    if found is None or not _BODIES[decimal].fullmatch(body):
        raise ValueError(text)
    digits = re.sub(rf"[{_THOUSANDS}{',' if decimal == '.' else '.'}]", "", body).replace(decimal, ".")
    negative = bool(found["open"]) or "-" in (s := (found["sign"] or "") + (found["inner"] or "")) or "−" in s
    return float(f"{'-' if negative else ''}{digits}{found['exponent'] or ''}")


def to_numbers(column: pd.Series, decimal: str) -> tuple[pd.Series, list[str]]:
    """Return a column of texts as float64, and the texts that are no numbers, which become NaN."""
    codes, texts = pd.factorize(column)
    values, wrong = np.full(len(texts) + 1, np.nan), []  # the last one: of missing values, whose code is -1
    for i, text in enumerate(texts):
        try:
            values[i] = as_number(text, decimal) if isinstance(text, str) else float(text)
        except (TypeError, ValueError):
            wrong.append(str(text))
    return pd.Series(values[codes], index=column.index, name=column.name), wrong
