"""`--group`, `--time`, `--weight`, `--split` and `--test`: what is split, said, kept and refused."""

from __future__ import annotations

import html

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.evaluation.reference_models import ReferenceModels
from tests.cli.conftest import FAST


@pytest.fixture(scope="module")
def visits(tmp_path_factory):
    """Forty patients of five visits; the label is the patient's."""
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(40), 5)
    frame = pd.DataFrame(rng.normal(size=(200, 2)), columns=["a", "b"])
    frame["patient"] = [f"p{i:02}" for i in patient]
    frame["visit"] = (pd.Timestamp("2023-01-01") + pd.to_timedelta(patient * 3, "D")).strftime("%d/%m/%Y")
    frame["w"] = rng.integers(1, 4, 200)
    frame["part"] = np.array(["train", "train", "train", "validation", "test"])[patient % 5]
    frame["y"] = np.where(frame["a"] + rng.normal(size=40)[patient] > 0, "ill", "well")
    path = tmp_path_factory.mktemp("visits") / "visits.csv"
    frame.to_csv(path, index=False)
    return path, frame


@pytest.mark.slow
def test_groups_that_weigh_from_table_to_page_and_referee(visits, tmp_path, command):
    path, _ = visits
    out, drop = tmp_path / "r", ["--drop", "part", "--drop", "visit"]
    ran = command("rank", path, "--target", "y", "--out", out, "--group", "patient", "--weight", "w", *drop, *FAST)
    assert ran.code == 0, ran.stderr
    said = "split by patient: 24 / 8 / 8 groups to train, validate and test (120 / 40 / 40 rows)"
    assert said in ran.stdout
    assert "rows weigh 'w': 1 to 3" in ran.stdout
    page = (out / "report.html").read_text()
    assert said in page
    assert "group='patient'" in html.unescape(page)
    ranking = pg.FeatureRanking.load(out / "ranking.json")
    assert ranking.features == ("a", "b")
    assert ranking.settings["split"] == said
    table = pg.Table.from_file(path, "y", group="patient", weight="w", drop=["part", "visit"])
    test = table.split()[2]
    right = pg.load(out / "model").predict(test.X) == test.y
    assert ranking.settings["test_scores"]["accuracy"] == pytest.approx(np.average(right, weights=test.weights))
    models = ReferenceModels.load(out / "reference_models.json").table
    assert models["accuracy"].iloc[0] == pytest.approx(np.average(right, weights=test.weights))
    again = command("evaluate", out, path, "--parts", "curves", "--timeout", 0)
    assert again.code == 0, again.stderr


SPLITS = {
    "time": (["--time", "visit", "--drop", "part"], "test rows: the 20% latest by visit, from 2023-04-07 on"),
    "time and group": (["--time", "visit", "--group", "patient", "--drop", "part"], "24 / 8 / 8 groups"),
    "split": (["--split", "part"], "test rows by the column 'part'; 120 / 40 / 40 rows"),
    "split and group": (["--split", "part", "--group", "patient"], "24 / 8 / 8 groups"),
    "test": (["--test", "{path}", "--drop", "part"], "test rows as given; 150 / 50 / 200 rows"),
}


@pytest.mark.parametrize("case", SPLITS)
def test_how_rows_are_split_is_said(case, visits, command):
    path, _ = visits
    options, said = SPLITS[case]
    ran = command("check", path, "--target", "y", *(option.format(path=path) for option in options))
    assert ran.code == 0, ran.stderr
    assert said in ran.stdout


REFUSED = {
    "absent": (["--group", "nobody"], "no column 'nobody' in the table"),
    "one column twice": (["--group", "w", "--weight", "w"], "must be different columns"),
    "the target": (["--weight", "y"], "no column 'y' in the table"),
    "no times": (["--time", "patient"], "times must be dates or numbers"),
    "time and split": (["--time", "visit", "--split", "part"], "both 'visit' (time) and 'part' (split)"),
    "other parts": (["--split", "patient"], "must hold 'train', 'validation' or 'test'"),
    "no weights": (["--weight", "a"], "weights must be finite numbers of at least 0"),
    "test and split": (["--test", "{path}", "--split", "part"], "split cannot be had beside a test file"),
    "test and rare": (["--test", "{path}", "--rare", "drop"], "rare cannot be had beside a test file"),
    "groups in both files": (["--test", "{path}", "--group", "patient"], "'patient' are in more than one part"),
    "model and time": (["--model", "m.keras", "--time", "visit"], "with --model all rows are test rows: --time"),
    "model and test": (["--model", "m.keras", "--test", "{path}"], "with --model all rows are test rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case, visits, tmp_path, command):
    path, _ = visits
    options, message = REFUSED[case]
    given = ["--out", tmp_path / "r", *(option.format(path=path) for option in options)]
    refused = command("rank", path, "--target", "y", *given)
    assert refused.code == 2
    assert message in refused.stderr


def test_one_group_to_test_on_is_refused_before_training(visits, tmp_path, command):
    _, frame = visits
    frame.assign(patient=np.minimum(np.arange(200) // 60, 2)).to_csv(tmp_path / "few.csv", index=False)
    options = ["--target", "y", "--group", "patient", "--drop", "part", "--out", tmp_path / "r"]
    refused = command("rank", tmp_path / "few.csv", *options)
    assert refused.code == 2
    assert "--group patient leaves 1 group among the test rows" in refused.stderr
    of_a_data_set = command("rank", "iris", "--test", tmp_path / "few.csv", "--out", tmp_path / "r")
    assert "--test is for files" in of_a_data_set.stderr


def test_a_data_sets_column_may_be_its_groups(command):
    ran = command("check", "iris", "--weight", "petal width (cm)")
    assert ran.code == 0, ran.stderr
    assert "3 features" in ran.stdout
