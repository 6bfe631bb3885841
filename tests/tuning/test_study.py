"""The contract of a study, over every kind of storage."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

import permgrad as pg
from permgrad import files
from permgrad.directories import is_study
from permgrad.tuning._directory import begin, check_directory
from permgrad.tuning._liveness import OWNER, Watch, owner
from permgrad.tuning.storage import hide_password, open_storage
from permgrad.tuning.study import (
    DIED,
    FAILURE,
    INTERRUPTED,
    MAX_DEATHS,
    claim,
    finished,
    give_back,
    open_study,
    queue_forgotten,
    recover_dead,
)
from tests.tuning.conftest import STORAGES, in_threads
from tests.tuning.stub import stub_job

SETTINGS = {"table": {"name": "small", "rows": 120}, "metric": ["loss"], "space": {"name": "hybrid"}}
GONE = {"pid": 2**22 + 1, "began": 0.0}
"""A process that cannot be: beyond Linux's largest number."""


def opened(url: str, settings: dict = SETTINGS) -> optuna.Study:
    return open_study(open_storage(url), "s", settings, ["minimize"])


def running(study: optuna.Study, **params: float) -> optuna.Trial:
    """Begin a trial whose process is gone."""
    trial = study.ask()
    for name, value in params.items():
        trial.suggest_float(name, value - 1, value + 1)
    study._storage.set_trial_system_attr(trial._trial_id, OWNER, {**owner(), **GONE})
    return trial


@pytest.fixture(params=STORAGES)
def url(request, make_url):
    return make_url(request.param)


@pytest.mark.slow
def test_many_that_ask_at_once_meet_the_total_exactly(url):
    storage = open_storage(url)
    open_study(storage, "s", SETTINGS, ["minimize"])

    def work():
        study = open_study(storage, "s", SETTINGS, ["minimize"])
        while len(finished(study)) < 8:
            trial = claim(study, 8)
            if trial is not None:
                study.tell(trial, trial.suggest_float("x", 0, 1))

    in_threads(work, 3)
    study = opened(url)
    assert len(finished(study)) == 8
    assert [trial.number for trial in study.trials] == list(range(len(study.trials)))
    withdrawn = [trial for trial in study.trials if trial.state == TrialState.FAIL]
    assert all(trial.user_attrs[FAILURE] == "not begun: the total was met" for trial in withdrawn)
    assert claim(study, 8) is None
    assert claim(study, 9) is not None  # the total counts all that ran before


def test_many_that_begin_one_study_at_once_begin_one(url):
    in_threads(lambda: opened(url), 4)
    assert optuna.get_all_study_names(open_storage(url)) == ["s"]


def test_a_dead_trial_is_marked_and_tried_again_with_its_suggestions(url):
    study, storage = opened(url), open_storage(url)
    lost = running(study, x=3.0)
    alive = study.ask()
    storage.set_trial_system_attr(alive._trial_id, OWNER, owner())
    assert recover_dead(study, storage, Watch()) == [0]
    assert recover_dead(study, storage, Watch()) == []
    states = [trial.state for trial in study.trials]
    assert states == [TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING]
    assert study.trials[0].user_attrs[FAILURE] == DIED
    again = claim(study, 2)
    assert again.suggest_float("x", 2, 4) == lost.params["x"]
    with pytest.warns(optuna.exceptions.ExperimentalWarning):  # Optuna's own record of what was tried again
        assert optuna.storages.RetryHeartbeatStaleTrialCallback.retry_history(study.trials[2]) == [0]


def test_two_that_find_the_same_dead_trial_queue_it_once(url):
    study, storage = opened(url), open_storage(url)
    running(study, x=1.0)
    in_threads(lambda: recover_dead(opened(url), storage, Watch()), 4)
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.WAITING]


def test_other_settings_are_an_error_that_names_each_difference_once_there_are_trials(url):
    other = {"table": {"name": "small", "rows": 500}, "metric": ["auc"], "space": {"name": "hybrid"}}
    opened(url, other)
    study = opened(url)
    assert opened(url).user_attrs["permgrad"] == SETTINGS
    study.tell(study.ask(), 1.0)
    with pytest.raises(pg.PermGradError, match=r"metric was \['loss'\], is \['auc'\]; table rows was 120, is 500"):
        opened(url, other)
    assert opened(url).user_attrs["permgrad"] == SETTINGS


def test_a_trial_that_keeps_killing_its_process_is_given_up(tmp_path):
    study = opened(f"sqlite:///{tmp_path}/s.db")
    for number in range(MAX_DEATHS):
        running(study)
        assert recover_dead(study, study._storage, Watch()) == [number]
    assert [trial.state for trial in study.trials] == [TrialState.FAIL] * MAX_DEATHS


def test_an_interruption_is_no_death(tmp_path):
    study = opened(f"sqlite:///{tmp_path}/s.db")
    for number in range(2 * MAX_DEATHS):
        study.ask()
        assert give_back(study, study._storage, study.trials[number], INTERRUPTED)
    assert study.trials[-1].state == TrialState.WAITING


def test_a_trial_whose_finder_died_before_it_was_queued_is_queued_later(tmp_path):
    study = opened(f"sqlite:///{tmp_path}/s.db")
    trial = running(study, x=2.0)
    trial.set_user_attr(FAILURE, DIED)
    study.tell(trial, state=TrialState.FAIL)
    failed = study.ask()
    failed.set_user_attr(FAILURE, "ValueError: its own fault")
    study.tell(failed, state=TrialState.FAIL)
    for _ in range(2):
        queue_forgotten(study)
    waiting = [trial for trial in study.trials if trial.state == TrialState.WAITING]
    assert [trial.params for trial in waiting] == [trial.params]


