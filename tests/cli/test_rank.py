from __future__ import annotations

import errno
import html
import json
import tempfile
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import permgrad as pg
from permgrad.cli import _options
from permgrad.cli._fitting import build_estimator
from permgrad.cli._shown import show_ranking
from permgrad.cli.rank import rank as rank_command
from permgrad.estimators.presets import PRESETS
from permgrad.importance.permuting.conditional import LEAST_ROWS
from permgrad.models.hybrid import DOWNSAMPLINGS, EMBEDDINGS, IMAGE_NETWORKS, SCALINGS
from permgrad.training.config import CHOICES
from tests.cli.conftest import FAST


def test_results_directory(ranked):
    assert ranked.code == 0, ranked.stderr
    assert {path.name for path in ranked.out.iterdir()} == {
        *("ranking.csv", "ranking.json", "groups.csv", "groups.json", "report.html", "model", "evaluation"),
        *("manifest.json", "background.parquet", "rows.parquet", "row_lowest.png", "row_highest.png"),
        *("ranking.png", "first_in.png", "tabular.png", "image.png", "end_to_end.png", "conditional.png"),
        *("agreement.png", "confusion.png", "layout.png", "learning_curves.png", "sample.png"),
        *("reference_models.json", "reliability.png", "roc.png", "precision_recall.png", "effects.png", "page.json"),
    }
    ranking = pg.FeatureRanking.load(ranked.out / "ranking.json")
    pd.testing.assert_frame_equal(pd.read_csv(ranked.out / "ranking.csv", float_precision="round_trip"), ranking.table)
    assert sorted(ranking.features) == ["a", "b", "c", "kind", "same", "twin"]
    assert ranking.unused == ("same",)


def test_evaluate_gives_all_of_it(ranked):
    assert "the time limit left out" in ranked.stdout
    ranking = pg.FeatureRanking.load(ranked.out / "ranking.json")
    assert list(ranking.components) == ["first_in", "tabular", "image", "end_to_end", "conditional"]
    assert ranking.settings["command"].startswith("permgrad rank ")
    assert {"low", "high", "rank_low", "rank_high", "conditional_p", "conditional_q"} <= set(ranking.table)
    assert pg.FeatureRanking.load(ranked.out / "groups.json").method == "shapley"
    assert pg.RankingEvaluation.load(ranked.out / "evaluation").left_out
    page = (ranked.out / "report.html").read_text()
    for heading in ("Tests of the ranking", "Groups of correlated columns", "No test was run"):
        assert heading in page


def test_every_result_carries_where_it_comes_from(ranked, csv):
    settings = json.loads((ranked.out / "ranking.json").read_text())["settings"]
    assert settings["data"]["sha256"] == pg.Table.from_file(csv, "y").sha256
    assert settings["estimator"]["epochs"] == 2
    assert settings["estimator"]["image_size"] == 8
    assert settings["estimator"]["preset"] == "default"
    assert {name: settings["estimator"][name] for name in ("scaling", "batch_size")} == {
        "scaling": "standard",
        "batch_size": "auto",
    }
    assert settings["split_random_state"] == 42
    assert {"keras", "numpy", "permgrad", "python"} <= set(settings["versions"])
    assert 0 <= settings["test_scores"]["accuracy"] <= 1
    assert settings["missing_values_in_training"]["b"] in (1, 2, 3)


def test_notes_and_findings_of_the_terminal_stand_on_the_page(ranked):
    settings = json.loads((ranked.out / "ranking.json").read_text())["settings"]
    notes = ["classification: 'y' holds labels of 2 kinds"]
    notes += [line.removeprefix("note: ") for line in ranked.stderr.splitlines() if line.startswith("note: ")]
    assert settings["notes"] == notes
    assert len(notes) > 1
    page = html.unescape((ranked.out / "report.html").read_text())
    for said in (*notes, "'same' never vary in these rows", "AUC alone"):
        assert said in page


def test_saved_model_gives_the_ranking_again(ranked, csv):
    test = pg.Table.from_file(csv, "y").split()[2]
    model = pg.load(ranked.out / "model")
    ranking = model.rank_features(test.X, test.y, n_repeats=2, end_to_end=False, verbose=False)
    np.testing.assert_array_equal(ranking.scores, pg.FeatureRanking.load(ranked.out / "ranking.json").scores)


def test_the_terminal_shows_progress_and_results_only(ranked):
    assert "test rows (24): accuracy" in ranked.stdout
    verdict = pg.ReferenceModels.load(ranked.out / "reference_models.json").verdict
    assert ranked.stdout.index(verdict) < ranked.stdout.index("  HybridClassifier") < ranked.stdout.index("end_to_end")
    assert "missing training values" in ranked.stdout
    assert "preset default, but image_size 8, epochs 2" in ranked.stdout.splitlines()
    lines = ranked.stdout.splitlines()
    assert lines[1] == "  classification: 'y' holds labels of 2 kinds"
    assert "  'same' never vary in these rows" in lines
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


