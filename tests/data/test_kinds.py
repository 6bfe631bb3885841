from __future__ import annotations

import datetime
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import permgrad as pg
from permgrad.data._kinds import TextRule, cleaned, tells_nothing

N = 60


@pytest.fixture
def messy(rng) -> pd.DataFrame:
    """What people have: each column as text."""
    day = pd.Timestamp("2019-03-01") + pd.to_timedelta(rng.integers(0, 900, N), "D")
    v = rng.normal(size=N).round(2).astype(str)
    v[:9] = "?"
    return pd.DataFrame(
        {
            "id": [f"C{i:05d}" for i in rng.permutation(N)],
            "spend": [f"${value:,.2f}" for value in rng.gamma(2, 700, N)],
            "rate": [f"{value:.1f} %" for value in rng.uniform(0, 30, N)],
            "signup": day.strftime("%d/%m/%Y"),
            "v": v,
            "flag": rng.choice(["Y", "N", "?"], N),
            "note": [f"text no. {i}, of some length" for i in range(N)],
        }
    )


def test_columns_are_told_by_their_values(messy):
    clean = cleaned(messy)
    kinds = {name: column.dtype.kind for name, column in clean.frame.items()}
    assert kinds == {"id": "O", "spend": "f", "rate": "f", "signup": "M", "v": "f", "flag": "O", "note": "O"}
    assert clean.rules == {
        **dict.fromkeys(("spend", "rate", "v"), TextRule("number", ".")),
        "signup": TextRule("date", "%d/%m/%Y"),
    }
    for i, row in messy.iterrows():
        assert clean.frame["spend"][i] == float(row["spend"].replace("$", "").replace(",", ""))
        assert clean.frame["signup"][i] == datetime.datetime.strptime(row["signup"], "%d/%m/%Y")
    assert clean.frame["v"].isna().sum() == 9
    assert clean.frame["flag"].isna().sum() == (messy["flag"] == "?").sum()
    assert clean.said == [
        "numbers in text: 'spend', 'rate', 'v'",
        "dates in text, day/month/year: 'signup'",
        "9 values of 'v' stand for nothing, and are missing: '?'",
        f"{(messy['flag'] == '?').sum()} values of 'flag' stand for nothing, and are missing: '?'",
    ]
    again = cleaned(clean.frame)
    assert again.said == []
    pd.testing.assert_frame_equal(again.frame, clean.frame)


OBJECTS = {
    "decimals": ([Decimal("1.5"), None, Decimal("2")], [1.5, np.nan, 2]),
    "numbers and pd.NA": ([1.0, pd.NA, 2.5], [1, np.nan, 2.5]),
    "whole numbers and None": ([1, None, 2**53 - 1], [1, np.nan, 2**53 - 1]),
    "dates": ([datetime.date(2020, 1, 1), None, datetime.date(2020, 1, 2)], "M8"),
    "times with a zone": (pd.date_range("2020", periods=3, tz="UTC"), "M8"),
    "spans of time": (pd.to_timedelta([1.5, 2, 3], "D"), [1.5, 2, 3]),
    "truth values": ([True, None, False], "O"),
    "text and numbers": (["1", 2, 3.5], "O"),
}


@pytest.mark.parametrize("case", OBJECTS)
def test_columns_of_objects(case):
    values, expected = OBJECTS[case]
    column = cleaned(pd.DataFrame({"a": values})).frame["a"]
    if isinstance(expected, str):
        assert column.dtype.str[1:3] == expected or column.dtype.kind == expected
    else:
        np.testing.assert_array_equal(column, expected)


def test_what_the_user_says_counts(messy):
    frame = messy.assign(zip=np.arange(N) % 7 + 8000, code=[f"{i:03d}" for i in range(N)], k=np.arange(N))
    said = {"id": "category", "zip": "category", "code": "number", "note": "text", "k": "id", "flag": "category"}
    clean = cleaned(frame, said)
    assert clean.frame.columns.tolist() == ["id", "spend", "rate", "signup", "v", "flag", "zip", "code"]
    assert set(clean.frame["zip"].cat.categories) == {str(8000 + i) for i in range(7)}
    np.testing.assert_array_equal(clean.frame["code"], np.arange(N))
    assert clean.said[-1] == "left out, as you said: 'note', 'k'"
    for kinds, message in (
        ({"age": "number"}, "no column 'age' to say the kind of"),
        ({"zip": "colour"}, "a column is one of 'number', 'category', .*, got 'colour'"),
        ({"flag": "number"}, r"column 'flag' cannot be numbers: it holds 'N', 'Y'; say which texts .* \(na, --na\)"),
        ({"flag": "date"}, "expected dates such as 2024-01-31 in 'flag', got 'N', 'Y'"),
        ({"zip": "date"}, "column 'zip' cannot be dates: it holds numbers"),
    ):
        with pytest.raises(pg.PermGradError, match=message):
            cleaned(frame, kinds)


