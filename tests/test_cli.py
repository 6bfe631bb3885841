"""The command line as a user meets it: in a process of its own, but for most errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad import cli
from permgrad.cli.shown import show_ranking
from permgrad.cli.tune import _range

FAST = ["--epochs", "2", "--size", "8", "--repeats", "2"]


def permgrad(*arguments: object, cwd=None) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "permgrad", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, "PYTHONWARNINGS": ""})


@pytest.fixture
def refused(monkeypatch, capsys):
    """Run a command that is refused, in this process, and return what it prints of that."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["permgrad", *map(str, arguments)])
        with warnings.catch_warnings(), pytest.raises(SystemExit) as left:
            warnings.simplefilter("default")
            cli.main()
        assert left.value.code == 2
        return capsys.readouterr().err

    return run


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(80, 3)), columns=["a", "b", "c"]).assign(
        kind=rng.choice(["u", "v"], 80), same=1, y=lambda f: np.where(f.a > 0, "high", "low")
    )
    frame.loc[3:5, "b"] = np.nan
    path = tmp_path_factory.mktemp("data") / "own.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(csv, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "results"
    return permgrad("rank", csv, "--target", "y", "--out", out, *FAST), out


def test_results_directory(run):
    done, out = run
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "confusion.png",
        "end_to_end.png",
        "gradient_input.png",
        "layout.png",
        "learning_curves.png",
        "model",
        "permutation.png",
        "ranking.csv",
        "ranking.json",
        "ranking.png",
        "report.html",
        "sample.png",
    ]
    ranking = pg.FeatureRanking.load(out / "ranking.json")
    pd.testing.assert_frame_equal(pd.read_csv(out / "ranking.csv", float_precision="round_trip"), ranking.table)
    assert sorted(ranking.features) == ["a", "b", "c", "kind", "same"]
    assert ranking.unused == ("same",)


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """Enough rows for conditional permutation, and two columns that are nearly one."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(120, 2)), columns=["a", "b"])
    frame["twin"] = frame["a"] + 0.1 * rng.normal(size=120)
    path = tmp_path_factory.mktemp("data") / "twins.csv"
    frame.assign(y=lambda f: np.where(f.a > 0, "high", "low")).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def evaluated(twins, tmp_path_factory):
    out = tmp_path_factory.mktemp("evaluated") / "results"
    options = [*FAST, "--evaluate", "--evaluate-timeout", "0"]
    return permgrad("rank", twins, "--target", "y", "--out", out, *options), out


@pytest.mark.slow
def test_evaluate_gives_all_of_it(evaluated):
    done, out = evaluated
    assert done.returncode == 0, done.stderr
    assert "the time limit left out" in done.stdout
    ranking = pg.FeatureRanking.load(out / "ranking.json")
    assert list(ranking.components) == ["permutation", "gradient_input", "end_to_end", "conditional"]
    assert ranking.settings["command"].startswith("permgrad rank ")
    assert {"low", "high", "rank_low", "rank_high", "conditional_p", "conditional_q"} <= set(ranking.table)
    assert pg.FeatureRanking.load(out / "groups.json").method == "permgrad"
    assert pg.RankingEvaluation.load(out / "evaluation").left_out
    page = (out / "report.html").read_text()
    assert "How the ranking stands up to tests" in page
    assert "Columns that carry much the same" in page
    assert "No test was done" in page


@pytest.mark.slow
def test_a_ranking_is_put_to_the_test_later(evaluated, twins):
    _, out = evaluated
    before = (out / "ranking.csv").read_text()
    done = permgrad("evaluate", out, twins, "--part", "curves")
    assert done.returncode == 0, done.stderr
    assert "rankings, best place first" in done.stdout
    found = pg.RankingEvaluation.load(out / "evaluation")
    assert found.left_out == ()
    assert set(found.areas["ranking"]) > {"permgrad", "end_to_end", "tree_shap", "random"}
    assert (out / "ranking.csv").read_text() == before
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_only_the_table_that_was_ranked_is_evaluated(evaluated, csv, tmp_path):
    _, out = evaluated
    done = permgrad("evaluate", out)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "name it: permgrad evaluate RESULTS FILE" in done.stderr
    other = pd.read_csv(csv).assign(a=lambda f: f.a + 1)
    other.to_csv(tmp_path / "other.csv", index=False)
    done = permgrad("evaluate", out, tmp_path / "other.csv")
    assert done.returncode == 2
    assert "pass the table that was ranked" in done.stderr


def test_every_result_carries_where_it_comes_from(run, csv):
    settings = json.loads((run[1] / "ranking.json").read_text())["settings"]
    assert settings["data"]["sha256"] == pg.Table.from_csv(csv, "y").sha256
    assert settings["estimator"]["epochs"] == 2
    assert settings["split_random_state"] == 42
    assert {"keras", "numpy", "permgrad", "python"} <= set(settings["versions"])
    assert 0 <= settings["test_scores"]["accuracy"] <= 1
    assert settings["missing_values_in_training"]["b"] in (1, 2, 3)


def test_saved_model_gives_the_ranking_again(run, csv):
    test = pg.Table.from_csv(csv, "y").split()[2]
    ranking = pg.load(run[1] / "model").rank_features(test.X, test.y, n_repeats=2, verbose=False)
    np.testing.assert_array_equal(ranking.scores, pg.FeatureRanking.load(run[1] / "ranking.json").scores)


def test_the_terminal_shows_progress_and_results_only(run):
    done, _ = run
    assert "test rows (16): accuracy" in done.stdout
    assert "missing training values" in done.stdout
    assert "note: no information in 'same'" in done.stderr
    assert "training:" in done.stderr
    for noise in ("oneDNN", "cuda", "TensorFlow", "WARNING", "Warning", "tensorflow"):
        assert noise not in done.stderr + done.stdout


def test_existing_results_are_kept_unless_told(run, csv):
    _, out = run
    before = (out / "ranking.json").read_text()
    again = permgrad("rank", csv, "--target", "y", "--out", out, *FAST)
    assert again.returncode == 2
    assert "exists already and is kept" in again.stderr
    assert "Traceback" not in again.stderr
    assert (out / "ranking.json").read_text() == before


@pytest.mark.slow
def test_regression_on_one_branch(csv, tmp_path):
    done = permgrad(
        "rank", csv, "--target", "c", "--branches", "tabular", "--formula", "published", *FAST, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "results" / "own").iterdir()}
    assert {"predicted_against_true.png", "permutation.png"} <= names
    assert "layout.png" not in names


BAD = {
    "no target": (["{csv}"], "pass --target COLUMN"),
    "absent target": (["{csv}", "--target", "z"], "target column 'z' is not in the table"),
    "absent file": (["absent.csv", "--target", "y"], "cannot read absent.csv"),
    "unknown data set": (["absent"], "no data set 'absent'"),
    "target of a data set": (["iris", "--target", "sepal width (cm)"], "the target of data set 'iris' is 'species'"),
    "task of a data set": (["iris", "--task", "regression"], "the task of data set 'iris' is classification"),
    "unwritable": (["{csv}", "--target", "y", "--out", "/proc/x/y"], "cannot write to /proc/x/y"),
    "too small": (["{csv}", "--target", "y", "--size", "1"], "features need as many pixels"),
    "class weight": (["{csv}", "--target", "c", "--class-weight", "balanced"], "for classification"),
    "unknown option": (["{csv}", "--colour", "red"], "No such option"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(case, csv, tmp_path, refused, monkeypatch):
    arguments, message = BAD[case]
    monkeypatch.chdir(tmp_path)
    assert message in refused("rank", *(a.format(csv=csv) for a in arguments))
    assert list(tmp_path.iterdir()) == []


def test_datasets_are_listed():
    done = permgrad("datasets")
    assert done.returncode == 0
    assert "breast_cancer  classification     569 × 30" in done.stdout


def test_what_a_time_limit_left_out_is_said(capsys):
    settings = {"test_rows": 5, "test_scores": {"r2": 0.5}}
    show_ranking(pg.FeatureRanking(("a", "b"), [1.0, 0.0], method="permutation", pending=("b",), settings=settings))
    assert "the time limit left 1 of 2 features out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("base_filters=8,32", ("base_filters", [8, 32])),
        ("lr=1e-4,0.01", ("lr", [1e-4, 0.01])),
        ("optimizer=adam", ("optimizer", ["adam"])),
    ],
)
def test_ranges_are_read(text, read):
    assert _range(text) == read


@pytest.mark.parametrize("text", ["lr", "lr=", "=1,2"])
def test_what_is_no_range_is_one_error(text, refused):
    assert f"must be NAME=LOW,HIGH or NAME=CHOICE,CHOICE, got '{text}'" in refused("tune", "iris", "--range", text)
