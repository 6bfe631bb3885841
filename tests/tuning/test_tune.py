"""`pg.tune` from a table to a results directory."""

from __future__ import annotations

import json

import numpy as np
import optuna
import pandas as pd
import pytest
from optuna.trial import TrialState

import permgrad as pg
from permgrad.metrics.scores import scores
from tests.tuning.conftest import small_space

FAST = {"epochs": 8, "space": small_space}


pytestmark = pytest.mark.xdist_group("tune")


@pytest.fixture(scope="module")
def tuned(table, tmp_path_factory):
    """Six trials of a small hybrid: the study that most tests here look at."""
    out = tmp_path_factory.mktemp("tuned") / "results"

    def space(trial):
        return {
            **small_space(trial),
            "branches": ("tabular", "image"),
            "image_size": 8,
            "n_conv_layers": 1,
            "base_filters": 4,
        }

    tuned = pg.tune(table, space, n_trials=6, out=out, epochs=12, keep=2, pruner="median")
    return tuned, space


@pytest.mark.slow
def test_the_study_has_the_trials_and_each_has_what_the_dashboard_shows(tuned, table):
    result, _ = tuned
    trials = result.study.trials
    assert len(trials) == 6
    assert {trial.state for trial in trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    for trial in trials:
        attributes = trial.user_attrs
        assert attributes["epochs"] == len(trial.intermediate_values) <= 12
        assert attributes["seconds"] > 0
        assert attributes["parameters"] > 100
        names = {json.loads(v)["filename"] for k, v in trial.system_attrs.items() if k.startswith("artifacts:")}
        assert names == {"learning_curve.png", "learning_curve.csv"}
        assert {"val_loss", "val_accuracy", "val_auc", "val_f1"} <= set(attributes)
        if trial.state == TrialState.COMPLETE:
            assert trial.value == attributes["val_loss"] == pytest.approx(min(trial.intermediate_values.values()), 1e-5)
            assert trial.intermediate_values[attributes["kept_epoch"] - 1] == pytest.approx(trial.value, 1e-5)
        else:
            assert attributes["val_loss"] == pytest.approx(trial.value, 1e-5)  # of its last epoch


@pytest.mark.slow
def test_the_learning_curve_is_the_one_that_pruning_saw(tuned):
    result, _ = tuned
    for trial in result.study.trials:
        files = {json.loads(v)["filename"]: k for k, v in trial.system_attrs.items() if k.startswith("artifacts:")}
        path = result.directory / "artifacts" / files["learning_curve.csv"].removeprefix("artifacts:")
        curve = pd.read_csv(path)
        assert curve["epoch"].tolist() == list(range(1, len(curve) + 1))
        np.testing.assert_allclose(curve["val_loss"], list(trial.intermediate_values.values()), rtol=1e-9)


@pytest.mark.slow
def test_parameters_are_counted_right(tuned):
    result, _ = tuned
    units = result.best_params["units"]
    tabular = 4 * units + units + 4 * units  # Dense on 4 columns, and BatchNorm
    image = 9 * 4 + 4 + 4 * 4  # Conv 3 × 3 to 4 filters, and BatchNorm
    output = (units + 4 * 4 * 4 + 1) * 2
    scaling = result.best_model.network_.get_layer("scale").count_params()
    drawing = result.best_model.network_.get_layer("image").count_params()
    seeds = result.best_trial.user_attrs["parameters"] - tabular - image - output - scaling - drawing
    assert 0 <= seeds <= 8  # states of the dropout layers' seeds


@pytest.mark.slow
def test_the_best_model_is_the_best_trials(tuned, table):
    result, _ = tuned
    complete = [trial for trial in result.study.trials if trial.state == TrialState.COMPLETE]
    assert result.best_value == min(trial.value for trial in complete) == result.best_trial.value
    _, val, test = table.split()
    model = result.best_model
    assert model.loss(val.X, val.y) == pytest.approx(result.best_value, rel=1e-6)
    assert model.dense_units == (result.best_params["units"],)
    assert result.ranking.settings["test_scores"] == pytest.approx(scores(model, test))
    assert result.ranking.select(1) == ["a"]
    saved = pg.load(result.directory / "model")
    assert (saved.predict(test.X) == model.predict(test.X)).all()


@pytest.mark.slow
def test_the_directory_has_tables_and_pictures(tuned):
    result, _ = tuned
    found = {path.name for path in result.directory.iterdir()}
    assert found >= {
        "study.db",
        "study.json",
        "trials",
        "artifacts",
        "tuning.json",
        "trials.csv",
        "ranking.json",
        "ranking.csv",
    }
    assert found >= {"model", "ranking.png", "learning_curves.png", "confusion.png", "layout.png"}
    assert found >= {f"tuning_{name}.png" for name in ("history", "importance", "slice", "curves")}
    assert not any(name.startswith(".") for name in found)
    summary = json.loads((result.directory / "tuning.json").read_text())
    assert summary["finished"] == 6
    assert summary["best"]["number"] == result.best_trial.number
    assert summary["table"]["sha256"] == result.ranking.settings["data"]["sha256"]
    assert summary["epochs_saved_by_pruning"] == result.epochs_saved
    assert pg.FeatureRanking.load(result.directory / "ranking.json") == result.ranking
    assert result.ranking.settings["tuning"]["trial"] == result.best_trial.number
    frame = pd.read_csv(result.directory / "trials.csv")
    assert frame["number"].tolist() == list(range(6))
    assert frame["units"].tolist() == [trial.params["units"] for trial in result.study.trials]


def test_epochs_saved_by_hand():
    from permgrad.tuning.results import epochs_saved

    study = optuna.create_study()
    for state, epochs in [("COMPLETE", 10), ("COMPLETE", 20), ("PRUNED", 3), ("PRUNED", 5), ("PRUNED", 40)]:
        value = 1.0 if state == "COMPLETE" else None
        study.add_trial(optuna.create_trial(state=TrialState[state], value=value, user_attrs={"epochs": epochs}))
    assert epochs_saved(study) == (15 - 3) + (15 - 5)


@pytest.mark.slow
def test_only_the_best_networks_are_kept(tuned):
    result, _ = tuned
    complete = sorted((t for t in result.study.trials if t.state == TrialState.COMPLETE), key=lambda t: t.value)
    kept = {path.name for path in (result.directory / "trials").glob("trial_*")}
    assert kept == {f"trial_{trial.number:04d}" for trial in complete[:2]}


@pytest.mark.slow
def test_run_again_nothing_is_done(tuned, table):
    result, space = tuned
    before = {path: path.stat().st_mtime_ns for path in result.directory.rglob("*") if path.is_file()}
    again = pg.tune(table, space, n_trials=6, out=result.directory, epochs=12, keep=2, pruner="median")
    assert {path: path.stat().st_mtime_ns for path in result.directory.rglob("*") if path.is_file()} == before
    assert again.ranking == result.ranking


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"table": 0}, "table rows was 120, is 100; table sha256 was"),
        ({"space": small_space}, "space name was .*, is small_space"),
        ({"ranges": {"units": (4, 8)}}, "space ranges units was .*, is"),
        ({"metric": "auc"}, r"metric was \['loss'\], is \['auc'\]"),
        ({"epochs": 5}, "settings epochs was 12, is 5"),
        ({"random_state": 3}, "settings random_state was 0, is 3"),
        ({"split_random_state": 1}, "split_random_state was 42, is 1"),
    ],
)
def test_a_study_is_not_continued_with_anything_else(tuned, table, change, message):
    result, space = tuned
    given = {"table": table, "space": space, "epochs": 12, **change}
    if "table" in change:
        given["table"] = table.take(np.arange(100))
    before = (result.directory / "tuning.json").read_bytes()
    with pytest.raises(pg.PermGradError, match=message):
        pg.tune(n_trials=7, out=result.directory, **given)
    assert (result.directory / "tuning.json").read_bytes() == before
    assert len(result.study.trials) == 6