def test_a_files_decimal_mark_decides_where_both_fit():
    frame = pd.DataFrame({"a": ["1,234", "2,345"], "b": ["1.5", "2.5"]})
    assert cleaned(frame).frame["a"].tolist() == [1234, 2345]
    assert cleaned(frame, decimal=",").frame.to_dict("list") == {"a": [1.234, 2.345], "b": [1.5, 2.5]}


NOTHING = {
    "another text in each row": ([f"C{i}" for i in range(N)], "c", "an identifier, with another text"),
    "words": ([f"the {i % 40} of all the texts" for i in range(N)], "c", "free text, 6 words on average"),
    "an identifier by name": (range(100, 100 + N), "customer_id", "an identifier by its name"),
    "what pandas makes of an index": (range(N), "Unnamed: 0", "an identifier by its name"),
    "camel's humps": (range(N), "userId", "an identifier by its name"),
    "a count with another name": (range(N), "visits", ""),
    "no whole numbers": (np.arange(N) + 0.5, "id", ""),
    "an identifier that repeats": ([i % 40 for i in range(N)], "id", ""),
    "few rows": ([f"C{i}" for i in range(30)], "c", ""),
    "levels": (["a", "b"] * 30, "c", ""),
    "long levels": (["a rather long name of it", "another long name of it"] * 30, "c", ""),
    "humid is no id": (range(N), "humid", ""),
}


@pytest.mark.parametrize("case", NOTHING)
def test_columns_that_tell_nothing(case):
    values, name, reason = NOTHING[case]
    found = tells_nothing(name, pd.Series(values))
    assert found.startswith(reason)
    assert bool(found) == bool(reason)
    assert tells_nothing(name, pd.Series(values).astype("category")) == ""


def test_a_messy_table_is_encoded_and_so_are_its_new_rows(messy):
    """New rows come as text, and mean what they meant at fit: whether alone, or in whichever form."""
    table = pg.Table(messy, np.arange(N) % 2)
    with pytest.warns(UserWarning, match="left out"):
        encoder = pg.ColumnEncoder().fit(table)
    assert set(encoder.left_out_) == {"id", "note"} == set(encoder.constant_)
    with pytest.warns(UserWarning, match="left out"):
        plain = pg.ColumnEncoder().fit(messy)
    assert plain.to_dict() == encoder.to_dict()
    restored = pg.ColumnEncoder.from_dict(json.loads(json.dumps(encoder.to_dict())))
    expected = encoder.encode(table.X)
    for one in (encoder, restored):
        np.testing.assert_array_equal(one.transform(messy), expected)
        np.testing.assert_array_equal(np.vstack([one.transform(messy[i : i + 1]) for i in range(N)]), expected)
        np.testing.assert_array_equal(one.transform(table.X), expected)
    new = messy[:1].assign(spend="$1.5", signup="13/12/2030", v="-", flag=" ? ")
    row = dict(zip(encoder.get_feature_names_out(), encoder.transform(new)[0], strict=True))
    assert (row["spend"], row["signup (month)"], row["v=(missing)"], row["flag=(missing)"]) == (1.5, 12, 1, 1)
    for change, message in (
        ({"spend": "dear"}, "expected numbers as at fit, got other values in 'spend'"),
        ({"signup": "soon"}, "expected dates such as 31/01/2024 in 'signup', got 'soon'"),
        ({"signup": 3}, "in 'signup'"),
    ):
        with pytest.raises(pg.PermGradError, match=message):
            encoder.transform(messy.assign(**change))


def test_further_rows_of_a_table_come_as_text_too(messy):
    table = pg.Table(messy, np.arange(N) % 2)
    more = table.more_rows((messy, np.arange(N) % 2))
    pd.testing.assert_frame_equal(more.X, table.X)
    with pytest.raises(pg.PermGradError, match="expected numbers in 'v', got 'old'"):
        table.more_rows((messy.assign(v="old"), np.arange(N) % 2))


