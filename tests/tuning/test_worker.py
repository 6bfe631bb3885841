"""What goes wrong in a trial, and what is left of it; trials without networks."""

from __future__ import annotations

from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState

import permgrad as pg
from permgrad.tuning import checkpoints
from permgrad.tuning.objective import Objective
from permgrad.tuning.study import DIED, FAILURE, INTERRUPTED, finished
from tests.tuning.stub import EPOCHS, run, stub_job, stub_space


@pytest.fixture
def job(table, tmp_path, monkeypatch):
    """Make a job of stub trials, whose networks on disk are empty directories."""
    monkeypatch.setattr(checkpoints, "write_estimator", lambda estimator, directory: None)
    monkeypatch.setattr("permgrad.tuning._worker.note_trial", lambda *_: None)
    return lambda *given, **changes: stub_job(table, tmp_path / "r", *given, **changes)


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def kept(job) -> set[str]:
    return {path.name for path in job.networks.iterdir()} - {".lock"}


def failing_at(numbers: set[int], error: type[BaseException], message: str):
    def space(trial):
        if trial.number in numbers:
            raise error(message)
        return stub_space(trial)

    return space


def test_a_trial_has_its_scores_size_and_time(job):
    study = run(job(n_trials=1))
    (trial,) = study.trials
    x = trial.params["x"]
    assert trial.value == trial.user_attrs["val_loss"] == abs(x - 0.3) + 1 / EPOCHS
    assert list(trial.intermediate_values.values()) == [abs(x - 0.3) + 1 / (e + 1) for e in range(EPOCHS)]
    expected = {"epochs": EPOCHS, "kept_epoch": EPOCHS, "parameters": round(100 * x)}
    assert {name: trial.user_attrs[name] for name in expected} == expected
    assert {"val_accuracy", "val_auc", "val_f1", "seconds"} <= set(trial.user_attrs)


@pytest.mark.slow
def test_only_the_best_networks_are_kept(job):
    ours = job(n_trials=6, keep=2)
    study = run(ours)
    best = sorted(study.trials, key=lambda trial: trial.value)[:2]
    assert kept(ours) == {f"trial_{trial.number:04d}" for trial in best}


@pytest.mark.slow
def test_two_objectives_give_a_pareto_front_whose_networks_are_kept(job):
    ours = job(n_trials=8, metrics=("loss", "parameters"), keep=1)
    study = run(ours)
    values = [tuple(trial.values) for trial in study.trials]
    front = {v for v in values if not any(w != v and w[0] <= v[0] and w[1] <= v[1] for w in values)}
    best = checkpoints.best_trials(study, 1)
    assert 1 < len(front) < 8
    assert {tuple(trial.values) for trial in best} == front
    assert best[0].values[0] == min(v[0] for v in values)
    assert kept(ours) == {f"trial_{trial.number:04d}" for trial in best}


@pytest.mark.slow
def test_a_hopeless_trial_is_pruned_and_keeps_the_scores_of_its_last_epoch(job):
    study = run(job(n_trials=6, pruner="halving"))
    pruned = [trial for trial in study.trials if trial.state == TrialState.PRUNED]
    assert pruned
    for trial in pruned:
        epochs = len(trial.intermediate_values)
        assert trial.user_attrs["epochs"] == epochs < EPOCHS
        assert trial.user_attrs["val_loss"] == trial.value == trial.intermediate_values[epochs - 1]


def test_a_trial_that_fails_is_recorded_with_its_reason_and_the_study_goes_on(job):
    study = run(job(failing_at({1, 2}, MemoryError, "cannot allocate 3 TiB\nand more lines"), 3))
    assert states(study) == ["COMPLETE", "FAIL", "FAIL", "COMPLETE", "COMPLETE"]
    assert study.trials[1].user_attrs[FAILURE] == "MemoryError: cannot allocate 3 TiB"


