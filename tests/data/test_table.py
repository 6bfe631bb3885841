from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

import permgrad as pg


@pytest.fixture
def frame(rng) -> pd.DataFrame:
    return pd.DataFrame({"a": rng.normal(size=50), "b": list("xy") * 25, "y": [0, 1] * 25})


@pytest.mark.parametrize("writer", ["csv", "csv.gz", "parquet"])
def test_files_give_the_same_table(frame, writer, tmp_path):
    path = tmp_path / f"data.{writer}"
    frame.to_parquet(path) if writer == "parquet" else frame.to_csv(path, index=False)
    table = pg.Table.from_file(path, "y")
    assert table.name == "data"
    assert table.features == ["a", "b"]
    assert table.classes == [0, 1]
    assert table.sha256 == pg.Table.from_frame(frame, "y").sha256


def test_hash_sees_names_values_and_target(frame):
    table = pg.Table.from_frame(frame, "y")
    hashes = {
        table.sha256,
        pg.Table(table.X.rename(columns={"a": "c"}), table.y).sha256,
        pg.Table(table.X.assign(a=table.X.a + 1e-9), table.y).sha256,
        pg.Table(table.X, 1 - table.y).sha256,
    }
    assert len(hashes) == 4
    assert len(table.sha256) == 64


@pytest.mark.parametrize(
    ("y", "task"),
    [
        (["yes", "no"] * 15, "classification"),
        ([True, False] * 15, "classification"),
        (list(range(3)) * 10, "classification"),
        ([1.0, 2.0] * 15, "classification"),
        (list(range(30)), "regression"),
        (list(np.linspace(0, 1, 30)), "regression"),
    ],
)
def test_task_is_inferred(y, task):
    assert pg.Table(np.random.default_rng(0).normal(size=(30, 2)), y).task == task


def test_split_follows_the_published_protocol(frame):
    table = pg.Table.from_frame(frame.assign(row=np.arange(50.0)), "y")
    train, val, test = table.split(random_state=42)
    expected_train, rest = train_test_split(frame, test_size=0.4, random_state=42, stratify=frame.y)
    expected_val, expected_test = train_test_split(rest, test_size=0.5, random_state=42, stratify=rest.y)
    for part, expected in [(train, expected_train), (val, expected_val), (test, expected_test)]:
        assert part.X["row"].tolist() == expected.index.tolist()
        assert part.y.tolist() == expected.y.tolist()


@given(n=st.integers(40, 200), classes=st.integers(2, 4), random_state=st.integers(0, 2**31 - 1))
def test_split_loses_and_repeats_no_row(n, classes, random_state):
    y = np.arange(n) % classes
    parts = pg.Table(np.arange(float(n))[:, None], y).split(random_state=random_state)
    rows = np.concatenate([part.X["x0"] for part in parts])
    assert sorted(rows) == list(range(n))
    for part in parts:
        assert set(part.y) == set(range(classes))


def test_parts_are_not_checked_again(frame):
    part = pg.Table.from_frame(frame, "y").take(np.array([0, 2]))
    assert part.y.tolist() == [0, 0]
    assert part.X.index.tolist() == [0, 1]


