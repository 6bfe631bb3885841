from __future__ import annotations

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from permgrad.data._text_numbers import as_number, decimal_mark, is_missing, to_numbers

BY_HAND = {
    "currency, thousands": (["$1,234.00", "$3.5"], ".", [1234.0, 3.5]),
    "currency behind": (["12,50 €", "1.000,00 €"], ",", [12.5, 1000.0]),
    "a currency's code": (["CHF 1'000.50", "CHF 2"], ".", [1000.5, 2.0]),
    "per cent": (["12.5 %", "3%"], ".", [12.5, 3.0]),
    "negative in brackets": (["(3.10)", "2"], ".", [-3.1, 2.0]),
    "a minus sign of print": (["−3", "+4"], ".", [-3.0, 4.0]),
    "a minus behind the currency": (["$-3", "-$4"], ".", [-3.0, -4.0]),
    "blanks between thousands": (["1 234 567,5", "8"], ",", [1234567.5, 8.0]),
    "exponents": (["1e3", "-2.5E-1"], ".", [1000.0, -0.25]),
    "no digit before the mark": ([".5", "0.25"], ".", [0.5, 0.25]),
    "both marks fit": (["1,234", "5,678"], ".", [1234.0, 5678.0]),
}
NO_NUMBERS = {
    "words": ["abc", "1"],
    "codes": ["0815", "12"],
    "two units": ["€5", "$5"],
    "dates": ["12.05.2020"],
    "versions": ["1.2.3"],
    "thousands apart wrongly": ["1,23.5", "12,3456.1"],
    "both marks needed": ["1,5", "2.5"],
    "an open bracket": ["(5"],
    "nothing at all": ["?", "NA"],
    "no text": [],
}


@pytest.mark.parametrize("case", BY_HAND)
def test_numbers_by_hand(case):
    texts, mark, values = BY_HAND[case]
    assert decimal_mark(texts) == mark
    assert [as_number(text, mark) for text in texts] == values
    assert decimal_mark([*texts, "?", " n/a "]) == mark


@pytest.mark.parametrize("case", NO_NUMBERS)
def test_what_is_no_column_of_numbers(case):
    assert decimal_mark(NO_NUMBERS[case]) is None


@pytest.mark.parametrize(("prefer", "value"), [(".", 1234.0), (",", 1.234)])
def test_the_preferred_mark_decides_where_both_fit(prefer, value):
    assert decimal_mark(["1,234"], prefer) == prefer
    assert as_number("1,234", prefer) == value


def written(value: float, decimals: int, mark: str, apart: str, unit: str) -> str:
    """Write a number the slow and obvious way: digit by digit from the right."""
    whole, _, fraction = f"{abs(value):.{decimals}f}".partition(".")
    groups: list[str] = []
    while whole:
        groups.insert(0, whole[-3:])
        whole = whole[:-3]
    return f"{'-' if value < 0 else ''}{unit}{apart.join(groups)}{mark if fraction else ''}{fraction}"


@given(
    values=st.lists(st.floats(-1e7, 1e7), min_size=1, max_size=5),
    decimals=st.integers(1, 2),
    style=st.sampled_from([(".", ","), (",", "."), (".", "'"), (",", " "), (".", ""), (",", "\u00a0")]),
    unit=st.sampled_from(["", "$", "€", "USD "]),
)
def test_what_is_written_is_read(values, decimals, style, unit):
    mark, apart = style
    texts = [written(value, decimals, mark, apart, unit) for value in values]
    assert decimal_mark(texts) == mark
    for text, value in zip(texts, values, strict=True):
        assert as_number(text, mark) == float(f"{value:.{decimals}f}")


def test_a_column_with_gaps_and_words():
    column = pd.Series(["1,5", "?", None, "old", "1,5"], index=[3, 4, 5, 6, 7], name="v")
    numbers, wrong = to_numbers(column, ",")
    assert wrong == ["old"]
    assert numbers.index.tolist() == [3, 4, 5, 6, 7]
    assert numbers.dropna().to_dict() == {3: 1.5, 7: 1.5}
    assert all(is_missing(text) for text in ("?", " NA", "", "-", "Null"))
    assert not is_missing("0")
    assert math.isnan(as_number("?", "."))