@pytest.mark.slow
def test_five_failures_in_a_row_end_it_with_their_reason(job):
    ours = job(failing_at({1, 2, 3, 4, 5}, OSError, "no device"), 3)
    with pytest.raises(pg.PermGradError, match="5 trials in a row failed; the last: trial 5, OSError: no device"):
        run(ours)
    study = run(ours)  # what was there before is still there
    assert [trial.number for trial in study.trials if trial.state == TrialState.COMPLETE] == [0, 6, 7]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"unit": 3}, "settings, got 'unit'"),
        ((), "must return a dict of HybridClassifier's settings, got 'tuple'"),
        ({"class_weight": "balanced"}, "do not compare; give another metric, such as log_loss"),
    ],
)
def test_a_space_that_no_trial_can_succeed_with_ends_it_at_once(job, config, message):
    ours = job(lambda trial: config, objective=Objective)
    with pytest.raises(pg.PermGradError, match=message):
        run(ours)
    assert len(ours.open()[0].trials) == 2  # the one that showed it, and its suggestions queued for a mended space


def test_class_weights_of_the_space_are_fine_for_scores_that_compare(job):
    objective = job(lambda trial: {"class_weight": "balanced"}, metrics=("log_loss",), objective=Objective).objective
    assert objective.estimator(None).class_weight == "balanced"


def test_an_interrupted_trial_is_tried_again_with_its_suggestions(job):
    interrupted = []

    def space(trial):
        config = stub_space(trial)
        if trial.number == 1 and not interrupted:
            interrupted.append(trial.params)
            raise KeyboardInterrupt
        return config

    with pytest.raises(KeyboardInterrupt):
        run(job(space))
    study = run(job(space))
    assert states(study) == ["COMPLETE", "FAIL", "COMPLETE", "COMPLETE"]
    assert study.trials[1].user_attrs[FAILURE] == INTERRUPTED
    assert study.trials[2].params == interrupted[0]


def test_an_outcome_that_comes_after_its_trial_was_taken_for_dead_is_dropped(job):
    def space(trial):
        config = stub_space(trial)
        if trial.number == 0:  # as another process does that has had no heartbeat for two minutes
            trial.set_user_attr(FAILURE, DIED)
            trial.study.tell(trial.number, state=TrialState.FAIL)
        return config

    ours = job(space, 1)
    study = run(ours)
    assert states(study)[-1] == "COMPLETE"
    assert kept(ours) == {f"trial_{finished(study)[0].number:04d}"}


def test_a_space_may_prune_what_it_knows_to_be_hopeless(job):
    study = run(job(failing_at({0}, optuna.TrialPruned, "wider than deep"), 2))
    assert states(study) == ["PRUNED", "COMPLETE"]
    assert study.trials[0].user_attrs["epochs"] == 0


def test_what_goes_wrong_after_training_is_a_failure_with_its_reason_too(job, monkeypatch):
    asked = []

    def full_disk(estimator, directory):
        if len(asked) == 1:
            raise OSError(28, "No space left on device")

    def no_number(estimator, val):
        asked.append(estimator)
        return {"accuracy": float("nan") if len(asked) == 2 else 0.5}

    monkeypatch.setattr(checkpoints, "write_estimator", full_disk)
    monkeypatch.setattr("permgrad.tuning.objective.scores", no_number)
    study = run(job(n_trials=1, metrics=("accuracy", "parameters")))
    reasons = [trial.user_attrs.get(FAILURE, "") for trial in study.trials]
    assert "No space left" in reasons[0]
    assert "not as finite numbers" in reasons[1]
    assert reasons[2] == ""


def test_a_storage_inside_the_results_directory_is_no_stranger(job, tmp_path):
    (tmp_path / "r").mkdir()
    for n in (1, 2):
        assert len(run(job(n_trials=n, url=f"journal://{tmp_path}/r/s.journal")).trials) == n


def test_no_trial_is_begun_when_time_is_over(job):
    ours = job()
    assert run(replace(ours, deadline=0.0)).trials == []
    assert len(run(ours).trials) == 3


def test_leftovers_of_killed_processes_go_and_what_runs_stays(job):
    ours = job(n_trials=2)
    study = run(ours)
    for name in (".trial_0000-x1", "trial_0017", ".trial_0001-old-x"):
        (ours.networks / name).mkdir()
    (ours.networks / "notes.txt").write_text("mine")
    half = ours.networks / f".trial_{study.ask().number:04d}-x2"
    half.mkdir()
    checkpoints.keep_best(ours.networks, study, 1)
    assert kept(ours) == {f"trial_{study.best_trial.number:04d}", "notes.txt", half.name}
