from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.data import checkup
from permgrad.data._alike import alike_in_target
from permgrad.data.checkup import histogram

N = 400


@pytest.fixture
def clean(rng) -> pd.DataFrame:
    """Columns of which nothing is to be said."""
    return pd.DataFrame(
        {
            "a": rng.normal(size=N),
            "b": rng.integers(0, 9, N),
            "kind": rng.choice(["u", "v", "w"], N),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, N), "D"),
        }
    )


@pytest.fixture
def y(clean, rng) -> np.ndarray:
    return np.where(clean["a"] + rng.normal(size=N) > 0, "yes", "no")


def findings(table: pg.Table, kind: str | None = None, **keywords) -> list:
    return [found for found in table.check(**keywords).findings if kind in (None, found.kind)]


def test_of_a_clean_table_nothing_is_found(clean, y):
    assert findings(pg.Table(clean, y)) == []
    assert findings(pg.Table(clean, clean["a"] ** 2 + clean["b"])) == []


def test_each_column_has_its_row(clean, y):
    size = pd.Categorical(np.array(["small", "large"])[clean["b"] % 2], ["small", "large"], ordered=True)
    frame = clean.assign(size=size, true=clean["a"] > 1, same=1, id=[f"C{i}" for i in range(N)])
    frame["note"] = [f"a text of no. {i}" for i in range(N)]
    frame.loc[:9, "a"] = np.nan
    check = pg.Table(frame, y).check()
    row = check.table.set_index("column")
    assert row["kind"].tolist() == [
        *("number", "number", "category", "date"),
        *("ordered category", "truth value", "constant", "identifier", "free text"),
    ]
    assert row["missing"].tolist() == [10, *[0] * 8]
    assert row["distinct"].tolist() == frame.nunique().tolist()
    assert (row.loc["b", "low"], row.loc["b", "high"]) == ("0", "8")
    assert row.loc["day", "low"] == str(frame["day"].min().date())
    assert row.loc["kind", "low"] == frame["kind"].value_counts().index[0]
    assert row["alone"].isna().tolist() == [False] * 6 + [True] * 3
    assert check.score == "AUC"
    assert row.loc["a", "alone"] > 0.7
    assert repr(check) == f"TableCheck(9 columns, {len(check.findings)} findings)"


def test_histograms(clean):
    assert histogram(pd.Series([0.0, 1, 1, 12, np.nan])) == (1, 2, *[0] * 9, 1)
    assert histogram(clean["b"]) == tuple(np.histogram(clean["b"], bins=12)[0])
    assert histogram(pd.Series(["u", "v", "u", None])) == (2, 1)
    assert histogram(pd.Series([f"c{i}" for i in range(50)])) == (1,) * 12


LEAKS = {
    "another word for it": lambda X, y: np.where(y == "yes", "ja", "nein"),
    "a number": lambda X, y: np.where(y == "yes", 3.0, 2.0) + X["a"] / 100,
    "a date that one class has": lambda X, y: pd.Series(np.where(y == "yes", X["day"], np.datetime64("NaT"))),
}


@pytest.mark.parametrize("case", LEAKS)
def test_what_tells_the_target_almost_alone(case, clean, y):
    (found,) = findings(pg.Table(clean.assign(late=LEAKS[case](clean, y)), pd.Series(y, name="y")), "leak")
    assert found.columns == ("late",)
    assert found.text.startswith("'late' tells 'y' almost alone (AUC 1.000)")
    assert "--drop" in found.advice


def test_a_class_of_two_rows_hides_no_leak(clean, y):
    labels = np.where(np.arange(N) < 2, "odd", y)
    (found,) = findings(pg.Table(clean.assign(late=np.where(labels == "yes", 1, 0)), labels), "leak")
    assert found.columns == ("late",)


def test_leaks_of_numbers_and_the_worst_first(clean, rng):
    y = pd.Series(clean["a"] * 3, name="y")
    X = clean.assign(nearly=y + 0.05 * rng.normal(size=N), exactly=y**3, far=y + rng.normal(size=N)).drop(columns="a")
    found = findings(pg.Table(X, y), "leak")
    assert {name for each in found for name in each.columns} == {"nearly", "exactly"}
    scores = [float(each.text.split("R² ")[1].rstrip(")")) for each in found]
    assert scores == sorted(scores, reverse=True)
    assert scores[1] >= 0.98


def test_repeated_rows_and_columns(clean, y):
    frame = pd.concat([clean, clean[:7]], ignore_index=True)
    labels = [*y, *np.where(y[:7] == "yes", "no", "yes")]
    (found,) = findings(pg.Table(frame, labels), "duplicate rows")
    assert found.text == "7 of 407 rows repeat another in all columns, and 7 of such rows with another target"
    twins = clean.assign(
        twin=clean["a"], other=clean["kind"].map({"u": 7, "v": 8, "w": 9}), near=clean["a"] * 1.5, n=clean["b"] * 2
    )
    pairs = [found.columns for found in findings(pg.Table(twins, y), "duplicate columns")]
    assert pairs == [("a", "twin"), ("b", "n"), ("kind", "other")]