@pytest.mark.slow
def test_stopped_and_started_a_study_equals_one_that_ran_through(table, tmp_path):
    through = pg.tune(table, n_trials=5, out=tmp_path / "through", **FAST)
    for n_trials in (2, 3, 5):
        stopped = pg.tune(table, n_trials=n_trials, out=tmp_path / "stopped", **FAST)
        assert len(stopped.study.trials) == n_trials  # the total counts what ran before
    assert [t.params for t in stopped.study.trials] == [t.params for t in through.study.trials]
    assert [t.value for t in stopped.study.trials] == [t.value for t in through.study.trials]


@pytest.mark.slow
def test_a_named_metric_is_maximised_pruned_by_and_stored(table, tmp_path):
    result = pg.tune(table, n_trials=4, metric="balanced_accuracy", out=tmp_path / "r", **FAST)
    complete = [trial for trial in result.study.trials if trial.state == TrialState.COMPLETE]
    assert result.best_value == max(trial.value for trial in complete)
    _, val, _ = table.split()
    assert scores(result.best_model, val)["balanced_accuracy"] == result.best_value
    curve = result.best_trial.intermediate_values
    assert curve[result.best_trial.user_attrs["kept_epoch"] - 1] == result.best_value


@pytest.mark.slow
def test_two_objectives_give_a_front(table, tmp_path):
    result = pg.tune(table, n_trials=5, metric=("loss", "parameters"), out=tmp_path / "r", **FAST)
    values = [trial.values for trial in result.study.trials]
    front = [v for v in values if not any(w != v and w[0] <= v[0] and w[1] <= v[1] for w in values)]
    assert sorted(trial.values for trial in result.best_trials) == sorted(front)
    assert result.best_value == min(v[0] for v in values)
    assert result.best_model.network_.count_params() == result.best_trial.values[1]
    assert (tmp_path / "r" / "tuning_front.png").is_file()
    kept = {path.name for path in (tmp_path / "r" / "trials").glob("trial_*")}
    assert kept == {f"trial_{trial.number:04d}" for trial in result.best_trials}