def test_a_date_is_one_column_of_the_table(rng):
    start = pd.Timestamp("2019-12-30")
    hours = rng.integers(0, 24 * 400, N)
    when = start + pd.to_timedelta(hours, "h")
    frame = pd.DataFrame({"when": when, "noon": when.normalize() + pd.Timedelta("12h"), "x": rng.normal(size=N)})
    frame.loc[:9, "noon"] = pd.NaT
    encoder = pg.ColumnEncoder().fit(frame)
    names = encoder.get_feature_names_out().tolist()
    assert names == [
        "x",
        *(f"when ({part})" for part in ("days", "year", "month", "weekday", "hour")),
        *(f"noon ({part})" for part in ("days", "year", "month", "weekday")),
        "noon=(missing)",
    ]
    assert {name: at.tolist() for name, at in encoder.groups_.items()} == {
        "when": [1, 2, 3, 4, 5],
        "noon": [6, 7, 8, 9, 10],
        "x": [0],
    }
    assert encoder.n_numbers_ == 10
    encoded = pd.DataFrame(encoder.transform(frame), columns=names)
    first = when.min()
    np.testing.assert_allclose(encoded["when (days)"], (when - first).total_seconds() / 86400, rtol=1e-6)
    np.testing.assert_array_equal(encoded["when (weekday)"], when.weekday)
    known = frame["noon"].notna()
    assert (encoded["noon (month)"][~known] == encoded["noon (month)"][known].median()).all()
    np.testing.assert_array_equal(encoded["noon=(missing)"], ~known)
    np.testing.assert_array_equal(encoder.number_gaps(frame)[:, -1], ~known)


def test_the_first_day_is_learned_from_training_rows():
    train = pd.DataFrame({"d": pd.date_range("2020-01-10", periods=N), "x": range(N)})
    encoder = pg.ColumnEncoder().fit(train)
    early = encoder.transform(pd.DataFrame({"d": ["2020-01-01"], "x": [0]}))
    assert early[0, encoder.get_feature_names_out().tolist().index("d (days)")] == -9


def test_names_of_encoded_columns_differ(rng):
    colour = rng.choice(["red", "blue"], N)
    X = pd.DataFrame({"colour": colour, "colour=red": rng.normal(size=N), "colour=blue (2)": rng.normal(size=N)})
    names = pg.ColumnEncoder().fit(X).get_feature_names_out().tolist()
    assert names == ["colour=red", "colour=blue (2)", "colour=blue", "colour=red (2)"]
    Z = pd.DataFrame({"x": rng.choice(["q=b", "c"], N), "x=q": rng.choice(["b", "c"], N)})
    assert pg.ColumnEncoder().fit(Z).get_feature_names_out().tolist() == ["x=c", "x=q=b", "x=q=b (2)", "x=q=c"]


def test_whole_numbers_that_float32_takes_for_each_other(rng):
    frame = pd.DataFrame({"account": rng.integers(2**24, 2**40, 300), "near": 2**30 + np.arange(300)})
    with pytest.warns(
        UserWarning, match="'account' has 300 different whole numbers, which float32 reduces to"
    ) as caught:
        pg.ColumnEncoder().fit(frame.assign(account=[2**40 + 2**39 * (i % 2) + 3 * i for i in range(300)]))
    assert len(caught) == 1
    pg.ColumnEncoder().fit(frame)  # and no warning: apart enough, or the offset keeps them apart


def tables_of_arrow(columns: dict) -> list:
    tables = [pa.table(columns)]
    try:
        import polars as pl
    except ImportError:
        return tables
    return [*tables, pl.DataFrame(columns)]


def test_arrows_tables_keep_names_and_kinds(rng):
    columns = {
        "age": rng.normal(size=N),
        "day": [datetime.date(2020, 1, 1) + datetime.timedelta(days=i) for i in range(N)],
        "price": [Decimal(f"{value:.2f}") for value in rng.normal(size=N)],
        "kind": rng.choice(["a", "b"], N).tolist(),
    }
    y = (columns["age"] > 0).astype(int)
    for X in tables_of_arrow(columns):
        table = pg.Table(X, y)
        assert table.features == list(columns)
        assert [column.dtype.kind for _, column in table.X.items()] == ["f", "M", "f", "O"]
        encoder = pg.ColumnEncoder().fit(X)
        assert encoder.feature_names_in_.tolist() == list(columns)
        np.testing.assert_array_equal(encoder.transform(X), encoder.transform(table.X))
        whole = X.append_column("y", pa.array(y)) if isinstance(X, pa.Table) else X.with_columns(y=y)
        assert pg.Table.from_frame(whole, "y").sha256 == pg.Table(X, pd.Series(y, name="y")).sha256
