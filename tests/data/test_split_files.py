from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import permgrad as pg


@pytest.fixture
def parts(rng):
    X = pd.DataFrame(rng.normal(size=(30, 2)) / 3, columns=["a", "b c"])
    table = pg.Table(X, pd.Series(["yes", "no", "no"] * 10, name="answer"), name="t")
    return {"train": table.take(np.arange(20)), "test": table.take(np.arange(20, 30))}


@pytest.fixture
def paths(tmp_path):
    return {"train": tmp_path / "new" / "train.csv", "test": tmp_path / "new" / "test.csv"}


def test_written_once_then_read_to_the_last_bit(parts, paths):
    first = pg.read_or_write_splits(paths, parts)
    before = {part: path.read_bytes() for part, path in paths.items()}
    other = {"train": parts["test"], "test": parts["train"]}
    second = pg.read_or_write_splits(paths, other)  # files that are there win
    for part in parts:
        assert first[part].sha256 == second[part].sha256 == parts[part].sha256
        assert paths[part].read_bytes() == before[part]


def test_an_absent_part_is_named(parts, paths):
    pg.read_or_write_splits(paths, parts)
    paths["test"].unlink()
    with pytest.raises(pg.PermGradError, match=r"^test: no file .*test.csv, though other parts"):
        pg.read_or_write_splits(paths, parts)


def test_files_are_verified(parts, paths):
    pg.read_or_write_splits(paths, parts)
    good = paths["test"].read_text()
    paths["test"].write_text(paths["train"].read_text())
    with pytest.raises(pg.PermGradError, match="train and test share a row"):
        pg.read_or_write_splits(paths, parts)
    paths["test"].write_text(good.replace("b c", "d"))
    with pytest.raises(pg.PermGradError, match="absent: 'b c'; not expected: 'd'"):
        pg.read_or_write_splits(paths, parts)
    paths["test"].write_text(good.replace("yes", "maybe"))
    with pytest.raises(pg.PermGradError, match="must have the classes 'no', 'yes'"):
        pg.read_or_write_splits(paths, parts)
    paths["test"].write_text(good.replace("answer", "question"))
    with pytest.raises(pg.PermGradError, match="'answer' is not in the table"):
        pg.read_or_write_splits(paths, parts)


def test_a_place_that_cannot_be_written(parts, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(pg.PermGradError, match="cannot make"):
        pg.read_or_write_splits({part: tmp_path / "file" / part for part in parts}, parts)
