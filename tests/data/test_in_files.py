"""Rows in Parquet files, against the same files read whole."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.data import in_files
from permgrad.data.in_files import ParquetFiles, RowsInFiles, parquet_paths
from permgrad.training.batches import Batches, InOrder


@pytest.fixture
def whole(tmp_path) -> pd.DataFrame:
    """A frame of mixed columns; beside it, the same rows in three files of several row groups."""
    rng = np.random.default_rng(0)
    n = 1000
    frame = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    frame["n"] = np.arange(n)
    frame["kind"] = pd.Categorical(rng.choice(["u", "v", "w"], n))
    frame["text"] = rng.choice(["x", "y"], n)
    frame["on"] = rng.random(n) < 0.5
    frame["day"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D")
    frame.loc[::7, "b"] = np.nan
    for i, (first, last) in enumerate([(0, 300), (300, 310), (310, 1000)]):
        part = frame[first:last].reset_index(drop=True)
        part.to_parquet(tmp_path / f"part-{i}.parquet", row_group_size=130)
    return frame


@pytest.fixture
def files(whole, tmp_path) -> ParquetFiles:
    return ParquetFiles(parquet_paths(tmp_path))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Blocks so small that a few hundred rows need many of them."""
    monkeypatch.setattr(in_files, "READ_ROWS", 16)
    monkeypatch.setattr(in_files, "ENCODED_ROWS", 100)
    monkeypatch.setattr(in_files, "PIECE", 20)
    monkeypatch.setattr(in_files, "AT_ONCE", 3)
    monkeypatch.setattr(in_files, "LEAST_BUFFERED", 64)
    monkeypatch.setattr(in_files, "MOST_BUFFERED", 128)


