from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.data import reading
from permgrad.data.reading import ReadOptions, kind_of, name_of, read_any


@pytest.fixture
def frame(rng) -> pd.DataFrame:
    """Numbers of all digits, gaps, letters beyond ASCII, quotes and separators in text."""
    city = rng.choice(["Zürich", "Århus", 'a "quoted", one', "x;y|z"], 60)
    v = rng.normal(size=60)
    v[:4] = np.nan
    return pd.DataFrame({"v": v, "city": city, "n": rng.integers(0, 9, 60), "y": rng.choice(["yes", "no"], 60)})


def write(frame: pd.DataFrame, path, **keywords) -> None:
    frame.to_csv(path, index=False, **keywords)


DIALECTS = {
    "plain": ({}, ""),
    "semicolons and decimal commas": ({"sep": ";", "decimal": ","}, "read as ';'-separated, decimal comma"),
    "tabs": ({"sep": "\t"}, "read as tab-separated"),
    "bars": ({"sep": "|"}, "read as '|'-separated"),
    "a byte order mark": ({"encoding": "utf-8-sig"}, ""),
    "Windows": ({"encoding": "cp1252"}, "read as cp1252"),
    "UTF-16": ({"encoding": "utf-16"}, "read as utf-16"),
    "UTF-16 without a mark": ({"encoding": "utf-16-le"}, "read as utf-16-le"),
}


