"""Limits: which trials are the best, which are not trained to their end, and what the study says of them."""

from __future__ import annotations

import json
import time
import urllib.request

import numpy as np
import pytest
from optuna.trial import TrialState

import permgrad as pg
from permgrad.tuning import api, checkpoints
from permgrad.tuning.constraints import check_constraints, is_feasible, told
from permgrad.tuning.result import best_trial, trials_table
from tests.tuning.stub import EPOCHS, StubEstimator, StubObjective, run, stub_job
from tests.tuning.test_dashboard import serving

PLANTED = (0.32, 0.9, 0.1, 0.35)
"""The losses of these are 0.27, 0.85, 0.45 and 0.30; their sizes 32, 90, 10 and 35."""


def planted(trial):
    return {"x": trial.suggest_float("x", PLANTED[trial.number], PLANTED[trial.number])}


@pytest.fixture
def job(table, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "write_estimator", lambda estimator, directory: None)
    monkeypatch.setattr("permgrad.tuning._worker.note_trial", lambda *_: None)

    def make(constraints, place="r", **more):
        return stub_job(table, tmp_path / place, planted, len(PLANTED), constraints=constraints, **more)

    return make


def kept(job) -> set[str]:
    return {path.name for path in job.networks.glob("trial_*")}


def test_the_best_trial_is_the_best_of_those_within(job):
    assert best_trial(run(job({}))).number == 0


def test_a_network_that_is_too_large_is_not_trained(job):
    ours = job({"parameters": 30}, keep=2)
    study = run(ours)
    assert best_trial(study).number == 2
    assert [trial.state.name for trial in study.trials] == ["PRUNED", "PRUNED", "COMPLETE", "PRUNED"]
    assert [trial.user_attrs["epochs"] for trial in study.trials] == [0, 0, EPOCHS, 0]
    assert [trial.constraints["parameters"] for trial in study.trials] == [2, 60, -20, 5]
    assert [trial.user_attrs["parameters"] for trial in study.trials] == [32, 90, 10, 35]
    assert kept(ours) == {"trial_0002"}
    assert trials_table(study, ("loss",))["feasible"].tolist() == [False, False, True, False]


def test_a_limit_that_only_the_end_tells_leaves_trials_out(job):
    ours = job({"loss": 0.4}, metrics=("parameters",), keep=1)
    study = run(ours)
    assert {trial.state for trial in study.trials} == {TrialState.COMPLETE}
    assert study.trials[2].constraints == {"loss": pytest.approx(0.05)}
    assert study.trials[2].value < study.trials[0].value  # smaller, but its loss is beyond
    assert best_trial(study).number == 0
    assert kept(ours) == {"trial_0000"}


def test_a_score_that_is_better_when_higher_must_be_at_least_its_limit(job, table):
    _, val, _ = table.split()
    calibration = pg.expected_calibration_error(
        np.searchsorted(["high", "low"], val.y), StubEstimator(0.5).predict_proba(val.X)
    )
    study = run(job({"accuracy": 0.4, "calibration_error": 0.5}))
    for trial in study.trials:
        assert trial.constraints["accuracy"] == pytest.approx(0.4 - trial.user_attrs["val_accuracy"])
        assert trial.user_attrs["val_calibration_error"] == pytest.approx(calibration)
        assert trial.constraints["calibration_error"] == pytest.approx(calibration - 0.5)


def test_a_fit_that_takes_too_long_is_stopped(job):
    class Slow(StubEstimator):
        def loss(self, X, y=None):
            time.sleep(0.05 if self.x > 0.5 else 0)
            return super().loss(X, y)

    class SlowObjective(StubObjective):
        def estimator(self, trial):
            return Slow(**self.space(trial))

    study = run(job({"seconds": 0.045}, objective=SlowObjective))
    assert study.trials[1].state == TrialState.PRUNED
    assert study.trials[1].user_attrs["epochs"] == 1
    assert study.trials[1].constraints["seconds"] > 0


@pytest.mark.slow
def test_of_two_objectives_the_front_is_of_those_within(job):
    study = run(job({"loss": 0.4, "parameters": 80}, metrics=("loss", "parameters")))
    assert study.trials[1].state == TrialState.PRUNED
    assert {trial.number for trial in checkpoints.best_trials(study, 1)} == {0}
    study = run(job({}, metrics=("loss", "parameters"), place="free"))
    assert {trial.number for trial in checkpoints.best_trials(study, 1)} == {0, 2}


def test_a_study_in_which_nothing_is_within_says_so(job):
    study = run(job({"parameters": 5, "loss": 9.0}))
    assert checkpoints.best_trials(study, 1) == []
    with pytest.raises(pg.PermGradError) as raised:
        best_trial(study)
    assert str(raised.value).startswith(
        "no complete trial keeps within the constraints (parameters <= 5, loss <= 9); of 4 trials beyond them:"
        " parameters in 4. Go on with more trials"
    )


def test_a_study_keeps_its_constraints(job):
    run(job({"parameters": 50}))
    with pytest.raises(pg.PermGradError, match=r"created differently: constraints parameters was 50, is 60"):
        run(job({"parameters": 60}))


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "nsgaii"])
def test_samplers_go_on_beside_trials_beyond(job, table, tmp_path, sampler):
    ours = stub_job(table, tmp_path / "r", n_trials=12, constraints={"parameters": 60}, sampler=sampler)
    study = run(ours)  # a warning would be an error here
    assert not all(is_feasible(trial) for trial in study.trials)
    assert best_trial(study).params["x"] < 0.61


def test_what_is_no_constraint_is_one_error(table):
    with pytest.raises(pg.PermGradError, match=r"constraints may be of 'parameters', 'seconds', .* got 'r2'"):
        pg.tune(table, "mlp", constraints={"r2": 0.5})
    for limit in (float("nan"), "many", True):
        with pytest.raises(pg.PermGradError, match="the constraint of parameters must be a finite number, got"):
            check_constraints({"parameters": limit}, "regression")
    with pytest.raises(pg.PermGradError, match="for regression, got 'calibration_error'"):
        check_constraints({"calibration_error": 0.1}, "regression")
    assert check_constraints(None, "regression") == {}
    assert told({"auc": 0.8, "parameters": 50_000}) == "auc >= 0.8, parameters <= 50000"


@pytest.mark.slow
def test_the_dashboard_is_told_which_trials_are_beyond(job):
    ours = job({"loss": 0.4, "accuracy": 0.0}, metrics=("parameters",))
    study = run(ours)
    with serving(ours.directory) as url:
        place = url.replace("/dashboard/", "/api/")
        shown = json.loads(urllib.request.urlopen(f"{place}?after=0").read())  # noqa: S310
    assert study.trials[2].value < study.trials[0].value  # the smallest, but its loss is 0.45
    assert [trial["number"] for trial in shown["best_trials"]] == [best_trial(study).number] == [0]
    for trial, told_of in zip(study.trials, shown["trials"], strict=True):
        assert told_of["constraints"] == list(trial.constraints.values())


def test_the_sampler_that_heeds_no_constraints_is_one_warning(table, tmp_path, monkeypatch):
    monkeypatch.setattr(api, "make_sampler", lambda *_: None)  # its package may be missing
    with pytest.warns(UserWarning, match="sampler 'cmaes' suggests trials without regard to constraints"):
        api._check_job(stub_job(table, tmp_path / "r", constraints={"parameters": 60}, sampler="cmaes"))