def same(left: pd.DataFrame, right: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(left.astype(object), right.reset_index(drop=True).astype(object))


def test_rows_come_as_they_stand_in_any_order(files, whole):
    rows = RowsInFiles(files, list(whole))
    assert rows.shape == whole.shape
    same(rows.frame(slice(None)), whole)
    at = np.random.default_rng(1).permutation(1000)[:400]
    same(rows.frame(at), whole.iloc[at])
    same(rows.take(at).frame(slice(10, 50)), whole.iloc[at[10:50]])
    same(rows.frame(np.array([5, 5, 999, 5])), whole.iloc[[5, 5, 999, 5]])
    assert rows.frame(np.arange(0)).shape == (0, 7)


def test_an_open_row_group_is_read_back_and_forth(files, whole):
    rows = RowsInFiles(files, list(whole))
    for at in (100, 5, 101, 101, 60, 129, 0):  # of the first row group, in batches of 16 rows
        same(rows.frame(np.array([at])), whole.iloc[[at]])


def test_only_some_columns_in_another_order(files, whole):
    same(RowsInFiles(files, ["text", "a"]).frame(slice(0, 200)), whole[["text", "a"]][:200])


def test_encoded_rows_are_those_of_the_whole_table(files, whole):
    encoder = pg.ColumnEncoder().fit(whole[:500])
    rows = RowsInFiles(files, list(whole)).encoded(encoder)
    expected = encoder.transform(whole)
    np.testing.assert_array_equal(rows[:], expected)
    assert rows[:].dtype == np.float32
    at = np.random.default_rng(2).permutation(1000)[:300]
    np.testing.assert_array_equal(rows.take(at)[:], expected[at])


@pytest.mark.parametrize("share", [1.0, 0.6])
def test_an_epoch_is_each_row_once_with_its_own_target(files, whole, share):
    encoder = pg.ColumnEncoder().fit(whole)
    chosen = np.flatnonzero(np.random.default_rng(3).random(1000) < share)
    rows = RowsInFiles(files, list(whole), chosen, encoder)
    batches = Batches(rows, chosen, batch_size=32, random_state=0)
    expected = encoder.transform(whole)
    epochs = []
    for _ in range(2):
        X, y = (np.concatenate(parts) for parts in zip(*(batches[i] for i in range(len(batches))), strict=True))
        np.testing.assert_array_equal(X, expected[y])
        np.testing.assert_array_equal(np.sort(y), chosen)
        epochs.append(y)
        batches.on_epoch_end()
    assert (epochs[0] != epochs[1]).any()


def test_rows_in_order_come_in_batches(files, whole):
    encoder = pg.ColumnEncoder().fit(whole)
    rows = RowsInFiles(files, list(whole), None, encoder)
    blocks = InOrder(rows, batch_size=50)
    np.testing.assert_array_equal(np.concatenate([blocks[i][0] for i in range(len(blocks))]), encoder.transform(whole))
    np.testing.assert_array_equal(blocks[3][0], encoder.transform(whole[150:200]))


def test_a_mixed_order_reads_each_row_group_once(files, whole, monkeypatch):
    opened = []
    batches = ParquetFiles.batches
    monkeypatch.setattr(ParquetFiles, "batches", lambda self, *args: opened.append(args[0]) or batches(self, *args))
    chosen = np.flatnonzero(np.random.default_rng(3).random(1000) < 0.6)
    rows = RowsInFiles(files, ["a", "b"], chosen)
    order = rows.mixed_order(96, np.random.default_rng(0))
    for start in range(0, len(order), 96):
        rows.frame(order[start : start + 96])
        assert len(rows._open) <= rows.at_once
    assert sorted(opened) == list(range(len(files.groups)))
    assert not rows._open


def test_of_wide_files_fewer_row_groups_are_open(files, whole, monkeypatch):
    monkeypatch.setattr(in_files, "COLUMNS_AT_ONCE", 15)
    assert RowsInFiles(files, list(whole)).at_once == 2
    assert RowsInFiles(files, ["a"]).at_once == 3


def test_a_mixed_order_mixes_row_groups(files):
    rows = RowsInFiles(files, ["a"])
    order = rows.mixed_order(120, np.random.default_rng(0))
    groups = np.searchsorted(files.starts, order, side="right")
    assert len(set(groups[:120])) >= 3
    assert (rows.mixed_order(120, np.random.default_rng(0)) == order).all()


def test_an_unseen_level_is_said_once(files, whole):
    encoder = pg.ColumnEncoder().fit(whole[whole.kind != "w"][["a", "kind"]].astype({"kind": object}))
    rows = RowsInFiles(files, ["a", "kind"], None, encoder)
    with pytest.warns(UserWarning, match="'kind' holds 'w', not seen in training") as caught:
        encoded = rows[:]
    assert len(caught) == 1
    assert not encoded[(whole.kind == "w").to_numpy(), 1:].any()


def test_texts_for_a_missing_value(files, whole):
    rows = RowsInFiles(files, ["a", "text"], None, na=["x"])
    assert (rows.frame(slice(None)).text.isna() == (whole.text == "x")).all()


def test_an_index_of_pandas_is_no_column(tmp_path):
    pd.DataFrame({"a": [1, 2]}, index=["p", "q"]).to_parquet(tmp_path / "t.parquet")
    assert ParquetFiles([tmp_path / "t.parquet"]).columns == ["a"]


def test_files_of_other_columns_are_refused(tmp_path, whole):
    whole[["a"]].to_parquet(tmp_path / "part-9.parquet")
    with pytest.raises(pg.FileFormatError, match=r"part-9.parquet must have the columns of .*part-0.parquet"):
        ParquetFiles(parquet_paths(tmp_path))


def test_what_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(pg.FileFormatError, match=r"expected Parquet files at .*, got '.*t.csv'"):
        parquet_paths(tmp_path / "t.csv")
    with pytest.raises(pg.FileFormatError, match="got none"):
        parquet_paths(tmp_path / "part-*.parquet")
    (tmp_path / "t.parquet").write_text("a\n1\n")
    with pytest.raises(pg.FileFormatError, match="a readable Parquet table"):
        ParquetFiles(parquet_paths(tmp_path / "t.parquet"))


def test_raw_rows_are_no_numbers_yet(files):
    with pytest.raises(pg.PermGradError, match="give an encoder"):
        RowsInFiles(files, ["a"])[:2]
