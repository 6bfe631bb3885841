from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path

import pandas as pd
import pytest

import permgrad as pg
from permgrad.data import datasets

REAL_FILES = os.environ.get("PERMGRAD_DATA")


@pytest.fixture(autouse=True)
def no_directory(monkeypatch):
    monkeypatch.delenv("PERMGRAD_DATA", raising=False)


@pytest.fixture
def own_card(monkeypatch, tmp_path):
    """A data set of one file, and the directory it lies in."""
    content = "a,b,y\n1,5,0\n2,3,1\n3,9,1\n4,9,0\n"
    (tmp_path / "own.csv").write_text(content)
    digest = hashlib.sha256(content.encode()).hexdigest()
    (tmp_path / "own.toml").write_text(
        f"""title = "Own"
source = "here"
homepage = "https://example.org"
license = "CC0-1.0"
citation = "none"
task = "classification"
target = "label"
rows = 4
features = 1
prefix = "V"
drop = ["b"]
[[file]]
name = "own.csv"
target = "y"
url = "http://127.0.0.1:9/own.csv"
sha256 = "{digest}"
note = "part: 4 of 5 rows"
"""
    )
    monkeypatch.setattr(datasets, "_card_paths", lambda: [tmp_path / "own.toml"])
    monkeypatch.setattr(datasets, "CACHE", tmp_path / "cache")
    return tmp_path


BUNDLED = {"breast_cancer": 2, "wine": 3, "iris": 3, "digits": 10, "diabetes": None}


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_tables_match_their_cards(name):
    table = pg.load_dataset(name)
    card = pg.list_datasets().set_index("name").loc[name]
    assert (len(table), len(table.features), table.task) == (card["rows"], card["features"], card["task"])
    assert (table.classes and len(table.classes)) == BUNDLED[name]
    assert table.notes["license"] == card["license"]


def test_labels_are_words():
    y = pg.load_dataset("breast_cancer").y
    assert y.value_counts().to_dict() == {"benign": 357, "malignant": 212}


def test_every_card_is_complete():
    cards = pg.list_datasets()
    assert {"puma8nh", "heloc", "dengue", "gas_drift", "covertype"} <= set(cards["name"])
    assert not cards.isna().any(axis=None)


def test_own_directory_is_looked_in_first(own_card, monkeypatch):
    monkeypatch.setenv("PERMGRAD_DATA", str(own_card))
    table = pg.load_dataset("own")
    pd.testing.assert_frame_equal(table.X, pd.DataFrame({"V1": [1, 2, 3, 4]}))
    assert table.y.name == "label"
    assert table.notes["note"] == "part: 4 of 5 rows"


def test_other_file_of_the_same_name_is_refused(own_card, monkeypatch):
    monkeypatch.setenv("PERMGRAD_DATA", str(own_card))
    (own_card / "own.csv").write_text("a,b,y\n1,5,0\n")
    with pytest.raises(pg.PermGradError, match="not the file that the card describes: expected SHA-256"):
        pg.load_dataset("own")


def test_cached_file_needs_no_network(own_card):
    (own_card / "cache").mkdir()
    (own_card / "own.csv").rename(own_card / "cache" / "own.csv")
    assert len(pg.load_dataset("own")) == 4


def test_no_network(own_card):
    with pytest.raises(pg.PermGradError, match="cannot download .* https://example.org .* holds own.csv"):
        pg.load_dataset("own")
    assert not (own_card / "cache" / "own.csv").exists()


def test_an_archive_is_verified_and_extracted_once(own_card, monkeypatch):
    """A table of genes in a tar file, as its card has it."""
    inside = own_card / "inside"
    inside.mkdir()
    (inside / "data.csv").write_text(",g1,g2\n" + "".join(f"s{i},{i}.5,1\n" for i in range(6)))
    (inside / "labels.csv").write_text(",kind\n" + "".join(f"s{i},{'ab'[i % 2]}\n" for i in range(6)))
    with tarfile.open(own_card / "own.tar.gz", "w:gz") as tar:
        tar.add(inside, "inside")
    digest = hashlib.sha256((own_card / "own.tar.gz").read_bytes()).hexdigest()
    card = (own_card / "own.toml").read_text().split("prefix")[0].replace('"label"', '"kind"')
    members = 'members = ["inside/data.csv", "inside/labels.csv"]'
    url = 'url = "http://127.0.0.1:9/own.tar.gz"'
    archive = f'[archive]\nname = "own.tar.gz"\n{url}\nsha256 = "{digest}"\n{members}\n'
    (own_card / "own.toml").write_text(card + archive)
    with pytest.raises(pg.PermGradError, match="cannot download .* holds own.tar.gz"):
        pg.load_dataset("own")
    monkeypatch.setenv("PERMGRAD_DATA", str(own_card))
    table = pg.load_dataset("own")
    assert table.X["g1"].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    assert table.y.tolist() == list("ababab")
    (own_card / "own.tar.gz").unlink()
    assert pg.load_dataset("own").sha256 == table.sha256


def test_unknown_name():
    with pytest.raises(pg.PermGradError, match="no data set 'adult'; there are 'breast_cancer'"):
        pg.load_dataset("adult")


@pytest.mark.parametrize("name", ["puma8nh", "heloc", "dengue", "gas_drift", "covertype"])
def test_real_files_match_their_cards(name, monkeypatch):
    if not REAL_FILES or not Path(REAL_FILES).is_dir():
        pytest.skip("PERMGRAD_DATA names no directory with the published data sets")
    monkeypatch.setenv("PERMGRAD_DATA", REAL_FILES)
    table = pg.load_dataset(name)
    card = pg.list_datasets().set_index("name").loc[name]
    assert len(table.features) == card["features"]
    assert table.task == card["task"]
    assert len(table) == card["rows"] or "part" in table.notes["note"]
