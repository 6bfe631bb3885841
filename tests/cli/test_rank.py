from __future__ import annotations

import errno
import json
import tempfile
from dataclasses import replace

import click
import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.cli._shown import show_ranking
from permgrad.cli.rank import rank as rank_command
from permgrad.estimators.presets import DEFAULT
from permgrad.importance.permuting.conditional import LEAST_ROWS
from permgrad.training.config import EPOCHS
from tests.cli.conftest import FAST


def test_results_directory(ranked):
    assert ranked.code == 0, ranked.stderr
    assert {path.name for path in ranked.out.iterdir()} == {
        *("ranking.csv", "ranking.json", "groups.csv", "groups.json", "report.html", "model", "evaluation"),
        "manifest.json",
        *("ranking.png", "permutation.png", "gradient_input.png", "end_to_end.png", "conditional.png"),
        *("agreement.png", "confusion.png", "layout.png", "learning_curves.png", "sample.png"),
        *("reference_models.json", "reliability.png"),
    }
    ranking = pg.FeatureRanking.load(ranked.out / "ranking.json")
    pd.testing.assert_frame_equal(pd.read_csv(ranked.out / "ranking.csv", float_precision="round_trip"), ranking.table)
    assert sorted(ranking.features) == ["a", "b", "c", "kind", "same", "twin"]
    assert ranking.unused == ("same",)


def test_evaluate_gives_all_of_it(ranked):
    assert "the time limit left out" in ranked.stdout
    ranking = pg.FeatureRanking.load(ranked.out / "ranking.json")
    assert list(ranking.components) == ["permutation", "gradient_input", "end_to_end", "conditional"]
    assert ranking.settings["command"].startswith("permgrad rank ")
    assert {"low", "high", "rank_low", "rank_high", "conditional_p", "conditional_q"} <= set(ranking.table)
    assert pg.FeatureRanking.load(ranked.out / "groups.json").method == "permgrad"
    assert pg.RankingEvaluation.load(ranked.out / "evaluation").left_out
    page = (ranked.out / "report.html").read_text()
    for heading in ("How the ranking stands up to tests", "Columns that carry much the same", "No test was run"):
        assert heading in page


def test_every_result_carries_where_it_comes_from(ranked, csv):
    settings = json.loads((ranked.out / "ranking.json").read_text())["settings"]
    assert settings["data"]["sha256"] == pg.Table.from_csv(csv, "y").sha256
    assert settings["estimator"]["epochs"] == 2
    assert settings["estimator"]["image_size"] == 8
    assert settings["split_random_state"] == 42
    assert {"keras", "numpy", "permgrad", "python"} <= set(settings["versions"])
    assert 0 <= settings["test_scores"]["accuracy"] <= 1
    assert settings["missing_values_in_training"]["b"] in (1, 2, 3)


def test_saved_model_gives_the_ranking_again(ranked, csv):
    test = pg.Table.from_csv(csv, "y").split()[2]
    model = pg.load(ranked.out / "model")
    ranking = model.rank_features(test.X, test.y, n_repeats=2, end_to_end=False, verbose=False)
    np.testing.assert_array_equal(ranking.scores, pg.FeatureRanking.load(ranked.out / "ranking.json").scores)


def test_the_terminal_shows_progress_and_results_only(ranked):
    assert "test rows (24): accuracy" in ranked.stdout
    verdict = pg.ReferenceModels.load(ranked.out / "reference_models.json").verdict
    assert (
        ranked.stdout.index(verdict) < ranked.stdout.index("  HybridClassifier") < ranked.stdout.index("gradient_input")
    )
    assert "missing training values" in ranked.stdout
    assert ranked.stderr.count("note: no information in 'same'") == 1
    assert "training:" in ranked.stderr
    for noise in ("oneDNN", "cuda", "TensorFlow", "WARNING", "Warning", "tensorflow"):
        assert noise not in ranked.stderr + ranked.stdout


def test_existing_results_are_kept_unless_told(ranked, csv, command):
    before = (ranked.out / "ranking.json").read_text()
    again = command("rank", csv, "--target", "y", "--out", ranked.out, *FAST)
    assert again.code == 2
    assert "exists already and is kept" in again.stderr
    assert "Traceback" not in again.stderr
    assert (ranked.out / "ranking.json").read_text() == before


def test_without_options_the_estimators_defaults_hold():
    """And the help names what they come to."""
    params = rank_command.make_context("rank", ["t.csv"]).params
    defaults = pg.HybridClassifier().get_params()
    given = {name: value for name, value in params.items() if name in defaults}
    assert given.pop("branches") == "both"
    assert given == {name: defaults[name] for name in given}
    assert {"batch_size", "learning_rate", "epochs", "image_size"} <= set(given)
    told = {option.name: option.help for option in rank_command.params if isinstance(option, click.Option)}
    assert f"[default: {DEFAULT['learning_rate']}]" in told["learning_rate"]
    tuned = f"of tuning {EPOCHS['classification']}, regression {EPOCHS['regression']}"
    assert f"[default: {DEFAULT['epochs']}; {tuned}]" in told["epochs"]