@pytest.mark.parametrize("case", DIALECTS)
def test_text_of_any_dialect_is_the_same_table(case, frame, tmp_path):
    keywords, said = DIALECTS[case]
    write(frame, tmp_path / "t.csv", **keywords)
    read = read_any(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(read.frame, frame)  # every number to the last bit
    assert read.said == ([said] if said else [])


@pytest.mark.parametrize("suffix", ["csv.gz", "csv.bz2", "csv.xz", "csv.zip"])
def test_compressed_files(suffix, frame, tmp_path):
    content = frame.to_csv(index=False, sep=";").encode()
    path = tmp_path / f"t.{suffix}"
    if suffix.endswith("zip"):
        with zipfile.ZipFile(path, "w") as packed:
            packed.writestr("t.csv", content)
    else:
        packers = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
        path.write_bytes(packers[suffix[4:]](content))
    pd.testing.assert_frame_equal(read_any(path).frame, frame)


FORMATS = {
    "t.parquet": lambda frame, path: frame.to_parquet(path),
    "t.feather": lambda frame, path: frame.to_feather(path),
    "t.json": lambda frame, path: frame.to_json(path, orient="records", double_precision=15),
    "t.jsonl": lambda frame, path: frame.to_json(path, orient="records", lines=True, double_precision=15),
    "t.ndjson.gz": lambda frame, path: frame.to_json(path, orient="records", lines=True, double_precision=15),
    "t.dta": lambda frame, path: frame.to_stata(path, write_index=False, version=118),
    "t.xlsx": lambda frame, path: frame.to_excel(path, index=False),
    "t.sav": lambda frame, path: pytest.importorskip("pyreadstat").write_sav(frame, str(path)),
}


@pytest.mark.parametrize("name", FORMATS)
def test_other_formats_are_the_same_table(name, frame, tmp_path):
    if name.endswith("xlsx"):
        pytest.importorskip("openpyxl")
    FORMATS[name](frame, tmp_path / name)
    read = read_any(tmp_path / name)
    pd.testing.assert_frame_equal(read.frame, frame, check_dtype=False, check_categorical=False, rtol=1e-12)
    assert pg.Table.from_file(tmp_path / name, "y").features == ["v", "city", "n"]


@pytest.mark.parametrize(("suffix", "package"), [("xlsx", "openpyxl"), ("sav", "pyreadstat")])
def test_a_reader_that_is_not_installed_is_named(suffix, package, tmp_path, monkeypatch):
    (tmp_path / f"t.{suffix}").write_bytes(b"PK")

    def absent(*_):
        raise ImportError(f"Missing optional dependency {package!r}")

    monkeypatch.setitem(reading.READERS, f".{suffix}", absent)
    with pytest.raises(pg.PermGradError, match=rf"files are read by {package}: pip install 'permgrad\[files\]'"):
        read_any(tmp_path / f"t.{suffix}")


def test_sheets(frame, tmp_path):
    pytest.importorskip("openpyxl")
    with pd.ExcelWriter(tmp_path / "t.xlsx") as book:
        frame.to_excel(book, sheet_name="all", index=False)
        frame[:20].to_excel(book, sheet_name="some", index=False)
        frame[:10].to_excel(book, sheet_name="bare", index=False, header=False)
    assert len(read_any(tmp_path / "t.xlsx").frame) == 60
    for sheet in ("some", 1, "1"):
        assert len(read_any(tmp_path / "t.xlsx", ReadOptions(sheet=sheet)).frame) == 20
    bare = read_any(tmp_path / "t.xlsx", ReadOptions(sheet="bare", header=False)).frame
    assert bare.columns.tolist() == ["x0", "x1", "x2", "x3"]
    assert len(bare) == 10
    with pytest.raises(pg.PermGradError, match="no sheet 'others'; there are 'all', 'some', 'bare'"):
        read_any(tmp_path / "t.xlsx", ReadOptions(sheet="others"))


def test_several_files_of_one_table(frame, tmp_path):
    parts = tmp_path / "sales.parts"
    parts.mkdir()
    for i in range(3):
        frame[i * 20 : i * 20 + 20].to_parquet(parts / f"{i}.parquet")
        write(frame[i * 20 : i * 20 + 20], parts / f"part-{i}.csv", sep=";")
    several = read_any(parts / "part-*.csv")
    pd.testing.assert_frame_equal(several.frame, frame)
    assert several.said == ["read from 3 files", "read as ';'-separated"]
    assert name_of(parts / "part-*.csv") == "sales"
    frame[:5].rename(columns={"n": "m"}).to_csv(parts / "part-9.csv", index=False, sep=";")
    with pytest.raises(pg.FileFormatError, match="part-9.csv must have the columns of .*; only in one: 'm', 'n'"):
        read_any(parts / "part-*.csv")
    with pytest.raises(pg.FileFormatError, match="no file is called so"):
        read_any(parts / "none-*.csv")


def test_a_directory_of_parquet_files(frame, tmp_path):
    parts = tmp_path / "sales"
    for year in (2019, 2020):
        (parts / f"year={year}").mkdir(parents=True)
        frame[:30].to_parquet(parts / f"year={year}" / "t.parquet")
    read = read_any(parts).frame
    assert read.columns.tolist() == [*frame.columns, "year"]
    assert sorted(read["year"].astype(int)) == [2019] * 30 + [2020] * 30
    frame.assign(more=1).to_parquet(parts / "year=2020" / "u.parquet")
    with pytest.raises(pg.PermGradError, match="other columns: 'more' only in .*u.parquet"):
        read_any(parts)
    (tmp_path / "empty").mkdir()
    with pytest.raises(pg.PermGradError, match="it holds none"):
        read_any(tmp_path / "empty")


def test_no_header(frame, tmp_path):
    write(frame, tmp_path / "t.csv", header=False)
    read = read_any(tmp_path / "t.csv")
    assert read.said == ["read as no header: columns are x0, x1, ..."]
    pd.testing.assert_frame_equal(read.frame, frame.set_axis(["x0", "x1", "x2", "x3"], axis=1))
    assert pg.Table.from_file(tmp_path / "t.csv", "x3").task == "classification"
    with pytest.raises(pg.PermGradError, match="'y' is not in the table: its first line looks like values, .*'x0'"):
        pg.Table.from_file(tmp_path / "t.csv", "y")
    assert len(read_any(tmp_path / "t.csv", ReadOptions(header=True)).frame) == 59


def test_what_stands_for_a_missing_value(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n-999,x\n1.5,nix\n2.5,y\n")
    pd.read_csv(tmp_path / "t.csv").to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        read = read_any(tmp_path / name, ReadOptions(na=("-999", "-999.0", "nix"))).frame
        assert read.isna().to_numpy().tolist() == [[True, False], [False, True], [False, False]]


def test_rows_with_names_lose_them_not_their_columns(tmp_path):
    (tmp_path / "t.csv").write_text('"a","b"\n"r1",1,2\n"r2",3,4\n')
    assert read_any(tmp_path / "t.csv").frame.to_dict("list") == {"a": [1, 3], "b": [2, 4]}


def test_a_letter_beyond_what_the_beginning_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "BEGINNING", 40)
    (tmp_path / "t.csv").write_bytes(b"city,n\n" + b"Basel,1\n" * 10 + "Zürich,2\n".encode("latin-1"))
    read = read_any(tmp_path / "t.csv")
    assert read.frame["city"].iloc[-1] == "Zürich"
    assert read.said == ["read as latin-1"]


BAD = {
    "a URL": ("https://example.org/t.csv", {}, "is a URL; download the file"),
    "absent": ("absent.csv", {}, "cannot read absent.csv: No such file"),
    "empty": ("empty.csv", {}, "is not a readable table of text: it is empty"),
    "no Parquet": ("bad.parquet", {}, "is damaged, or is not a readable Parquet table"),
    "no JSON": ("bad.json", {}, "is damaged, or is not a readable JSON table"),
    "a JSON list of numbers": ("list.json", {}, "expected rows as objects"),
    "text options of Parquet": ("bad.parquet", {"sep": ";"}, "'sep' say how text is read, and a Parquet file is none"),
    "a sheet of text": ("empty.csv", {"sheet": 1}, "a sheet is of an Excel file"),
    "repeated names": ("twice.csv", {}, "found 'a' more than once"),
    "more fields than names": ("ragged.csv", {}, "line 3 has 4 fields, 2 were expected"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_get_one_clear_line(case, tmp_path, monkeypatch):
    name, options, message = BAD[case]
    monkeypatch.chdir(tmp_path)
    files = {"empty.csv": "", "bad.parquet": "no", "bad.json": "{", "twice.csv": "a,a,y\n1,2,0\n"}
    files |= {"list.json": json.dumps([1, 2]), "ragged.csv": "a,b\n1,2\n1,2,3,4\n"}
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    with pytest.raises(pg.PermGradError, match=message) as caught:
        read_any(name, ReadOptions(**options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "kind", "name"),
    [
        ("a/t.csv", ".csv", "t"),
        ("t.tar.csv.gz", ".csv", "t"),
        ("T.PARQUET", ".parquet", "T"),
        ("noname", "", "noname"),
    ],
)
def test_kinds_and_names(path, kind, name):
    assert (kind_of(path), name_of(path)) == (kind, name)


def test_one_table_as_people_have_it_is_the_same_from_each_file(rng, tmp_path):
    """Currency, per cent, dates, '?': their meaning hangs neither on the dialect nor on the format."""
    n = 60
    day = pd.Timestamp("2019-01-15") + pd.to_timedelta(rng.integers(0, 1500, n), "D")
    frame = pd.DataFrame(
        {
            "spend": [f"${value:,.2f}" for value in rng.gamma(2, 700, n)],
            "rate": [f"{value:.1f} %" for value in rng.uniform(0, 30, n)],
            "signup": day.strftime("%d/%m/%Y"),
            "city": rng.choice(["Zürich", "Århus", "São Paulo"], n),
            "v": np.where(rng.random(n) < 0.1, "?", rng.normal(size=n).round(2).astype(str)),
            "churn": rng.choice(["yes", "no"], n),
        }
    )
    german = {name: frame[name].str.translate(str.maketrans(",.$", ".,€")) for name in ("spend", "v")}
    write(frame, tmp_path / "comma.csv")
    write(frame, tmp_path / "tab.tsv", sep="\t")
    write(frame.assign(**german), tmp_path / "semicolon.csv", sep=";")
    write(frame, tmp_path / "latin.csv", encoding="latin-1")
    write(frame, tmp_path / "wide.csv.gz", encoding="utf-16")
    frame.assign(signup=day).to_parquet(tmp_path / "t.parquet")
    tables = [pg.Table.from_file(path, "churn") for path in sorted(tmp_path.iterdir())]
    assert len(tables) == 6
    assert len({table.sha256 for table in tables}) == 1
    assert tables[0].X.isna().sum().to_dict() == {
        **dict.fromkeys(tables[0].features, 0),
        "v": (frame["v"] == "?").sum(),
    }
