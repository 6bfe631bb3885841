"""When a study may end before its total: a planted course, a slow reference, and workers that agree."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from sklearn.metrics import roc_auc_score

import permgrad as pg
from permgrad.metrics.jackknife import jackknife_error
from permgrad.metrics.scores import scores
from permgrad.tuning import checkpoints
from permgrad.tuning.objective import standard_error
from permgrad.tuning.study import ERROR
from permgrad.tuning.terminator import reason_to_end
from tests.tuning.stub import SPREAD, StubEstimator, run, stub_job


def study_of(*values: float | None, error: float = 0.1, direction: str = "minimize", beyond: set[int] = frozenset()):
    """Return a study of trials with these values; None is a pruned one."""
    study = optuna.create_study(direction=direction)
    for number, value in enumerate(values):
        state = TrialState.PRUNED if value is None else TrialState.COMPLETE
        attributes = {} if value is None else {ERROR: error}
        known = {"size": 1.0 if number in beyond else -1.0}
        study.add_trial(create_trial(state=state, value=value, user_attrs=attributes, constraints=known))
    return study


def test_it_ends_when_the_last_trials_gained_no_more_than_the_standard_error():
    course = [1.0, 0.6, 0.7, 0.55, 0.9]
    assert reason_to_end(study_of(*course), 3) == (
        "ended after 5 trials: the last 3 gained 0.05, no more than the standard error 0.1 of the best value, 0.55"
        " (trial 3)"
    )
    assert reason_to_end(study_of(*course, error=0.04), 3) is None  # 0.05 is more
    assert reason_to_end(study_of(*course), 4) is None  # 0.45 is more
    assert reason_to_end(study_of(*course), 5) is None  # there is nothing before them
    rising = study_of(*(-value for value in course), direction="maximize")
    assert reason_to_end(rising, 3).startswith("ended after 5 trials: the last 3 gained 0.05")
    assert reason_to_end(rising, 4) is None


def test_pruned_trials_gain_nothing_and_those_beyond_a_constraint_do_not_count():
    assert reason_to_end(study_of(1.0, None, None), 2)
    assert reason_to_end(study_of(None, None, None), 2) is None  # no value yet
    assert reason_to_end(study_of(1.0, 0.2, 0.9), 2) is None
    assert reason_to_end(study_of(1.0, 0.2, 0.9, beyond={1}), 2) is None  # two are left, and nothing before them
    assert reason_to_end(study_of(1.0, 0.2, 0.9, 0.95, beyond={1}), 2).startswith("ended after 3 trials")
    assert reason_to_end(study_of(1.0, None, None, beyond={1, 2}), 2) is None


def test_a_slow_reference_says_the_same_of_many_courses():
    rng = np.random.default_rng(0)
    ended = 0
    for _ in range(60):
        course = [None if rng.random() < 0.3 else float(v) for v in rng.random(rng.integers(1, 9)).round(2)]
        n, error = int(rng.integers(1, 4)), float(rng.choice([0.0, 0.05, 0.2]))
        best_before = best_now = np.inf
        for number, value in enumerate(course):
            if value is not None and number < len(course) - n:
                best_before = min(best_before, value)
            if value is not None:
                best_now = min(best_now, value)
        expected = np.isfinite(best_before) and best_before - best_now <= error
        ended += expected
        assert (reason_to_end(study_of(*course, error=error), n) is not None) == expected
    assert 10 < ended < 50


def test_workers_end_when_what_is_stored_says_so(table, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "write_estimator", lambda estimator, directory: None)
    monkeypatch.setattr("permgrad.tuning._worker.note_trial", lambda *_: None)

    def space(trial):  # losses 0.95, 0.45, and then 0.44 again and again
        x = [1.0, 0.5, *[0.49] * 20][trial.number]
        return {"x": trial.suggest_float("x", x, x)}

    _, val, _ = table.split()
    error = SPREAD / np.sqrt(len(val) - 1)
    assert 0.01 < error < 0.05
    first = run(stub_job(table, tmp_path / "r", space, 20, terminate=2))
    assert len(first.trials) == 4  # the first two of 0.44 gained 0.01 on 0.45
    assert first.trials[2].user_attrs[ERROR] == pytest.approx(error)
    assert len(run(stub_job(table, tmp_path / "r", space, 20, terminate=2)).trials) == 4  # gone on with: the same
    assert len(run(stub_job(table, tmp_path / "r", space, 5)).trials) == 5


def test_the_standard_error_of_a_score_is_that_of_its_rows(table, tmp_path):
    """Beside the jackknife by hand, and the closed form for accuracy."""
    _, val, _ = table.split()
    y = np.asarray(val.y)

    class Reader(StubEstimator):
        def predict_proba(self, X):
            p = 1 / (1 + np.exp(-2 * X["a"].to_numpy()))
            return np.column_stack([p, 1 - p])

    reader = Reader(0.5)
    of_low = reader.predict_proba(val.X)[:, 1]
    of_auc = standard_error(stub_job(table, tmp_path, metrics=("auc",)).objective, reader)
    assert of_auc == jackknife_error(lambda rows: roc_auc_score(y[rows] == "low", of_low[rows]), y)
    accuracy = scores(reader, val)["accuracy"]
    of_accuracy = standard_error(stub_job(table, tmp_path, metrics=("accuracy",)).objective, reader)
    assert of_accuracy == pytest.approx(np.sqrt(accuracy * (1 - accuracy) / len(val)), rel=0.25)
    assert standard_error(stub_job(table, tmp_path, metrics=("parameters",)).objective, reader) == 0


def test_it_is_for_one_objective(table):
    with pytest.raises(pg.PermGradError, match="terminate is for one objective"):
        pg.tune(table, "mlp", metric=("loss", "parameters"), terminate=5)
    with pytest.raises(pg.PermGradError, match="terminate must be at least 1, or None, got 0"):
        pg.tune(table, "mlp", terminate=0)