def test_a_study_of_somebody_else_is_refused(tmp_path):
    url = f"sqlite:///{tmp_path}/s.db"
    study = optuna.create_study(storage=url, study_name="s")
    study.tell(study.ask(), 1.0)
    with pytest.raises(pg.PermGradError, match="did not create study"):
        opened(url)


@pytest.mark.slow
def test_processes_that_share_a_sqlite_file_neither_lose_nor_double_a_trial(tmp_path):
    """Optuna's SELECT ... FOR UPDATE does nothing in SQLite; our transactions take the lock themselves."""
    url, n = f"sqlite:///{tmp_path}/s.db", 40
    study = opened(url)
    for i in range(n):
        study.enqueue_trial({"x": i / n})
    script = textwrap.dedent(
        f"""
        import optuna
        from permgrad.tuning.storage import open_storage
        from permgrad.tuning.study import claim, finished
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.load_study(study_name="s", storage=open_storage({url!r}))
        input()  # begin together
        while len(finished(study)) < {n}:
            trial = claim(study, {n})
            if trial is not None:
                print(trial.number)
                study.tell(trial, trial.suggest_float("x", 0, 1))
        """
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    time.sleep(2)
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    claimed = [int(line) for process in processes for line in process.communicate(timeout=120)[0].split()]
    assert [process.returncode for process in processes] == [0] * 2
    ended = finished(study)
    assert [trial.number for trial in ended] == list(range(n))
    assert [trial.params["x"] for trial in ended] == [i / n for i in range(n)]
    assert len(claimed) == len(set(claimed))


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("study.db", "storage must be a URL: sqlite:///FILE"),
        ("me:secret@host/x", "storage must be"),
        ("postgres://me:secret@host/x", "storage must be"),
        ("postgresql:/me:secret@host/x", "storage must be"),
        ("oracle7://x", "storage must be .*'oracle7'"),
        ("sqlite://", "a study in memory cannot be resumed"),
        ("sqlite:///:memory:", "a study in memory cannot be resumed"),
        ("sqlite:////tmp/{x}/s.db", "cannot open the storage"),
        ("grpc://host:13OOO", "storage must be"),
        ("journal:////", "cannot keep a journal"),
        ("journal:////tmp", "cannot keep a journal"),
        ("sqlite:////no/such/place/s.db", "unable to open database file"),
        ("postgresql://nobody:secret@127.0.0.1:1/x", "cannot open the storage"),
        ("journal:///no/such/place/s.journal", "no directory /no/such/place"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_one_clear_error(url, message):
    pytest.importorskip("psycopg")
    with pytest.raises(pg.PermGradError, match=message) as error:
        open_storage(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "url", ["sqlite:///{0}/text.db", "sqlite:///{0}/no/s.db", "journal://{0}/no/s.journal", "oracle7://x", "grpc://h:x"]
)
def test_a_storage_that_cannot_be_opened_leaves_nothing_behind(url, table, tmp_path):
    (tmp_path / "text.db").write_text("no database")
    with pytest.raises(pg.PermGradError) as error:
        pg.tune(table, out=tmp_path / "results" / "out", storage=url.format(tmp_path), n_trials=1)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["text.db"]
    assert (tmp_path / "text.db").read_text() == "no database"


def test_a_study_goes_on_that_died_while_its_marker_was_written(table, tmp_path, monkeypatch):
    job = stub_job(table, tmp_path / "r", n_trials=1)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        patched.setattr(Path, "unlink", lambda *_, **__: None)  # as a killed process leaves it
        begin(job)
    (left,) = (path for path in job.directory.iterdir() if path.suffix == ".part")
    check_directory(job)
    dead = left.with_name(left.name.replace(str(os.getpid()), str(2**22 + 1)))
    left.rename(dead)
    files._sweep.cache_clear()
    begin(job)
    assert is_study(job.directory)
    assert not dead.exists()


def test_a_database_that_another_process_makes_meanwhile_is_kept(tmp_path, monkeypatch):
    def made_by_another(*_, **__):
        (tmp_path / "s.db").write_text("theirs")
        raise RuntimeError

    monkeypatch.setattr("permgrad.tuning.storage.RDBStorage", made_by_another)
    with pytest.raises(pg.PermGradError):
        open_storage(f"sqlite:///{tmp_path / 's.db'}")
    assert (tmp_path / "s.db").read_text() == "theirs"


@pytest.mark.parametrize("url", ["sqlite:///{0}/new.db", "journal://{0}/new.journal"])
def test_only_tuning_makes_a_storage(url, tmp_path):
    with pytest.raises(pg.PermGradError, match="there is no study in .*: no such file"):
        open_storage(url.format(tmp_path), create=False)
    assert not any(tmp_path.iterdir())
    open_storage(url.format(tmp_path))
    open_storage(url.format(tmp_path), create=False)


def test_a_proxy_that_does_not_answer_is_one_clear_error(monkeypatch):
    monkeypatch.setattr("permgrad.tuning.storage.PROXY_SECONDS", 0.2)
    with pytest.raises(pg.PermGradError, match="no gRPC storage proxy answers at grpc://localhost:1;"):
        open_storage("grpc://localhost:1")


def test_a_journal_may_lie_at_a_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opened("journal://mine.journal")
    assert (tmp_path / "mine.journal").is_file()


def test_passwords_are_not_shown():
    assert hide_password("postgresql://me:secret@host/x") == "postgresql://me:***@host/x"
    assert hide_password("postgresql://host/x?user=me&password=secret") == "postgresql://host/x?user=me"
    assert hide_password("journal:///x") == "journal:///x"
