"""Studies in processes of their own: killed, stopped, several at once, and on a real PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.trial import TrialState

import permgrad as pg
from permgrad.tuning._directory import begin
from permgrad.tuning._pool import run_pool
from permgrad.tuning.objective import Objective
from permgrad.tuning.storage import open_storage
from permgrad.tuning.study import DIED, FAILURE, INTERRUPTED, finished
from tests.tuning.conftest import new_database
from tests.tuning.stub import run, stub_job

SPACE = """
import time
from pathlib import Path

def space(trial):
    return {
        "preset": "published",
        "branches": ("tabular",),
        "dense_units": (trial.suggest_int("units", 4, 16),),
        "head_units": (),
        "learning_rate": trial.suggest_float("lr", 1e-3, 1e-1, log=True),
    }

def endless(trial):
    # From the second trial on it would go on for hours, until there is a file "go".
    return {**space(trial), "epochs": 2 if trial.number == 0 or Path("go").exists() else 100_000}

def slow(trial):
    config = space(trial)
    time.sleep(1)
    return config
"""
PATIENCE = 180
pytestmark = pytest.mark.slow


@pytest.fixture
def csv(table, tmp_path) -> Path:
    path = tmp_path / "small.csv"
    table.X.assign(level=table.y).to_csv(path, index=False)
    (tmp_path / "spaces.py").write_text(SPACE)
    return path


def command(csv: Path, n_trials: int, *more: object, space: str = "space", epochs: int = 2) -> list[str]:
    options = ["--target", "level", "--epochs", epochs, "--pruner", "none", "--out", "r", "--n-trials", n_trials]
    given = [csv, *options, "--space", f"spaces.py:{space}", *more]
    return [sys.executable, "-m", "permgrad", "tune", *map(str, given)]


@contextmanager
def begun(csv: Path, n_trials: int, *more: object, **options: Any) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        command(csv, n_trials, *more, **options),
        cwd=csv.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


@cache
def storage_at(url: str) -> optuna.storages.BaseStorage:
    return open_storage(url)


def study_at(url: str) -> optuna.Study:
    return optuna.load_study(study_name="small", storage=storage_at(url))


def running(url: str, epochs: int = 0) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that run and have gone through that many epochs."""
    trials = study_at(url).get_trials(states=(TrialState.RUNNING,)) if has_study(url) else []
    return [
        trial for trial in trials if "permgrad:owner" in trial.system_attrs and len(trial.intermediate_values) >= epochs
    ]


def has_study(url: str) -> bool:
    path = url.removeprefix("sqlite:///")
    return (path == url or Path(path).is_file()) and "small" in optuna.get_all_study_names(storage_at(url))


def test_killed_in_a_trial_the_study_goes_on_and_meets_its_total(csv):
    url = f"sqlite:///{csv.parent}/r/study.db"
    with begun(csv, 2, space="endless") as process:
        wait_for(lambda: len(running(url, epochs=3)) == 1)
        process.send_signal(signal.SIGKILL)
    first, lost = study_at(url).trials
    assert (first.state, lost.state) == (TrialState.COMPLETE, TrialState.RUNNING)
    (csv.parent / "go").touch()
    again = subprocess.run(
        command(csv, 2, space="endless"), cwd=csv.parent, capture_output=True, text=True, timeout=PATIENCE
    )
    assert again.returncode == 0, again.stderr
    trials = study_at(url).trials
    assert [trial.state.name for trial in trials] == ["COMPLETE", "FAIL", "COMPLETE"]
    assert trials[0].value == first.value
    assert trials[1].user_attrs[FAILURE] == DIED
    assert trials[2].params == lost.params
    assert "2 of 2 trials finished" in again.stdout
    assert "permgrad dashboard r" in again.stdout