X3 = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [1.0, 5.0, 3.0]})
BAD = {
    "absent target": (lambda: pg.Table.from_frame(X3, "c"), "'c' is not in the table; its columns are 'a', 'b'"),
    "target among the features": (lambda: pg.Table(X3, X3["a"].rename("b")), "'a' equals the target 'b' in every row"),
    "one class": (lambda: pg.Table(X3, [1, 1, 1]), "one class"),
    "one row": (lambda: pg.Table(X3[:1], [1]), "found 1 sample"),
    "fewer rows than classes": (lambda: pg.Table(X3, ["u", "v", "w"]), "3 classes in 3 rows"),
    "duplicate names": (lambda: pg.Table(X3.set_axis(["a", "a"], axis=1), [0, 1, 0]), "found 'a' more than once"),
    "infinite value": (lambda: pg.Table(X3.assign(b=[1, np.inf, 2]), [0, 1, 0]), "infinity in 'b'"),
    "infinite target": (lambda: pg.Table(X3, [0.5, np.inf, 1]), "infinite values"),
    "missing target": (lambda: pg.Table(X3, [0, np.nan, 1]), "missing in 1 of 3 rows"),
    "lengths": (lambda: pg.Table(X3, [0, 1]), "got 3 and 2"),
    "text regression": (lambda: pg.Table(X3, ["u", "v", "u"], task="regression"), "numeric target"),
    "unknown task": (lambda: pg.Table(X3, [0, 1, 0], task="ranking"), "'regression' or 'classification'"),
    "one dimension": (lambda: pg.Table(np.zeros(3), [0, 1, 0]), "Expected 2D array"),
    "no columns": (lambda: pg.Table(np.zeros((3, 0)), [0, 1, 0]), "0 feature"),
    "complex": (lambda: pg.Table(np.zeros((3, 1), complex), [0, 1, 0]), "Complex data not supported"),
    "sizes": (lambda: pg.Table(X3, [0, 1, 0]).split((0.5, 0.5, 0.5)), "sum to 1"),
    "rare class": (lambda: pg.Table(np.eye(8), [0, 0, 0, 0, 0, 0, 1, 1]).split(), "at least 5 rows of every class"),
    "levels": (lambda: pg.Table(pd.concat({"u": X3}, axis=1), [0, 1, 0]), "several levels"),
    "names alike as text": (lambda: pg.Table(X3.set_axis([1, "1"], axis=1), [0, 1, 0]), "found '1' more than once"),
    "target among numbered columns": (lambda: pg.Table(X3.set_axis([0, 1], axis=1), X3["a"].rename(1)), "'0' equals"),
    "two targets": (lambda: pg.Table(X3, X3), "1d array"),
    "mixed labels": (lambda: pg.Table(np.eye(6), pd.Series(["u", 1, "u", 1, "u", 1])), "mixes them"),
    "no such file": (lambda: pg.Table.from_file("absent.csv", "y"), "cannot read absent.csv"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_clear_line(case):
    call, message = BAD[case]
    with pytest.raises(pg.PermGradError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_repeated_columns_of_a_csv_are_not_renamed(tmp_path):
    (tmp_path / "t.csv").write_text("a,a,y\n1,2,0\n3,4,1\n")
    with pytest.raises(pg.PermGradError, match="found 'a' more than once"):
        pg.Table.from_file(tmp_path / "t.csv", "y")


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "string", "category", "float64[pyarrow]"])
def test_nullable_columns_and_targets(dtype):
    values = pd.Series([None, 1, 0, 1, 1, 0] * 4).astype("Int64")
    column = values.astype(str).astype(dtype) if dtype in ("string", "category") else values.astype(dtype)
    table = pg.Table(pd.DataFrame({"a": column, "b": np.arange(24.0)}), column.dropna().iloc[[0, 1] * 12])
    assert table.task == "classification"


def test_target_of_one_column():
    with pytest.warns(UserWarning, match="column-vector"):
        assert pg.Table(X3, np.array([[1], [0], [1]])).y.tolist() == [1, 0, 1]
    assert pg.Table(X3, pd.Series([1, 0, 1])).y.name == "target"


@pytest.mark.parametrize("name", ["broken.parquet", "broken.csv"])
def test_unreadable_file(name, tmp_path):
    (tmp_path / name).write_text("" if name.endswith("csv") else "no parquet")
    with pytest.raises(pg.PermGradError, match="is not a readable"):
        pg.Table.from_file(tmp_path / name, "y")


def test_further_rows_as_a_table_or_as_arrays():
    table = pg.Table(np.arange(8.0).reshape(4, 2), [0.5, 1.5, 2.5, 4], task="regression")
    for data in ((np.ones((2, 2)), [1, 2]), pg.Table(np.ones((2, 2)), [1.0, 2], task="regression")):
        rows = table.more_rows(data)
        assert (rows.task, rows.features, rows.y.tolist()) == ("regression", ["x0", "x1"], [1, 2])
        np.testing.assert_array_equal(rows.X, 1)
    for data, message in (
        (3, r"validation_data must be a pair \(X, y\) or a Table, got int"),
        ((np.ones((2, 2)), [1]), "must have a target for each row, got 2 rows and 1 targets"),
        ((np.ones((2, 3)), [1, 2]), "x2"),
    ):
        with pytest.raises(pg.PermGradError, match=message):
            table.more_rows(data)