def test_every_setting_has_an_option_whose_default_is_the_presets():
    """`rank` splits the table itself, shows its progress always, and says to joblib how many workers there are."""
    settings = set(pg.HybridClassifier().get_params()) - {"validation_fraction", "verbose", "n_jobs"}
    options = {parameter.name: parameter for parameter in rank_command.params}
    assert settings - set(options) == set()
    listed = {name for name, option in options.items() if isinstance(option, _options.Setting)}
    assert listed == set(PRESETS["default"]) - {"image_size", "epochs"}


def test_choices_are_those_of_the_network():
    options = {parameter.name: parameter for parameter in rank_command.params}
    known = {"preset": PRESETS, "scaling": SCALINGS, "embedding": EMBEDDINGS, "downsampling": DOWNSAMPLINGS}
    known |= {"image_network": IMAGE_NETWORKS, "schedule": CHOICES["schedule"], "optimizer": CHOICES["optimizer"]}
    assert {name: set(options[name].type.choices) for name in known} == {name: set(known[name]) for name in known}


@pytest.fixture
def asked(monkeypatch, command):
    """Run `permgrad rank iris` with options up to the fit; return the estimator."""
    built = []

    def record(data, settings):
        built.append(build_estimator(data, settings))
        raise pg.PermGradError("recorded")

    monkeypatch.setattr("permgrad.cli._fitting.build_estimator", record)

    def run(*options: str) -> pg.HybridClassifier:
        assert "recorded" in command("rank", "iris", *options).stderr
        return built[-1]

    return run


def test_without_options_the_estimators_defaults_hold(asked, tmp_path):
    given = asked("--out", str(tmp_path / "r")).get_params()
    assert {**given, "verbose": False} == pg.HybridClassifier().get_params()


def test_settings_reach_the_estimator(asked, tmp_path):
    text = (
        "--preset fast --scaling quantile --embedding periodic --embedding-size 4 --ensemble-size 2 --dense-units 32,16"
        " --image-network vit"
        " --n-conv-layers 1 --downsampling max_pool --base-filters 2 --head-units none --dropout 0 --batch-norm"
        " --no-gated-image --no-zero-output --no-calibrated --screening --n-networks 3 --learning-rate 0.01"
        " --schedule cosine --optimizer adam --weight-decay 0 --batch-size 64 --epochs 7 --patience auto"
        " --image-size compact"
    )
    estimator = asked("--out", str(tmp_path / "r"), *text.split())
    expected = {
        **{"scaling": "quantile", "embedding": "periodic", "embedding_size": 4, "ensemble_size": 2},
        **{"dense_units": (32, 16), "n_conv_layers": 1, "downsampling": "max_pool", "base_filters": 2},
        "image_network": "vit",
        **{"head_units": (), "dropout": 0, "batch_norm": True, "gated_image": False, "zero_output": False},
        **{"calibrated": False, "screening": True, "n_networks": 3, "learning_rate": 0.01, "schedule": "cosine"},
        **{"optimizer": "adam", "weight_decay": 0, "batch_size": 64, "epochs": 7, "patience": "auto"},
        "image_size": "compact",
    }
    assert set(expected) == set(PRESETS["default"])
    assert (estimator.preset, estimator.settings()) == ("fast", expected)


@pytest.mark.slow
def test_several_networks_are_ranked_put_to_the_test_and_told_of(csv, tmp_path, command):
    out = tmp_path / "several"
    given = ["--target", "y", "--out", out, "--preset", "best", "--n-networks", 2, "--ensemble-size", 2]
    ran = command("rank", csv, *given, "--evaluate", "--evaluate-timeout", 0, *FAST)
    assert ran.code == 0, ran.stderr
    assert len(pg.load(out / "model").networks_) == 2
    page = (out / "report.html").read_text()
    assert "model.fit(train.with_rows(val))" in page
    assert "It describes 2 networks of one split." in page
    again = command("evaluate", out, csv, "--parts", "curves", "--timeout", 0)
    assert again.code == 0, again.stderr
    assert pg.RankingEvaluation.load(out / "evaluation").settings["validation_rows"] == 0