def test_columns_that_hold_little(clean, y):
    frame = clean.assign(
        same="x", empty=np.nan, id=np.arange(N), mostly=np.where(np.arange(N) % 10, np.nan, clean["a"])
    )
    frame["many"] = [f"c{i % 150}" for i in range(N)]
    found = {each.kind: each for each in findings(pg.Table(frame, y))}
    assert found["constant"].columns == ("same", "empty")
    assert found["identifier"].columns == ("id",)
    assert found["missing"].text == "'mostly' is missing in 90% of the rows"
    assert found["levels"].text == "'many' has 150 levels"


@pytest.mark.parametrize(("value", "told"), [(-999, True), (-9, True), (9999, True), (-5, False), (8, False)])
def test_numbers_that_stand_for_nothing(value, told, clean, y):
    b = clean["b"].where(np.arange(N) % 20 != 0, value)
    found = findings(pg.Table(clean.assign(b=b), y), "sentinel")
    assert [each.text for each in found] == ([f"{value} stands in 20 rows of 'b', apart from all other values"] * told)
    if told:
        assert f"--na {value}" in found[0].advice


def test_classes(clean, y):
    few = np.where(np.arange(N) < 3, "odd", y)
    (found,) = findings(pg.Table(clean, few), "classes")
    assert found.text == "1 classes have fewer than 5 rows: 'odd'"
    assert "--rare merge" in found.advice
    rare = np.where(np.arange(N) < 12, "odd", y)
    (found,) = findings(pg.Table(clean, rare), "classes")
    assert found.text == "class 'odd' has 12 of 400 rows"


def test_rows_of_another_kind(clean, y):
    table = pg.Table(clean, y)
    train, test = table.take(np.arange(300)), table.take(np.arange(300, N))
    assert findings(train, "drift", test=test) == []
    other = pg.Table(test.X.assign(b=test.X["b"] + 9), test.y)
    (found,) = findings(train, "drift", test=other)
    assert found.columns[0] == "b"
    assert found.text.startswith("training and test rows can be told apart (AUC 1.00)")


def test_columns_that_change_with_time(clean, y):
    moved = clean.assign(b=clean["b"] + (clean["day"] - clean["day"].min()).dt.days / 30)
    (found,) = findings(pg.Table(moved, y), "period")
    assert found.columns[:2] == ("day", "b")
    assert "test on the latest rows" in found.advice


def test_it_repeats_itself_and_changes_nothing(clean, y):
    table = pg.Table(clean, y)
    before = table.sha256
    one, two = table.check(random_state=3), table.check(random_state=3)
    pd.testing.assert_frame_equal(one.table, two.table)
    assert one.findings == two.findings
    assert table.sha256 == before


def test_a_wide_table_is_measured_where_it_correlates(rng, monkeypatch):
    monkeypatch.setattr(checkup, "COLUMNS", 20)
    X = pd.DataFrame(rng.normal(size=(60, 90))).add_prefix("g")
    check = pg.Table(X, np.where(X["g77"] > 0, "u", "v")).check()
    assert check.table["alone"].notna().sum() == 20
    assert [found.columns for found in check.findings if found.kind == "leak"] == [("g77",)]


def test_rows_that_belong_together_are_told(rng):
    """Of a patient's rows the target is alike; a city of as many rows says nothing of it, and an age is no group."""
    patient = rng.integers(0, 60, 400)
    X = pd.DataFrame(
        {
            "patient_id": patient,
            "city": [f"c{i}" for i in rng.integers(0, 60, 400)],
            "age": patient + 20,
            "a": rng.normal(size=400),
        }
    )
    y = pd.Series(np.where(rng.normal(size=60)[patient] + rng.normal(0, 0.5, 400) > 0, "ill", "well"), name="state")
    (finding,) = (one for one in pg.Table(X, y).check().findings if one.kind == "groups")
    assert finding.columns == ("patient_id",)
    assert "--group patient_id" in finding.advice
    named = pg.Table(X.assign(patient_id=[f"p{i}" for i in patient]).drop(columns="city"), y)
    assert [one.columns for one in named.check().findings if one.kind == "groups"] == [("patient_id",)]
    assert not [one for one in pg.Table(X.drop(columns="patient_id"), y).check().findings if one.kind == "groups"]
    told = pg.Table(X.drop(columns="patient_id"), y, groups=patient)
    assert not [one for one in told.check().findings if one.kind == "groups"]


def test_intraclass_correlation_is_that_which_was_drawn(rng):
    """Half of the variance is the groups'."""
    groups = np.repeat(np.arange(500), 8)
    y = pd.Series(rng.normal(size=500)[groups] + rng.normal(size=4000))
    found = alike_in_target("slide", pd.Series(groups), y, classes=False)
    assert abs(found - 0.5) < 0.04
    assert alike_in_target("slide", pd.Series(rng.permutation(groups)), y, classes=False) == 0