def test_a_job_in_the_background_of_a_script_is_stopped_and_its_trials_wait(csv):
    """A shell that runs a script lets what it begins in the background ignore SIGINT; clusters send SIGTERM."""
    url = f"sqlite:///{csv.parent}/r/study.db"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited
    try:
        with begun(csv, 3, "--n-workers", 2, epochs=100_000) as process:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            wait_for(lambda: len(running(url, epochs=1)) == 2)
            process.send_signal(signal.SIGTERM)
            _, error = process.communicate(timeout=PATIENCE)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert process.returncode == 130
    assert "interrupted; the same command goes on" in error
    assert "Traceback" not in error
    trials = study_at(url).trials
    assert Counter(trial.state for trial in trials) == {TrialState.FAIL: 2, TrialState.WAITING: 2}
    assert {trial.user_attrs[FAILURE] for trial in trials if trial.state == TrialState.FAIL} == {INTERRUPTED}


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children() if "permgrad.tuning._pool" in child.cmdline()]


def test_two_workers_on_postgresql_one_killed_meet_the_total_exactly(csv, postgresql, tmp_path):
    url = new_database(postgresql, tmp_path)
    with begun(csv, 5, "--storage", url, "--n-workers", 2, space="slow") as process:
        wait_for(lambda: len(running(url)) == 2)
        victim: list[optuna.trial.FrozenTrial] = []
        wait_for(lambda: bool(victim.extend(trial for trial in running(url) if len(trial.params) == 2) or victim))
        os.kill(victim[0].system_attrs["permgrad:owner"]["pid"], signal.SIGKILL)
        output, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, error
    assert "a worker was killed (signal 9); another takes its place" in error
    study = study_at(url)
    assert len(finished(study)) == 5
    assert [trial.number for trial in study.trials] == list(range(len(study.trials)))
    died = [trial for trial in study.trials if trial.user_attrs.get(FAILURE) == DIED]
    assert len(died) == 1
    retried = [trial for trial in finished(study) if died[0].number in trial.system_attrs.get("retry_history", [])]
    assert [trial.params for trial in retried] == [died[0].params]
    assert len({str(trial.params) for trial in finished(study)}) == 5  # none is doubled
    assert "5 of 5 trials finished" in output


def test_workers_stop_when_the_process_that_began_them_is_killed(csv):
    url = f"sqlite:///{csv.parent}/r/study.db"
    with begun(csv, 3, "--n-workers", 2, epochs=100_000) as process:
        wait_for(lambda: len(running(url, epochs=1)) == 2)
        workers = workers_of(process)
        assert len(workers) == 2
        process.send_signal(signal.SIGKILL)
        assert not psutil.wait_procs(workers, timeout=60)[1]
    states = Counter(trial.state for trial in study_at(url).trials)
    assert states == {TrialState.FAIL: 2, TrialState.WAITING: 2}


def test_a_space_of_a_notebook_reaches_the_workers_and_its_error_comes_back(table, tmp_path):
    def broken(trial):
        return {"dense_unit": 3}

    job = stub_job(table, tmp_path / "r", broken, objective=Objective)
    begin(job)
    with pytest.raises(pg.PermGradError, match="a worker stopped: .* got 'dense_unit'"):
        run_pool(job, 1, print, lambda: None)


def test_memory_does_not_grow_from_trial_to_trial(table, tmp_path):
    """14 small trials in one process: by less than 1 MB each, after the first five have loaded what they need."""
    sizes: list[float] = []

    def space(trial):
        sizes.append(psutil.Process().memory_info().rss / 1e6)
        small = {"image_size": 8, "n_conv_layers": 1, "base_filters": 4, "epochs": 1}
        return {**small, "dense_units": (trial.suggest_int("u", 4, 64),)}

    run(stub_job(table, tmp_path / "r", space, 14, objective=Objective))
    print(f"memory grew by {sizes[-1] - sizes[5]:.0f} MB in {len(sizes) - 6} trials")
    assert len(sizes) == 14
    assert sizes[-1] - sizes[5] < 8
