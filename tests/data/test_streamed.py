"""A table in Parquet files: its target, its parts, its samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.data import streamed
from permgrad.data.streamed import uniform


def splitmix64(n: int, seed: int) -> float:
    """Return the n-th number of SplitMix64, as its authors wrote it down, by whole numbers of any size."""
    mask = 2**64 - 1
    z = (seed + n * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return ((z ^ (z >> 31)) >> 11) * 2.0**-53


def write(path, **columns) -> None:
    n = len(next(iter(columns.values())))
    frame = pd.DataFrame({"a": np.arange(n) + 0.25, "text": ["x", "y"] * (n // 2), **columns})
    half = n // 2
    frame[:half].to_parquet(path / "part-0.parquet", row_group_size=40)
    frame[half:].to_parquet(path / "part-1.parquet", row_group_size=40, index=False)


def of(path, **columns) -> pg.StreamedTable:
    write(path, **columns)
    return pg.StreamedTable.from_files(path / "part-*.parquet", "y", sample_rows=50)


def test_hashes_are_splitmix64(monkeypatch):
    monkeypatch.setattr(streamed, "HASHED", 3)
    rows = np.array([0, 1, 2, 7, 2**31 - 1, 5, 12_000_000])
    seed = int(np.random.SeedSequence([42, 1]).generate_state(1, np.uint64)[0])
    np.testing.assert_array_equal(uniform(rows, 42, 1), [splitmix64(int(row), seed) for row in rows])
    assert splitmix64(1, 1234567) == (6457827717110365317 >> 11) * 2.0**-53  # a value that is published


def test_parts_are_disjoint_reproducible_and_of_their_shares(tmp_path):
    y = np.random.default_rng(0).normal(size=4000)
    table = of(tmp_path, y=y)
    parts = table.split(random_state=3)
    rows = [part.X.rows for part in parts]
    np.testing.assert_array_equal(np.sort(np.concatenate(rows)), np.arange(4000))
    np.testing.assert_allclose([len(part) / 4000 for part in parts], [0.6, 0.2, 0.2], atol=0.03)
    for part in parts:
        np.testing.assert_array_equal(part.y, y[part.X.rows])
    np.testing.assert_array_equal(table.split(random_state=3)[0].X.rows, rows[0])
    assert set(table.split(random_state=4)[0].X.rows) != set(rows[0])
    less, apart = parts[0].apart(0.0, 0.25, 0)
    assert not set(less.X.rows) & set(apart.X.rows)
    assert len(less) + len(apart) == len(parts[0])
    assert abs(len(apart) / len(parts[0]) - 0.25) < 0.03


def test_a_smaller_draw_is_the_beginning_of_a_larger_one(tmp_path):
    table = of(tmp_path, y=np.arange(400) / 7)
    few, many = table.draw(30, 0), table.draw(90, 0)
    pd.testing.assert_frame_equal(few[0], many[0][:30])
    np.testing.assert_allclose((few[0].a - 0.25) / 7, few[1])
    assert few[0].a.nunique() == 30
    assert len(table.draw(1000, 0)[0]) == 400
    assert not table.X._open  # no row group is held behind a draw
    sample = table.sample(0)
    assert isinstance(sample, pg.Table)
    assert len(sample) == 50


@pytest.mark.parametrize(
    "values",
    [
        np.arange(200) % 3,
        np.arange(200) / 7,
        np.arange(200),
        np.array(["no", "yes"] * 100),
        np.array([True, False] * 100),
        np.array([f"{i},5" for i in range(200)]),
        pd.Categorical(["b", "a"] * 100),
        np.array([0.5, 1.5] * 100),
    ],
    ids=["few", "fractions", "many", "text", "truth", "comma", "category", "two fractions"],
)
def test_task_and_target_are_those_of_the_whole_table(tmp_path, values):
    streams = of(tmp_path, y=values)
    whole = pg.Table.from_file(tmp_path / "part-*.parquet", "y")
    assert (streams.task, streams.classes) == (whole.task, whole.classes)
    assert streams.said[1:] == whole.said[1:2]
    assert np.asarray(streams.y).tolist() == whole.y.tolist()


def test_columns_left_out_and_kinds(tmp_path):
    write(tmp_path, y=np.arange(100) / 7, b=np.arange(100) % 7, c=np.arange(100))
    table = pg.StreamedTable.from_files(tmp_path, "y", drop=["c"], kinds={"b": "category", "text": "text"})
    assert table.features == ["a", "b"]
    sample = table.sample(0)
    assert isinstance(sample.X.b.dtype, pd.CategoricalDtype)
    assert table.notes == {"read": {"drop": ["c"], "kinds": {"b": "category", "text": "text"}}}


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1.5, None] * 50, "missing in 50 of 100 rows"),
        (["a", None] * 50, "missing in 50 of 100 rows"),
        ([1.5, np.inf] * 50, "infinite or missing"),
        (["a", " "] * 50, "blanks"),
        (["a"] * 100, "one value"),
    ],
)
def test_targets_that_cannot_be_used(tmp_path, y, message):
    with pytest.raises(pg.PermGradError, match=message):
        of(tmp_path, y=y)


def test_what_is_not_there_is_named(tmp_path):
    write(tmp_path, y=np.arange(100) / 7)
    for keywords, message in [
        ({"target": "z"}, "no column 'z' as the target"),
        ({"target": "y", "drop": ["z"]}, "no column 'z' to drop"),
        ({"target": "y", "kinds": {"z": "id"}}, "no column 'z' to say the kind of"),
        ({"target": "y", "drop": ["a", "text"]}, "no column is left"),
        ({"target": "y", "sample_rows": 2}, "sample_rows must be at least 10"),
    ]:
        with pytest.raises(pg.PermGradError, match=message):
            pg.StreamedTable.from_files(tmp_path, **keywords)


def test_a_class_needs_a_training_row(tmp_path):
    table = of(tmp_path, y=np.array(["a", "b"] * 100 + ["c", "c"])[:202])
    rows = np.flatnonzero(np.asarray(table.y) == "c")
    seed = next(s for s in range(999) if (uniform(rows, s, streamed.SPLIT) >= 0.6).all())
    with pytest.raises(pg.PermGradError, match="no training row is of class 'c'"):
        table.split(random_state=seed)
    with pytest.raises(pg.PermGradError, match="three positive shares"):
        table.split((0.5, 0.2, 0.2))


def test_it_shows_itself(tmp_path):
    assert repr(of(tmp_path, y=["a", "b"] * 50)).endswith("100 rows × 2 features, classification, 2 classes)")
