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

import optuna
import psutil
import pytest
from optuna.trial import TrialState

import permgrad as pg
from permgrad.tuning.storage import open_storage
from permgrad.tuning.study import DIED, FAILURE, INTERRUPTED, finished
from tests.tuning.conftest import new_database

SPACE = """
import time

def slow(trial):
    config = space(trial)
    time.sleep(1)
    return config

def space(trial):
    return {
        "branches": ("tabular",),
        "dense_units": (trial.suggest_int("units", 4, 16),),
        "head_units": (),
        "learning_rate": trial.suggest_float("lr", 1e-3, 1e-1, log=True),
    }
"""
PATIENCE = 180


@pytest.fixture
def csv(table, tmp_path) -> Path:
    path = tmp_path / "small.csv"
    table.X.assign(level=table.y).to_csv(path, index=False)
    (tmp_path / "spaces.py").write_text(SPACE)
    return path


def command(csv: Path, n_trials: int, *more: object, epochs: int = 6) -> list[str]:
    options = ["--target", "level", "--space", "spaces.py:space", "--epochs", epochs, "--pruner", "none", "--out", "r"]
    return list(map(str, [sys.executable, "-m", "permgrad", "tune", csv, "--trials", n_trials, *options, *more]))


@contextmanager
def begun(csv: Path, n_trials: int, *more: object, epochs: int = 6) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen(
        command(csv, n_trials, *more, epochs=epochs),
        cwd=csv.parent, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def run(csv: Path, n_trials: int, *more: object, epochs: int = 6) -> subprocess.CompletedProcess:
    given = command(csv, n_trials, *more, epochs=epochs)
    return subprocess.run(given, cwd=csv.parent, capture_output=True, text=True, timeout=PATIENCE)


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


@pytest.mark.slow
def test_killed_in_a_trial_the_study_goes_on_and_meets_its_total(csv, table):
    url = f"sqlite:///{csv.parent}/r/study.db"
    with begun(csv, 3, epochs=100_000) as process:  # it would go on for hours
        wait_for(lambda: len(running(url, epochs=2)) == 1)
        process.send_signal(signal.SIGKILL)
    assert [trial.state for trial in study_at(url).trials] == [TrialState.RUNNING]
    result = pg.tune(  # the same settings, but that the space stops training here
        pg.Table.from_csv(csv, "level"),
        _stopping(csv),
        n_trials=3,
        out=csv.parent / "r",
        pruner="none",
        epochs=100_000,
    )
    dead, again, *_ = result.study.trials
    assert dead.state == TrialState.FAIL
    assert dead.user_attrs[FAILURE] == DIED
    assert again.params == dead.params
    assert len(finished(result.study)) == 3
    assert Counter(trial.state.name for trial in result.study.trials) == {"COMPLETE": 3, "FAIL": 1}


def _stopping(csv: Path) -> Callable:
    from permgrad.tuning.spaces import as_space

    space = as_space(f"{csv.parent}/spaces.py:space")

    def stopping(trial):
        return {**space(trial), "epochs": 3}

    stopping.__wrapped__ = space  # inspect.getsource follows it
    stopping.__qualname__ = "space"
    return stopping


@pytest.mark.slow
def test_killed_between_and_after_trials_nothing_is_lost(csv):
    url = f"sqlite:///{csv.parent}/r/study.db"
    with begun(csv, 4) as process:
        wait_for(lambda: has_study(url) and len(finished(study_at(url))) >= 2)
        process.send_signal(signal.SIGKILL)
    before = {trial.number: trial.value for trial in finished(study_at(url))}
    done = run(csv, 4)
    assert done.returncode == 0, done.stderr
    trials = finished(study_at(url))
    assert len(trials) == 4
    assert before.items() <= {trial.number: trial.value for trial in trials}.items()
    assert "4 of 4 trials finished" in done.stdout
    assert "permgrad dashboard r" in done.stdout
    n = len(study_at(url).trials)
    again = run(csv, 4)
    assert again.returncode == 0
    assert len(study_at(url).trials) == n
    other = run(csv, 4, "--metric", "auc")
    assert other.returncode == 2
    assert "metric was ['loss'], is ['auc']" in other.stderr
    assert "Traceback" not in other.stderr


@pytest.mark.parametrize("stop", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_stopped_the_trial_waits_for_the_next_run(csv, stop):
    url = f"sqlite:///{csv.parent}/r/study.db"
    with begun(csv, 3, epochs=100_000) as process:
        wait_for(lambda: len(running(url, epochs=1)) == 1)
        process.send_signal(stop)
        _, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert "interrupted; the same command goes on" in error
    assert "Traceback" not in error
    assert [trial.state for trial in study_at(url).trials] == [TrialState.FAIL, TrialState.WAITING]
    assert study_at(url).trials[0].user_attrs[FAILURE] == INTERRUPTED


@pytest.mark.slow
def test_a_job_in_the_background_of_a_script_is_stopped_too(csv):
    """A shell that runs a script lets what it begins in the background ignore SIGINT."""
    url = f"sqlite:///{csv.parent}/r/study.db"
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # inherited
    try:
        with begun(csv, 3, "--workers", 2, epochs=100_000) as process:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            wait_for(lambda: len(running(url, epochs=1)) == 2)
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert process.returncode == 130
    states = Counter(trial.state for trial in study_at(url).trials)
    assert states == {TrialState.FAIL: 2, TrialState.WAITING: 2}


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children() if "permgrad.tuning.pool" in child.cmdline()]


@pytest.mark.slow
def test_three_workers_on_postgresql_one_killed_meet_the_total_exactly(csv, postgresql, tmp_path):
    url = new_database(postgresql, tmp_path)
    with begun(csv, 9, "--storage", url, "--workers", 3, "--space", "spaces.py:slow") as process:
        wait_for(lambda: len(running(url)) == 3)
        victim: list[optuna.trial.FrozenTrial] = []
        wait_for(lambda: bool(victim.extend(trial for trial in running(url) if len(trial.params) == 2) or victim))
        os.kill(victim[0].system_attrs["permgrad:owner"]["pid"], signal.SIGKILL)
        output, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, error
    assert "a worker was killed (signal 9); another takes its place" in error
    study = study_at(url)
    assert len(finished(study)) == 9
    assert [trial.number for trial in study.trials] == list(range(len(study.trials)))
    died = [trial for trial in study.trials if trial.user_attrs.get(FAILURE) == DIED]
    assert len(died) == 1
    retried = [trial for trial in finished(study) if died[0].number in trial.system_attrs.get("retry_history", [])]
    assert [trial.params for trial in retried] == [died[0].params]
    assert len({str(trial.params) for trial in finished(study)}) == 9  # none is doubled
    owners = {trial.system_attrs["permgrad:owner"]["pid"] for trial in finished(study)}
    assert len(owners) >= 3
    assert "9 of 9 trials finished" in output


@pytest.mark.slow
def test_workers_stop_when_the_process_that_began_them_is_killed(csv):
    url = f"sqlite:///{csv.parent}/r/study.db"
    with begun(csv, 3, "--workers", 2, epochs=100_000) as process:
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

    with pytest.raises(pg.PermGradError, match="a worker stopped: .* found 'dense_unit'"):
        pg.tune(table, broken, n_trials=2, workers=2, out=tmp_path / "r", epochs=2)


@pytest.mark.slow
def test_memory_does_not_grow_from_trial_to_trial(table, tmp_path):
    """20 small trials in one process: by less than 2.5 MB each, after the first five have loaded what they need."""
    sizes: list[float] = []

    def space(trial):
        sizes.append(psutil.Process().memory_info().rss / 1e6)
        return {"image_size": 8, "dense_units": (trial.suggest_int("u", 4, 64),), "n_conv_layers": 1, "base_filters": 4}

    pg.tune(table, space, n_trials=20, out=tmp_path / "r", epochs=3, pruner="none")
    print(f"memory grew by {sizes[-1] - sizes[5]:.0f} MB in {len(sizes) - 6} trials")
    assert len(sizes) == 20
    assert sizes[-1] - sizes[5] < 2.5 * 14
