"""What is known of rows: which belong together, when they are of, how much they weigh, which part they are in."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.data._splitting import folds, holdout
from permgrad.data.rows import RowFacts

N = 300


@pytest.fixture
def frame(rng):
    patient = rng.integers(0, 40, N)
    return pd.DataFrame(
        {
            "age": rng.normal(size=N),
            "patient": [f"p{i}" for i in patient],
            "visit": pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 200, N), "D"),
            "w": rng.integers(0, 4, N),
            "part": rng.choice(["train", "validation", "test"], N, p=[0.5, 0.25, 0.25]),
            "label": rng.choice(["a", "b"], N),
        }
    )


def of(frame, **columns):
    kept = [name for name in frame if name in {"age", "label", *columns.values()}]
    return pg.Table.from_frame(frame[kept], "label", **columns)


def test_columns_that_hold_facts_are_no_features_but_for_the_time(frame):
    table = of(frame, group="patient", time="visit", weight="w")
    assert table.features == ["age", "visit"]
    assert table.groups.tolist() == frame["patient"].tolist()
    assert table.weights.tolist() == frame["w"].tolist()
    assert of(frame, time="visit").times.tolist() == frame["visit"].tolist()
    dropped = pg.Table.from_frame(frame[["age", "visit", "label"]], "label", time="visit", drop=["visit"])
    assert dropped.features == ["age"]
    assert dropped.times.nunique() == frame["visit"].nunique()
    assert any("40 groups" in line for line in table.said)


def test_rows_that_are_taken_keep_what_is_known_of_them(frame):
    table = of(frame, group="patient", time="visit", weight="w")
    rows = np.array([7, 3, 250])
    part = table.take(rows)
    for fact, column in (("groups", "patient"), ("times", "visit"), ("weights", "w")):
        assert getattr(part, fact).tolist() == frame[column].iloc[rows].tolist()
    both = part.with_rows(table.take(np.array([1])))
    assert both.groups.tolist() == frame["patient"].iloc[[7, 3, 250, 1]].tolist()
    assert pg.Table(table, table.y).groups.tolist() == table.groups.tolist()


def test_the_hash_knows_them(frame):
    hashes = {of(frame).sha256, of(frame, group="patient").sha256, of(frame, weight="w").sha256}
    assert len(hashes) == 3
    assert of(frame, weight="w").sha256 == of(frame, weight="w").sha256


@pytest.mark.parametrize("classes", [True, False])
def test_no_group_is_in_two_parts(frame, classes):
    frame["label"] = frame["label"] if classes else frame["age"] + 1
    table = of(frame, group="patient")
    for seed in range(5):
        parts = table.split(random_state=seed)
        seen = [set(part.groups) for part in parts]
        assert len(set.union(*seen)) == sum(map(len, seen))
        assert sum(map(len, parts)) == N
        assert 0.45 < len(parts[0]) / N < 0.75
    assert "groups to train" in table.how_split()


def test_the_latest_are_tested_and_the_latest_before_validate(frame):
    train, val, test = of(frame, time="visit").split()
    assert train.times.max() < val.times.min()
    assert val.times.max() < test.times.min()
    assert abs(len(test) / N - 0.2) < 0.02
    assert abs(len(val) / N - 0.2) < 0.02
    said = of(frame, time="visit").how_split()
    assert f"latest by visit, from {test.times.min().date()} on" in said


def test_groups_with_times_are_apart_and_in_order():
    """Thirty patients, of whom each begins a day later and comes back for ten days."""
    days = np.repeat(np.arange(30), 10) + np.tile(np.arange(10), 30)
    table = pg.Table(
        pd.DataFrame({"a": np.arange(300.0)}), np.arange(300) % 2, groups=np.repeat(np.arange(30), 10), times=days
    )
    train, val, test = table.split()
    assert train.times.max() < val.times.min()
    assert val.times.max() < test.times.min()
    assert not set(train.groups) & set(val.groups)
    assert not (set(train.groups) | set(val.groups)) & set(test.groups)
    assert test.times.min() == 24
    assert "later rows of earlier groups left out" in table.how_split()


def test_a_column_says_the_parts(frame):
    parts = of(frame, split="part").split()
    for part, name in zip(parts, ("train", "validation", "test"), strict=True):
        assert part.X["age"].tolist() == frame["age"][frame["part"] == name].tolist()
    assert "by the column 'part'" in of(frame, split="part").how_split()


def test_folds_keep_groups_and_roll_forward(frame):
    y = pd.Series(frame["label"])
    by_group = RowFacts.of(N, groups=frame["patient"])
    patients = frame["patient"].to_numpy()
    decided = np.zeros(N, int)
    for fitted, deciding in folds(y, by_group, 5, 0, classes=True):
        assert not set(patients[fitted]) & set(patients[deciding])
        decided[deciding] += 1
    assert (decided == 1).all()
    by_time = RowFacts.of(N, times=frame["visit"])
    last = pd.Timestamp("1900-01-01")
    for fitted, deciding in folds(y, by_time, 4, 0, classes=True):
        times = frame["visit"].iloc[deciding]
        assert frame["visit"].iloc[fitted].max() < times.min()
        assert last < times.min()
        last = times.max()
    both = RowFacts.of(N, groups=np.arange(N) // 5, times=np.arange(N) // 5)
    for fitted, deciding in folds(y, both, 4, 0, classes=True):
        assert fitted.max() < deciding.min()


def test_a_share_of_whole_groups_holds_all_classes():
    """Of groups of one class each, both classes are on both sides."""
    groups, y = np.repeat(np.arange(10), 6), pd.Series(np.repeat(["a"] * 7 + ["b"] * 3, 6))
    for share in (0.2, 0.25, 0.3):
        rest, held = holdout(y, RowFacts.of(60, groups=groups), share, 0, classes=True)
        assert set(y[rest]) == set(y[held]) == {"a", "b"}
        assert abs(len(held) / 60 - share) <= 0.1


def test_test_rows_of_another_file(frame, tmp_path):
    frame["city"] = np.where(np.arange(N) % 2, "Rome", "Bonn")
    first, second = frame.iloc[:200], frame.iloc[200:].assign(city="Oslo", extra=1)
    first.to_csv(tmp_path / "a.csv", index=False, sep=";", decimal=",")
    second[second.columns[::-1]].to_csv(tmp_path / "b.csv", index=False, sep=";", decimal=",")
    table = pg.Table.from_file(
        tmp_path / "a.csv", "label", test=tmp_path / "b.csv", time="visit", weight="w", drop=["part", "patient"]
    )
    train, val, test = table.split()
    assert test.X["age"].tolist() == frame["age"].iloc[200:].tolist()
    assert test.weights.tolist() == frame["w"].iloc[200:].tolist()
    assert train.times.max() < val.times.min()
    assert len(train) + len(val) == 200
    assert set(test.X["city"]) == {"Oslo"}
    assert table.notes["read"]["test"] == str(tmp_path / "b.csv")


def test_what_cannot_be_known_of_rows(frame, tmp_path):
    def refused(match, **columns):
        with pytest.raises(pg.PermGradError, match=match):
            of(frame, **columns)

    refused("no column 'nobody'", group="nobody")
    refused("must be different columns", group="patient", weight="patient")
    refused("times must be dates or numbers", time="patient")
    refused("define the validation rows", split="part", time="visit")
    refused("are in more than one part", split="part", group="patient")
    frame["part"] = np.where(frame["part"] == "test", "train", frame["part"])
    refused("no row is 'test'", split="part")
    frame["part"] = "Test"
    refused("must hold 'train', 'validation' or 'test', it holds 'Test'", split="part")
    frame["w"] = -1
    refused("weights must be finite numbers of at least 0", weight="w")
    frame.loc[3, "patient"] = None
    refused("must be known of each row, missing in 1", group="patient")
    with pytest.raises(pg.PermGradError, match="one value for each of 2 rows, got 1"):
        pg.Table([[1], [2]], [0, 1], groups=["a"])


def test_what_cannot_be_split(frame):
    frame["visit"] = 2023
    with pytest.raises(pg.PermGradError, match="there is only one time"):
        of(frame, time="visit").split()
    frame["patient"] = "p"
    with pytest.raises(pg.PermGradError, match="there is only one group"):
        of(frame, group="patient").split()
    frame["visit"] = np.arange(N)
    frame["label"] = np.where(np.arange(N) > 250, "b", "a")
    with pytest.raises(pg.PermGradError, match="class 'b' has no training row"):
        of(frame, time="visit").split()


def test_groups_of_both_files_are_refused(frame, tmp_path):
    frame = frame[["age", "patient", "label"]]
    frame.iloc[:200].to_csv(tmp_path / "a.csv", index=False)
    frame.iloc[200:].to_csv(tmp_path / "b.csv", index=False)
    read = lambda **more: pg.Table.from_file(tmp_path / "a.csv", "label", test=tmp_path / "b.csv", **more)  # noqa: E731
    with pytest.raises(pg.PermGradError, match="are in more than one part"):
        read(group="patient")
    with pytest.raises(pg.PermGradError, match="rare cannot be had beside a test file"):
        read(rare="drop")
    frame.iloc[200:].assign(label="c").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(pg.PermGradError, match="holds 'c', which no other row does"):
        read(drop=["patient"])
    frame.iloc[200:].drop(columns="age").to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(pg.PermGradError, match="test rows have no column 'age'"):
        read(drop=["patient"])
