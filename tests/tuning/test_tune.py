"""`pg.tune` from a table to a results directory: one study with real networks, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

import permgrad as pg
from permgrad.metrics.scores import scores
from permgrad.tuning import api, checkpoints
from permgrad.tuning._pictures import study_pictures
from permgrad.tuning._writing import write_study
from permgrad.tuning.result import epochs_saved
from tests.tuning.conftest import small_space

FAST = {"settings": {"epochs": 2}, "space": small_space}
EPOCHS = 10


def image_space(trial):
    return {
        **small_space(trial),
        "preset": "published",
        "branches": ("tabular", "image"),
        "image_size": 8,
        "n_conv_layers": 1,
        "base_filters": 4,
    }


@pytest.fixture(scope="module")
def job():
    """What `tune` made of its arguments, see `tuned`."""
    return []


@pytest.fixture(scope="module")
def tuned(table, tmp_path_factory, job):
    """Three trials of a small hybrid: the study that most tests here look at. Not to be changed."""
    out = tmp_path_factory.mktemp("tuned") / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "write_study", lambda *given: (job.append(given), write_study(*given))[1])
        return pg.tune(table, image_space, n_trials=3, out=out, settings={"epochs": EPOCHS}, keep=2, pruner="none")


def test_each_trial_has_what_the_dashboard_shows(tuned):
    for trial in tuned.study.trials:
        attributes = trial.user_attrs
        assert trial.state == TrialState.COMPLETE
        assert attributes["epochs"] == len(trial.intermediate_values) == EPOCHS
        assert trial.value == attributes["val_loss"] == pytest.approx(min(trial.intermediate_values.values()), 1e-5)
        assert trial.intermediate_values[attributes["kept_epoch"] - 1] == pytest.approx(trial.value, 1e-5)
        files = {json.loads(v)["filename"]: k for k, v in trial.system_attrs.items() if k.startswith("artifacts:")}
        assert set(files) == {"learning_curve.png", "learning_curve.csv"}
        curve = pd.read_csv(tuned.directory / "artifacts" / files["learning_curve.csv"].removeprefix("artifacts:"))
        assert curve["epoch"].tolist() == list(range(1, EPOCHS + 1))
        np.testing.assert_allclose(curve["val_loss"], list(trial.intermediate_values.values()), rtol=1e-9)


def test_parameters_are_counted_right(tuned):
    units = tuned.best_params["units"]
    tabular = 4 * units + units + 4 * units  # Dense on 4 columns, and BatchNorm
    image = 9 * 4 + 4 + 4 * 4  # Conv 3 × 3 to 4 filters, and BatchNorm
    output = (units + 4 * 4 * 4 + 1) * 2
    scaling = tuned.best_model.network_.get_layer("scale").count_params()
    drawing = tuned.best_model.network_.get_layer("image").count_params()
    states = tuned.best_trial.user_attrs["parameters"] - tabular - image - output - scaling - drawing
    assert 0 <= states <= 8  # of the dropout layers' random numbers


def test_the_best_model_is_the_best_trials(tuned, table):
    assert tuned.best_value == min(trial.value for trial in tuned.study.trials) == tuned.best_trial.value
    _, val, test = table.split()
    model = tuned.best_model
    assert model.loss(val.X, val.y) == pytest.approx(tuned.best_value, rel=1e-6)
    assert model.dense_units == (tuned.best_params["units"],)
    assert tuned.ranking.settings["test_scores"] == pytest.approx(scores(model, test))
    assert tuned.ranking.select(1) == ["a"]
    saved = pg.load(tuned.directory / "model")
    assert (saved.predict(test.X) == model.predict(test.X)).all()


def test_the_directory_has_tables_and_pictures(tuned):
    names = {path.name for path in tuned.directory.iterdir()}
    assert names >= {"study.db", "study.json", "trials", "artifacts", "tuning.json", "trials.csv"}
    assert names >= {"model", "ranking.json", "ranking.csv", "ranking.png", "learning_curves.png", "confusion.png"}
    assert names >= {"layout.png", *(f"tuning_{name}.png" for name in ("history", "importance", "slice", "curves"))}
    assert not any(name.startswith(".") for name in names)
    kept = {path.name for path in (tuned.directory / "trials").glob("trial_*")}
    best = sorted(tuned.study.trials, key=lambda trial: trial.value)[:2]
    assert kept == {f"trial_{trial.number:04d}" for trial in best}


def test_tables_tell_of_the_study(tuned):
    summary = json.loads((tuned.directory / "tuning.json").read_text())
    assert (summary["finished"], summary["states"], summary["ranked"]) == (3, {"complete": 3}, True)
    assert summary["best"]["number"] == tuned.best_trial.number == tuned.ranking.settings["tuning"]["trial"]
    assert summary["table"]["sha256"] == tuned.ranking.settings["data"]["sha256"]
    assert summary["epochs_saved_by_pruning"] == tuned.epochs_saved == 0
    assert pg.FeatureRanking.load(tuned.directory / "ranking.json") == tuned.ranking
    frame = pd.read_csv(tuned.directory / "trials.csv")
    assert frame["number"].tolist() == [0, 1, 2]
    assert frame["units"].tolist() == [trial.params["units"] for trial in tuned.study.trials]


def test_epochs_saved_by_hand():
    study = optuna.create_study()
    for state, epochs in [("COMPLETE", 10), ("COMPLETE", 20), ("PRUNED", 3), ("PRUNED", 5), ("PRUNED", 40)]:
        value = 1.0 if state == "COMPLETE" else None
        study.add_trial(optuna.create_trial(state=TrialState[state], value=value, user_attrs={"epochs": epochs}))
    assert epochs_saved(study) == (15 - 3) + (15 - 5)


def test_run_again_nothing_is_changed(tuned, table):
    before = {path: path.stat().st_mtime_ns for path in tuned.directory.rglob("*") if path.is_file()}
    given = {"out": tuned.directory, "settings": {"epochs": EPOCHS}, "keep": 2, "pruner": "none"}
    again = pg.tune(table, image_space, n_trials=3, **given)
    assert {path: path.stat().st_mtime_ns for path in tuned.directory.rglob("*") if path.is_file()} == before
    assert again.ranking == tuned.ranking


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": 0}, "table rows was 120, is 100; table sha256 was"),
        ({"space": small_space}, "space name was image_space, is small_space"),
        ({"ranges": {"units": (4, 8)}}, "space ranges units was .*, is"),
        ({"metric": "auc"}, r"metric was \['loss'\], is \['auc'\]"),
        ({"settings": {"epochs": 5}}, "settings epochs was 10, is 5"),
        ({"random_state": 3}, "settings random_state was 0, is 3"),
        ({"split_random_state": 1}, "split_random_state was 42, is 1"),
    ],
)
def test_a_study_is_not_continued_with_anything_else(tuned, table, change, message):
    given = {"table": table, "space": image_space, "settings": {"epochs": EPOCHS}, **change}
    if "table" in change:
        given["table"] = table.take(np.arange(100))
    before = (tuned.directory / "tuning.json").read_bytes()
    with pytest.raises(pg.PermGradError, match=message):
        pg.tune(n_trials=7, out=tuned.directory, **given)
    assert (tuned.directory / "tuning.json").read_bytes() == before
    assert len(tuned.study.trials) == 3


def test_another_study_does_not_get_into_the_same_directory(tuned, table):
    before = sorted(tuned.directory.rglob("*"))
    for given in ({"study_name": "other"}, {"storage": f"journal://{tuned.directory.parent}/s.journal"}):
        with pytest.raises(pg.PermGradError, match="belongs to study 'small' in sqlite.*; choose another directory"):
            pg.tune(table, n_trials=1, out=tuned.directory, **FAST, **given)
    assert sorted(tuned.directory.rglob("*")) == before


def test_a_study_is_never_overwritten_by_a_ranking(tuned):
    with pytest.raises(pg.PermGradError, match="holds a tuning study and is kept"):
        tuned.best_model.save(tuned.directory, overwrite=True)
    assert (tuned.directory / "study.db").is_file()


def test_a_network_that_gives_another_loss_is_noticed_on_loading(tuned, table, tmp_path):
    _, val, _ = table.split()
    directory, trial = shutil.copytree(tuned.directory / "trials", tmp_path / "trials"), tuned.best_trial
    estimator = checkpoints.read(directory, trial, val)
    weights = estimator.network_.get_layer("logits").get_weights()
    estimator.network_.get_layer("logits").set_weights([1.5 * weights[0], weights[1]])
    estimator.save(checkpoints.place(directory, trial.number), overwrite=True)
    with pytest.raises(pg.PermGradError, match="gives a validation loss of .*, its trial . stored"):
        checkpoints.read(directory, trial, val)


def test_without_the_best_network_the_rest_is_written_and_it_is_said_where_it_is(tuned, job, tmp_path):
    ours, study, *tables = job[0]
    (tmp_path / "trials").mkdir()
    (tmp_path / ".results-left").mkdir()  # by a process that was killed when it wrote
    with pytest.warns(UserWarning, match="was it moved, or is `out` another"):
        result = write_study(replace(ours, directory=tmp_path), study, *tables)
    assert result.ranking is None
    assert (tmp_path / "trials.csv").is_file()
    assert not json.loads((tmp_path / "tuning.json").read_text())["ranked"]
    assert not list(tmp_path.glob(".results-*"))
    trial = study.best_trial
    trial.system_attrs["permgrad:owner"]["machine"] = "node7/12/pid"
    with pytest.raises(checkpoints.ElsewhereError, match="ran on node7, which holds its network"):
        checkpoints.read(tmp_path / "trials", trial, ours.objective.val)


def test_pictures_of_one_parameter_and_of_two_objectives():
    """A slice of a single parameter, and the Pareto front."""
    one, two = optuna.create_study(), optuna.create_study(directions=["minimize", "minimize"])
    for study, values in ((one, lambda x: x), (two, lambda x: (x, 1 - x))):
        for _ in range(3):
            trial = study.ask()
            x = trial.suggest_float("x", 0, 1)
            if study is one:
                trial.report(x, 0)
            study.tell(trial, values(x))
    assert [name for name, _ in study_pictures(one, ("loss",))] == [
        *("tuning_history", "tuning_importance", "tuning_slice", "tuning_curves")
    ]
    assert [name for name, _ in study_pictures(two, ("loss", "parameters"))][-1] == "tuning_pareto_front"


@pytest.mark.slow
def test_test_rows_reach_no_trial(table, tmp_path, monkeypatch):
    """With other test rows, trials come out the same; the ranking, which is of test rows, is left out here."""
    _, _, test = table.split()
    changed = table.X.copy()
    is_test = changed.apply(tuple, axis=1).isin(test.X.apply(tuple, axis=1))
    assert is_test.sum() == len(test)
    changed.loc[is_test] = 1e3
    monkeypatch.setattr(api, "write_study", lambda job, study, table, test: study)
    ours = pg.tune(table, n_trials=1, out=tmp_path / "a", **FAST)
    other = pg.tune(pg.Table(changed, table.y, name="small"), n_trials=1, out=tmp_path / "b", **FAST)
    assert ours.trials[0].value == other.trials[0].value
    assert ours.trials[0].intermediate_values == other.trials[0].intermediate_values


@pytest.mark.slow
def test_who_wants_the_best_network_alone_is_not_given_a_ranking(table, tmp_path, monkeypatch):
    given = {"n_trials": 1, "out": tmp_path / "r", **FAST}
    alone = pg.tune(table, rank=False, **given)
    assert (alone.ranking, alone.best_model.loss(table.split()[1])) == (None, pytest.approx(alone.best_value, rel=1e-6))
    names = {path.name for path in (tmp_path / "r").iterdir()}
    assert {"tuning.json", "trials.csv", "tuning_history.png"} <= names
    assert {"ranking.json", "report.html"}.isdisjoint(names)
    before = (tmp_path / "r" / "tuning.json").stat().st_mtime_ns
    pg.tune(table, rank=False, **given)
    assert (tmp_path / "r" / "tuning.json").stat().st_mtime_ns == before
    asked: list[object] = []
    monkeypatch.setattr("permgrad.tuning._writing._rank", lambda *given: asked.append(given))
    pg.tune(table, **given)  # a ranking is asked for later
    assert len(asked) == 1


def test_a_mistake_before_the_first_trial_may_be_mended(table, tmp_path):
    for metric, direction in (("loss", "MINIMIZE"), ("accuracy", "MAXIMIZE")):
        with pytest.raises(pg.PermGradError, match=r"no trial is complete \(none was begun\)"):
            pg.tune(table, n_trials=3, timeout=0, metric=metric, out=tmp_path / "r", **FAST)
        study = optuna.load_study(study_name="small", storage=f"sqlite:///{tmp_path}/r/study.db")
        assert study.direction.name == direction


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_trials": 0}, "n_trials must be at least 1, got 0"),
        ({"n_workers": 0}, "n_workers must be at least 1, got 0"),
        ({"metric": "r2"}, "metric must be one or two of 'loss', 'parameters', 'accuracy'"),
        ({"metric": ("loss", "loss")}, "one or two"),
        ({"sampler": "best"}, "sampler must be one of"),
        ({"pruner": "best"}, "pruner must be one of"),
        ({"space": "best"}, "space must be one of"),
        ({"settings": {"max_epoch": 3}}, "HybridClassifier has no setting 'max_epoch'"),
        ({"storage": "study.db"}, "storage must be a URL: sqlite"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(table, tmp_path, given, message):
    with pytest.raises(pg.PermGradError, match=message):
        pg.tune(table, out=tmp_path / "r", **{**FAST, **given})
    assert not (tmp_path / "r" / "study.json").exists()


def test_a_directory_of_something_else_is_kept(table, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(pg.PermGradError, match="holds files that do not belong to a study"):
        pg.tune(table, out=tmp_path, **FAST)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
