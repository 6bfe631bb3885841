from __future__ import annotations

import datetime
import math

import numpy as np
import pandas as pd
import pytest

from permgrad.data._dates import FORMATS, ISO, date_format, date_parts, is_date, to_dates

DAYS = [datetime.datetime(2019, 1, 31), datetime.datetime(2024, 2, 29), datetime.datetime(1999, 12, 1)]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_told_and_read(form):
    moments = [day.replace(hour=13, minute=5) if "%H" in form or "%I" in form else day for day in DAYS]
    texts = [moment.isoformat(" ") if form == ISO else moment.strftime(form) for moment in moments]
    known = date_format([*texts, "?"])
    assert known, texts
    column = pd.Series([*texts, "?", None])
    times, wrong = to_dates(column, known[0])
    assert wrong == []
    assert times.tolist()[:3] == moments
    assert times.isna().tolist() == [False] * 3 + [True] * 2


@pytest.mark.parametrize(
    "texts",
    [["old", "2020-01-01"], ["1.5", "2.5"], ["2020", "2021"], ["31/31/2020"], ["1-2"], [], ["?"], ["May be", "June 1"]],
)
def test_what_is_no_date(texts):
    assert date_format(texts) == ()


def test_two_formats_that_fit_are_both_told():
    assert date_format(["01/02/2020", "03/04/2021"]) == ("%d/%m/%Y", "%m/%d/%Y")
    assert date_format(["01/02/2020", "03/14/2021"]) == ("%m/%d/%Y",)


def test_zones_become_one_time():
    column = pd.Series(["2020-01-01T10:00:00+02:00", "2020-01-01T10:00:00Z"])
    times, _ = to_dates(column, date_format(column)[0])
    assert times.dt.hour.tolist() == [8, 10]
    zoned = pd.Series(pd.date_range("2020-01-01", periods=2, tz="Europe/Berlin"))
    assert to_dates(zoned)[0].tolist() == [pd.Timestamp("2019-12-31 23:00"), pd.Timestamp("2020-01-01 23:00")]


@pytest.mark.parametrize(
    ("values", "known"),
    [
        (pd.date_range("2020", periods=2), True),
        (pd.period_range("2020-01", periods=2, freq="M"), True),
        ([datetime.date(2020, 1, 1), None], True),
        ([np.datetime64("2020-01-01"), np.datetime64("2020-01-02")], True),
        (["2020-01-01"], False),
        ([datetime.date(2020, 1, 1), "x"], False),
        ([None, None], False),
        ([1, 2], False),
    ],
)
def test_what_is_a_date_without_being_text(values, known):
    assert is_date(pd.Series(values, dtype=None if known and not isinstance(values, list) else object)) == known


def test_parts_against_pythons_own_calendar():
    origin = datetime.datetime(2019, 1, 1)
    column = pd.Series([*DAYS, datetime.datetime(2020, 3, 1, 18), None])
    parts = date_parts(column, pd.Timestamp(origin))
    for i, moment in enumerate(column[:4]):
        expected = (moment.year, moment.month, moment.weekday(), moment.hour)
        assert tuple(parts[name][i] for name in ("year", "month", "weekday", "hour")) == expected
        assert parts["days"][i] == (moment - origin).total_seconds() / 86400
    assert all(math.isnan(values[4]) for values in parts.values())
