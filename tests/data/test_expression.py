"""Gene expression tables: read whole and in order, or one clear error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.data import expression
from permgrad.data.expression import read_expression, rename_columns

LABELS = ["BRCA", "NA", "NA", "BRCA"]


@pytest.fixture
def directory(tmp_path, rng):
    values = rng.uniform(0, 20, (4, 300))
    frame = pd.DataFrame(values, columns=[f"gene_{i}" for i in range(300)], index=[f"sample_{i}" for i in range(4)])
    frame.to_csv(tmp_path / "data.csv")
    pd.DataFrame({"Class": LABELS}, index=frame.index).to_csv(tmp_path / "labels.csv")
    return tmp_path, values


@pytest.mark.parametrize("block", [2**24, 6000])  # one block; one for each row
def test_it_reads_what_was_written(directory, monkeypatch, block):
    monkeypatch.setattr(expression, "BLOCK_BYTES", block)
    path, values = directory
    table = read_expression(path, name="tumours", verbose=True)
    np.testing.assert_array_equal(table.X.to_numpy(), values.astype(np.float32))
    assert table.X.to_numpy().dtype == np.float32
    assert table.name == "tumours"
    assert table.features[:2] == ["gene_0", "gene_1"]
    assert table.y.tolist() == LABELS
    assert table.y.name == "Class"


def change(path, name, old, new):
    text = (path / name).read_text()
    assert old in text
    (path / name).write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("labels.csv", ",Class\n", "", "must begin with a header row of two columns"),
        ("labels.csv", "Class", "Type", "must begin with a header row"),
        ("labels.csv", "sample_1", "sample_7", "in row 2 data.csv has 'sample_1', labels.csv 'sample_7'"),
        ("labels.csv", "sample_3,BRCA\n", "", "in row 4 data.csv has 'sample_3', labels.csv 'none'"),
        ("labels.csv", "sample_2,NA", "sample_2,NA,old", "two columns in every row, found 3 in 'sample_2,NA,old'"),
        ("data.csv", "gene_5,", "gene_4,", "gene names must differ, twice there are 'gene_4'"),
        ("data.csv", "sample_2,", "sample_2,much", "much.* is no number"),
        ("data.csv", "sample_2,", "sample_2,1,", "a line has 302 fields, 301 were expected"),
        ("data.csv", "sample_2,", "sample_2,nan,", "is not a readable table"),
    ],
)
def test_files_that_do_not_fit(directory, name, old, new, message):
    path, _ = directory
    change(path, name, old, new)
    with pytest.raises(pg.PermGradError, match=message):
        read_expression(path)


def test_a_missing_value_is_named(directory):
    path, _values = directory
    frame = pd.read_csv(path / "data.csv", index_col=0)
    frame.loc["sample_2", "gene_9"] = np.nan
    frame.to_csv(path / "data.csv")
    with pytest.raises(pg.PermGradError, match="sample 'sample_2' has no finite number for gene 'gene_9'"):
        read_expression(path)


def test_absent_and_empty_files(tmp_path):
    with pytest.raises(pg.PermGradError, match="cannot read .*data.csv: No such file"):
        read_expression(tmp_path)
    (tmp_path / "data.csv").write_text("")
    with pytest.raises(pg.PermGradError, match="one for each gene"):
        read_expression(tmp_path)
    (tmp_path / "data.csv").write_text(",gene_1,gene_2\n")
    with pytest.raises(pg.PermGradError, match="a header row and no samples"):
        read_expression(tmp_path)


def test_columns_get_names(directory):
    path, _ = directory
    table = read_expression(path)
    (path / "names.csv").write_text("id,symbol\ngene_1,TP53\ngene_2,XIST\ngene_3,XIST\nelse,ABC\n")
    assert rename_columns(table, path / "names.csv").features[:5] == [
        "gene_0", "TP53", "XIST (gene_2)", "XIST (gene_3)", "gene_4",
    ]  # fmt: skip
    for text, message in {
        "id\ngene_1\n": "must have two columns",
        "id,symbol\ngene_1,A\ngene_1,B\n": "names 'gene_1' more than once",
        "id,symbol\ngene_1,A,B\n": "two columns in every row, found 3",
        "id,symbol\nother,A\n": "names no column of the table",
    }.items():
        (path / "names.csv").write_text(text)
        with pytest.raises(pg.PermGradError, match=message):
            rename_columns(table, path / "names.csv")