@pytest.mark.slow
def test_regression_on_one_branch_by_the_published_formula(csv, tmp_path, command, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["--target", "c", "--branches", "tabular", "--formula", "published", "--no-unique"]
    ran = command("rank", csv, *given, *FAST)
    assert ran.code == 0, ran.stderr
    out = tmp_path / "results" / "own"
    names = {path.name for path in out.iterdir()}
    assert {"predicted_against_true.png", "permutation.png", "residuals.png"} <= names
    assert "layout.png" not in names
    settings = pg.FeatureRanking.load(out / "ranking.json").settings
    assert not settings["estimator"]["unique"]
    assert settings["weights"] == "softmax"


@pytest.mark.slow
def test_a_ranking_outlives_a_disk_that_takes_no_more(csv, tmp_path, command, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("permgrad.report.directory.write_results", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ran = command("rank", csv, "--target", "y", "--branches", "tabular", "--out", tmp_path / "out", *FAST)
    assert ran.code == 2
    assert "No space left on device; make room" in ran.stderr
    assert "feature" in ran.stdout  # the ranking is shown
    (kept,) = tmp_path.glob("permgrad-*/ranking.json")
    assert f"the ranking is kept in {kept}" in ran.stderr
    assert len(pg.FeatureRanking.load(kept).features) == 6
    assert not (tmp_path / "out").exists()


BAD = {
    "no target": (["{csv}"], "pass --target COLUMN"),
    "absent target": (["{csv}", "--target", "z"], "target column 'z' is not in the table"),
    "absent file": (["absent.csv", "--target", "y"], "cannot read absent.csv"),
    "unknown data set": (["absent"], "no data set 'absent'"),
    "target of a data set": (["iris", "--target", "sepal width (cm)"], "the target of data set 'iris' is 'species'"),
    "task of a data set": (["iris", "--task", "regression"], "the task of data set 'iris' is classification"),
    "unwritable": (["{csv}", "--target", "y", "--out", "/proc/x/y"], "cannot write to /proc/x/y"),
    "too small": (["{csv}", "--target", "y", "--image-size", "1"], "features need as many pixels"),
    "class weight": (["{csv}", "--target", "c", "--class-weight", "balanced"], "for classification"),
    "unknown option": (["{csv}", "--colour", "red"], "No such option"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(case, csv, tmp_path, command, monkeypatch):
    arguments, message = BAD[case]
    monkeypatch.chdir(tmp_path)
    refused = command("rank", *(argument.format(csv=csv) for argument in arguments))
    assert refused.code == 2
    assert message in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_too_few_rows_are_refused_before_training(tmp_path, command):
    rng = np.random.default_rng(0)
    pd.DataFrame(rng.normal(size=(40, 3)), columns=["a", "b", "y"]).to_csv(tmp_path / "few.csv", index=False)
    refused = command("rank", tmp_path / "few.csv", "--target", "y", "--out", tmp_path / "r", "--conditional")
    assert refused.code == 2
    assert f"--conditional needs at least {LEAST_ROWS} test rows, this table's test part has 8" in refused.stderr
    assert "training:" not in refused.stderr


def test_what_a_time_limit_left_out_is_said(capsys):
    settings = {"test_rows": 5, "test_scores": {"r2": 0.5}}
    show_ranking(pg.FeatureRanking(("a", "b"), [1.0, 0.0], method="permutation", pending=("b",), settings=settings))
    assert "the time limit left 1 of 2 features out" in capsys.readouterr().out


def test_what_speaks_against_a_network_comes_before_its_ranking(capsys):
    learned = {"better": False, "rows": 50, "loss": 0.7, "prior_loss": 0.69, "low": -0.01, "high": 0.03}
    settings = {"test_rows": 50, "test_scores": {"accuracy": 0.5}, "learned": learned}
    settings |= {"verdict": "Ridge predicts these test rows better.", "beaten_by": "Ridge"}
    weights = {"tabular": 0.5, "image": 0.5}
    ranking = pg.FeatureRanking(("a", "b"), [1.0, 0.0], settings=settings, branch_weights=weights)
    show_ranking(ranking)
    first, second, *_ = [line for line in capsys.readouterr().out.splitlines() if line]
    assert first.startswith("This network has learned nothing that these 50 rows can tell from chance: its loss is 0.7")
    assert second == settings["verdict"]
    show_ranking(ranking)
    assert "branch weights" not in capsys.readouterr().out
    show_ranking(replace(ranking, settings={**settings, "learned": {"better": True}, "beaten_by": None}))
    shown = capsys.readouterr().out
    assert "branch weights: tabular 0.50, image 0.50" in shown
    assert "Ridge" not in shown
