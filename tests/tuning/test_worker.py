"""What goes wrong in a trial, and what is left of it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

import permgrad as pg
from permgrad.metrics.scores import scores
from permgrad.tuning import checkpoints
from permgrad.tuning.study import DIED, FAILURE, INTERRUPTED
from tests.tuning.conftest import small_space

FAST = {"epochs": 4, "pruner": "none"}


def failing_at(numbers: set[int], error: type[BaseException], message: str):
    def space(trial):
        if trial.number in numbers:
            raise error(message)
        return small_space(trial)

    return space


@pytest.mark.slow
def test_a_trial_that_fails_is_recorded_with_its_reason_and_the_study_goes_on(table, tmp_path):
    space = failing_at({1, 2}, MemoryError, "cannot allocate 3 TiB\nand more lines")
    result = pg.tune(table, space, n_trials=3, out=tmp_path / "r", **FAST)
    states = [trial.state.name for trial in result.study.trials]
    assert states == ["COMPLETE", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert result.study.trials[1].user_attrs[FAILURE] == "MemoryError: cannot allocate 3 TiB"
    assert json.loads((tmp_path / "r" / "tuning.json").read_text())["states"] == {"complete": 3, "fail": 2}


def test_an_impossible_network_and_a_loss_that_is_no_number_are_failures_too(table, tmp_path):
    def space(trial):
        if trial.number == 0:
            return {"branches": ("image",), "n_conv_layers": 6, "image_size": 8}
        return {**small_space(trial), "learning_rate": float("inf") if trial.number == 1 else 1e-2}

    result = pg.tune(table, space, n_trials=1, out=tmp_path / "r", **FAST)
    reasons = [trial.user_attrs.get(FAILURE, "") for trial in result.study.trials]
    assert "6 convolution blocks halve the image" in reasons[0]
    assert "training diverged" in reasons[1]
    assert reasons[2] == ""


@pytest.mark.slow
def test_five_failures_in_a_row_end_it_with_their_reason(table, tmp_path):
    space = failing_at({1, 2, 3, 4, 5}, OSError, "no device")
    with pytest.raises(pg.PermGradError, match="5 trials in a row failed; the last: trial 5, OSError: no device"):
        pg.tune(table, space, n_trials=3, out=tmp_path / "r", **FAST)
    result = pg.tune(table, space, n_trials=3, out=tmp_path / "r", **FAST)  # what was there before is still there
    assert [trial.number for trial in result.study.trials if trial.state == TrialState.COMPLETE] == [0, 6, 7]


def test_a_space_of_unknown_settings_ends_it_at_once(table, tmp_path):
    with pytest.raises(pg.PermGradError, match="found 'unit'"):
        pg.tune(table, lambda trial: {"unit": 3}, n_trials=3, out=tmp_path / "r", **FAST)
    with pytest.raises(pg.PermGradError, match="must return a dict of HybridClassifier's settings, found 'tuple'"):
        pg.tune(table, lambda trial: (), n_trials=3, out=tmp_path / "s", **FAST)


@pytest.mark.slow
def test_an_interrupted_trial_is_tried_again_with_its_suggestions(table, tmp_path):
    interrupted = []

    def space(trial):
        config = small_space(trial)
        if trial.number == 1 and not interrupted:
            interrupted.append(trial.params)
            raise KeyboardInterrupt
        return config

    with pytest.raises(KeyboardInterrupt):
        pg.tune(table, space, n_trials=3, out=tmp_path / "r", **FAST)
    result = pg.tune(table, space, n_trials=3, out=tmp_path / "r", **FAST)
    assert [trial.state.name for trial in result.study.trials] == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert result.study.trials[1].user_attrs[FAILURE] == INTERRUPTED
    assert result.study.trials[2].params == interrupted[0]


def test_an_outcome_that_comes_after_its_trial_was_taken_for_dead_is_dropped(table, tmp_path):
    def space(trial):
        config = small_space(trial)
        if trial.number == 0:  # as another process does that has seen no heartbeat for two minutes
            trial.set_user_attr(FAILURE, DIED)
            trial.study.tell(trial.number, state=TrialState.FAIL)
        return config

    result = pg.tune(table, space, n_trials=1, out=tmp_path / "r", **FAST)
    assert [trial.state.name for trial in result.study.trials][-1] == "COMPLETE"
    assert {path.name for path in (tmp_path / "r" / "trials").glob("trial_*")} == {
        f"trial_{result.best_trial.number:04d}"
    }


def test_a_space_may_prune_what_it_knows_to_be_hopeless(table, tmp_path):
    def space(trial):
        if trial.number == 0:
            raise optuna.TrialPruned("wider than deep")
        return small_space(trial)

    result = pg.tune(table, space, n_trials=2, out=tmp_path / "r", **FAST)
    assert [trial.state.name for trial in result.study.trials] == ["PRUNED", "COMPLETE"]
    assert result.study.trials[0].user_attrs["epochs"] == 0
    assert result.epochs_saved == 0


@pytest.mark.slow
def test_what_goes_wrong_after_training_is_a_failure_with_its_reason_too(table, tmp_path, monkeypatch):
    write, told = checkpoints.write, []

    def full_disk(directory, number, estimator):
        if number == 0:
            raise OSError(28, "No space left on device")
        write(directory, number, estimator)

    def no_number(estimator, val):
        told.append(estimator)
        return {**scores(estimator, val), "accuracy": float("nan") if len(told) == 2 else 0.5}

    monkeypatch.setattr(checkpoints, "write", full_disk)
    monkeypatch.setattr("permgrad.tuning.objective.scores", no_number)
    result = pg.tune(table, small_space, n_trials=1, out=tmp_path / "r", metric=("accuracy", "parameters"), **FAST)
    reasons = [trial.user_attrs.get(FAILURE, "") for trial in result.study.trials]
    assert "No space left" in reasons[0]
    assert "which is no finite number" in reasons[1]
    assert reasons[2] == ""


def test_losses_under_weights_that_the_space_chooses_are_not_compared(table, tmp_path):
    def space(trial):
        return {**small_space(trial), "class_weight": "balanced"}

    with pytest.raises(pg.PermGradError, match="do not compare; give another metric, such as log_loss"):
        pg.tune(table, space, n_trials=1, out=tmp_path / "r", **FAST)
    assert pg.tune(table, space, n_trials=1, out=tmp_path / "r", metric="log_loss", **FAST).best_value > 0


@pytest.fixture
def result(table, tmp_path):
    return pg.tune(table, small_space, n_trials=2, out=tmp_path / "r", **FAST)


def test_a_network_that_gives_another_loss_is_found_out_on_loading(result, table):
    _, val, _ = table.split()
    directory, trial = result.directory / "trials", result.best_trial
    estimator = checkpoints.read(directory, trial, val)
    weights = estimator.network_.get_layer("logits").get_weights()
    estimator.network_.get_layer("logits").set_weights([1.5 * weights[0], weights[1]])
    estimator.save(checkpoints.place(directory, trial.number), overwrite=True)
    with pytest.raises(pg.PermGradError, match="gives a validation loss of .*, its trial . stored"):
        checkpoints.read(directory, trial, val)
    with pytest.raises(pg.PermGradError, match="gives a validation loss"):
        checkpoints.read(directory, trial, val.take(np.arange(5)))


def test_a_network_on_another_machine_is_said_to_be_there(result, table):
    _, val, _ = table.split()
    trial = result.best_trial
    shutil.rmtree(result.directory / "trials")
    with pytest.raises(checkpoints.ElsewhereError, match="moved, or tuned with another --out"):
        checkpoints.read(result.directory / "trials", trial, val)
    trial.system_attrs["permgrad:owner"]["machine"] = "node7/12/pid"
    with pytest.raises(checkpoints.ElsewhereError, match="ran on node7, which holds its network"):
        checkpoints.read(result.directory / "trials", trial, val)


def test_without_the_best_network_the_rest_is_written(result, table):
    shutil.rmtree(result.directory / "trials" / f"trial_{result.best_trial.number:04d}")
    (result.directory / ".results-left").mkdir()  # by a process that was killed when it wrote
    for name in ("tuning.json", "trials.csv", "ranking.json"):
        (result.directory / name).unlink()
    with pytest.warns(UserWarning, match="moved, or tuned with another"):
        again = pg.tune(table, small_space, n_trials=2, out=result.directory, **FAST)
    assert again.ranking is None
    assert (result.directory / "trials.csv").is_file()
    assert not json.loads((result.directory / "tuning.json").read_text())["ranked"]
    assert not list(result.directory.glob(".results-*"))


def test_leftovers_of_killed_processes_go_and_what_runs_stays(result):
    directory = result.directory / "trials"
    for name in (".trial_0000-x1", "trial_0017", ".trial_0001-old-x"):
        (directory / name).mkdir()
    (directory / "notes.txt").write_text("mine")
    running = result.study.ask()
    half = directory / f".trial_{running.number:04d}-x2"
    half.mkdir()
    checkpoints.keep_best(directory, result.study, 1)
    kept = {path.name for path in directory.iterdir()} - {".lock"}
    assert kept == {f"trial_{result.best_trial.number:04d}", "notes.txt", half.name}