@pytest.mark.slow
def test_a_study_of_a_single_parameter_is_drawn(table, tmp_path):
    def space(trial):
        return {**small_space(optuna.trial.FixedTrial({"units": 8, "lr": trial.suggest_float("lr", 1e-3, 1e-1)}))}

    pg.tune(table, space, n_trials=3, out=tmp_path / "r", epochs=3, pruner="none")
    assert (tmp_path / "r" / "tuning_slice.png").is_file()


@pytest.mark.slow
def test_regression(tmp_path):
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(400, 3)), columns=list("xvw"))
    table = pg.Table(X, (100 * X.x + rng.normal(size=400)).rename("y"), name="line")
    result = pg.tune(table, n_trials=2, metric="r2", out=tmp_path / "r", **FAST)
    assert result.ranking.select(1) == ["x"]
    assert (tmp_path / "r" / "predicted_against_true.png").is_file()


def test_test_rows_reach_no_trial(table, tmp_path):
    """With other test rows, nothing but the test scores and the ranking changes."""
    _, _, test = table.split()
    changed = table.X.copy()
    is_test = changed.apply(tuple, axis=1).isin(test.X.apply(tuple, axis=1))
    assert is_test.sum() == len(test)
    changed.loc[is_test] = 1e3
    ours = pg.tune(table, n_trials=2, out=tmp_path / "a", **FAST)
    other = pg.tune(pg.Table(changed, table.y, name="small"), n_trials=2, out=tmp_path / "b", **FAST)
    assert [trial.value for trial in ours.study.trials] == [trial.value for trial in other.study.trials]
    assert ours.ranking.settings["test_scores"] != other.ranking.settings["test_scores"]


def test_no_trial_is_begun_when_time_is_over(table, tmp_path):
    with pytest.raises(pg.PermGradError, match="no trial is complete"):
        pg.tune(table, n_trials=3, timeout=0, out=tmp_path / "r", **FAST)
    assert pg.tune(table, n_trials=1, out=tmp_path / "r", **FAST).best_trial.number == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_trials": 0}, "n_trials, workers and keep must be at least 1, got 0, 1 and 3"),
        ({"metric": "r2"}, "metric must be one or two of 'loss', 'parameters', 'accuracy'"),
        ({"metric": ("loss", "loss")}, "one or two"),
        ({"sampler": "best"}, "sampler must be one of"),
        ({"pruner": "best"}, "pruner must be one of"),
        ({"space": "best"}, "space must be one of"),
        ({"max_epoch": 3}, "HybridClassifier has no setting 'max_epoch'"),
        ({"storage": "study.db"}, "storage must be a URL: sqlite"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(table, tmp_path, given, message):
    with pytest.raises(pg.PermGradError, match=message):
        pg.tune(table, out=tmp_path / "r", **{**FAST, **given})
    assert not (tmp_path / "r" / "study.json").exists()


@pytest.mark.slow
def test_a_mistake_before_the_first_trial_may_be_mended(table, tmp_path):
    with pytest.raises(pg.PermGradError, match="no trial is complete"):
        pg.tune(table, n_trials=1, timeout=0, out=tmp_path / "r", **FAST)
    result = pg.tune(table, n_trials=3, metric="accuracy", out=tmp_path / "r", **FAST)
    assert result.study.directions[0].name == "MAXIMIZE"
    assert result.best_value == max(trial.value for trial in result.study.trials if trial.state == TrialState.COMPLETE)


@pytest.mark.slow
def test_another_study_does_not_get_into_the_same_directory(tuned, table):
    result, _ = tuned
    before = sorted(result.directory.rglob("*"))
    for given in ({"name": "other"}, {"storage": f"journal://{result.directory.parent}/s.journal"}):
        with pytest.raises(pg.PermGradError, match="is of study 'small' in sqlite.*; choose another --out"):
            pg.tune(table, n_trials=1, out=result.directory, **FAST, **given)
    assert sorted(result.directory.rglob("*")) == before


def test_a_storage_inside_the_results_directory_is_no_stranger(table, tmp_path):
    (tmp_path / "r").mkdir()
    for _ in range(2):
        result = pg.tune(table, n_trials=1, out=tmp_path / "r", storage=f"journal://{tmp_path}/r/s.journal", **FAST)
    assert len(result.study.trials) == 1


def test_a_directory_of_something_else_is_kept(table, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(pg.PermGradError, match="holds other files than a study's"):
        pg.tune(table, out=tmp_path, **FAST)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.slow
def test_a_study_is_never_overwritten_by_a_ranking(tuned):
    result, _ = tuned
    with pytest.raises(pg.PermGradError, match="holds a tuning study and is kept"):
        result.best_model.save(result.directory, overwrite=True)
    assert (result.directory / "study.db").is_file()