BAD = {
    "no target": (["{csv}"], "pass --target COLUMN"),
    "absent target": (["{csv}", "--target", "z"], "target column 'z' is not in the table"),
    "absent file": (["absent.csv", "--target", "y"], "cannot read absent.csv"),
    "unknown data set": (["absent"], "no data set 'absent'"),
    "target of a data set": (["iris", "--target", "sepal width (cm)"], "the target of data set 'iris' is 'species'"),
    "task of a data set": (["iris", "--task", "regression"], "the task of data set 'iris' is classification"),
    "unwritable": (["{csv}", "--target", "y", "--out", "/proc/x/y"], "cannot write to /proc/x/y"),
    "too small": (["{csv}", "--target", "y", "--image-size", "1"], "features need at least"),
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
    assert "the time limit left out 1 of 2 features" in capsys.readouterr().out


def test_what_speaks_against_a_network_comes_before_its_ranking(capsys):
    learned = {"better": False, "rows": 50, "loss": 0.7, "prior_loss": 0.69, "low": -0.01, "high": 0.03}
    settings = {"test_rows": 50, "test_scores": {"accuracy": 0.5}, "learned": learned}
    settings |= {"verdict": "Ridge predicts these test rows better.", "beaten_by": "Ridge"}
    weights = {"tabular": 0.5, "image": 0.5}
    ranking = pg.FeatureRanking(("a", "b"), [1.0, 0.0], settings=settings, branch_weights=weights)
    show_ranking(ranking)
    first, second, *_ = [line for line in capsys.readouterr().out.splitlines() if line]
    assert first.startswith(
        "This network's predictions are not shown to beat the mean: on these 50 rows its loss is 0.7"
    )
    assert second == settings["verdict"]
    show_ranking(ranking)
    assert "branch weights" not in capsys.readouterr().out
    show_ranking(replace(ranking, settings={**settings, "learned": {"better": True}, "beaten_by": None}))
    shown = capsys.readouterr().out
    assert "branch weights: tabular 0.50, image 0.50" in shown
    assert "Ridge" not in shown


def test_what_a_ranking_is_of_and_what_its_columns_share_is_said(capsys):
    names, scores = ("a", "copy", "probe of a"), np.array([0.5, 0.4, 0.0])
    part = pg.FeatureRanking(names, scores, low=scores - 0.1, high=scores + 0.1)
    last = replace(part, scores=np.array([0.01, 0.0, 0.0]))
    settings = {"test_rows": 50, "test_scores": {"accuracy": 0.9}, "alike": [["a", "copy"]], "probes": ["probe of a"]}
    ranking = replace(part, components={"first_in": part, "end_to_end": last}, settings=settings)
    show_ranking(ranking)
    shown = capsys.readouterr().out
    assert "The scores describe this network, trained once. The 95 % intervals are over test rows; they do not" in shown
    assert "a and copy carry much the same information: on their own they save 0.4 to 0.5" in shown
    assert "a column without information may score up to 0.1; 2 of 2 columns have a higher score." in shown
    assert "conditional" not in shown
    recipe = {**settings, "trainings": 3, "scope": "this recipe"}
    tested = replace(part, p_values=np.array([0.01, 0.5, 0.5]))
    show_ranking(replace(ranking, components={"conditional": tested}, settings=recipe))
    shown = capsys.readouterr().out
    assert "The scores describe this recipe: means over 3 trainings" in shown
    assert "test rows of the first training (50)" in shown
    assert "conditional_p tests whether the column adds information about the target beyond the other columns" in shown


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:no information in 'same'")
def test_several_trainings_with_probes(csv, tmp_path, command):
    options = ["--target", "y", "--out", tmp_path / "out", "--branches", "tabular", "--trainings", "2", "--probes", "1"]
    ran = command("rank", csv, *options, *FAST)
    assert ran.code == 0, ran.stderr
    assert "training 2 of 2, on a split of its own" in ran.stdout
    ranking = pg.FeatureRanking.load(tmp_path / "out" / "ranking.json")
    assert (ranking.scope, ranking.settings["trainings"], len(ranking.probes)) == ("this recipe", 2, 1)
    assert (ranking.settings["n_train"], ranking.settings["n_test"]) == (72, 24)
    page = html.unescape((tmp_path / "out" / "report.html").read_text())
    assert "table = table.with_probes(1, random_state=0)" in page
    assert "ranking = pg.rank_recipe(model, table, trainings=2, split_random_state=42" in page
    assert "first of 2 trainings" in page
    table = pg.Table.from_file(csv, "y").with_probes(1)
    known = {"preset": "default", "epochs": 2, "image_size": 8, "branches": ("tabular",)}
    again = pg.rank_recipe(pg.HybridClassifier(**known), table, trainings=2, n_repeats=2)
    np.testing.assert_allclose(again.scores, ranking.scores, rtol=1e-6)
    assert command("evaluate", tmp_path / "out", csv, "--timeout", "0").code == 0


def test_levels_of_no_column_are_told_before_training(csv, command, tmp_path):
    options = ["--target", "y", "--out", tmp_path / "out", "--by", "nothing"]
    assert "no column 'nothing' to group the rows by" in command("rank", csv, *options, *FAST).stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_by_a_columns_levels(csv, command, tmp_path):
    options = ["--target", "y", "--out", tmp_path / "out", "--branches", "tabular", "--by"]
    done = command("rank", csv, *options, "kind", *FAST)
    assert done.code == 0, done.stderr
    assert "by kind, with 95 % intervals over the level's rows:" in done.stdout
    table = pd.read_csv(tmp_path / "out" / "by.csv")
    assert table["level"].tolist() == ["(all rows)", "u", "v"]
    assert table["rows"].tolist()[0] == 24 == table["rows"].iloc[1:].sum()
    importance = pd.read_csv(tmp_path / "out" / "by_importance.csv")
    ranking = pg.FeatureRanking.load(tmp_path / "out" / "ranking.json")
    whole = importance[importance["level"] == "(all rows)"].set_index("feature")["score"]
    np.testing.assert_allclose(whole[list(ranking.features)], ranking.scores)
    assert {"by.json", "by.png"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert "The network in each level of kind" in (tmp_path / "out" / "report.html").read_text()
