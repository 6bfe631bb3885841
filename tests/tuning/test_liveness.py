from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import psutil

from permgrad.tuning import _liveness as liveness
from permgrad.tuning._liveness import BEAT, OWNER, Heartbeat, Watch, machine, owner


def trial(by: dict | None = None, beat: int | None = None, number: int = 0) -> SimpleNamespace:
    attributes = {OWNER: by} if by else {}
    return SimpleNamespace(number=number, system_attrs=attributes if beat is None else {**attributes, BEAT: beat})


def test_a_process_of_this_machine_is_dead_as_soon_as_it_is_gone():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        by = {"machine": machine(), "pid": child.pid, "began": psutil.Process(child.pid).create_time()}
        assert not Watch().is_dead(trial(by))
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, and a zombie
        assert Watch().is_dead(trial(by))
    assert Watch().is_dead(trial(by))


def test_a_number_that_another_process_has_by_now_is_dead():
    assert not Watch().is_dead(trial(owner()))
    assert Watch().is_dead(trial({**owner(), "began": owner()["began"] - 1000}))


def test_a_process_elsewhere_is_dead_when_its_count_has_stood_still(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(liveness.time, "monotonic", lambda: now[0])
    far, watch = {"machine": "far away", "pid": os.getpid(), "began": 0.0}, Watch()
    assert not watch.is_dead(trial(far, 5))
    now[0] += 119
    assert not watch.is_dead(trial(far, 5))
    assert not watch.is_dead(trial(far, 6))  # it lives
    now[0] += 119
    assert not watch.is_dead(trial(far, 6))
    now[0] += 2
    assert watch.is_dead(trial(far, 6))


def test_a_trial_without_owner_is_dead_when_silent(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(liveness.time, "monotonic", lambda: now[0])
    watch = Watch()
    assert not watch.is_dead(trial())
    now[0] = 121
    assert watch.is_dead(trial())


def test_the_heart_beats_while_the_block_runs_and_survives_a_storage_that_stumbles(monkeypatch):
    monkeypatch.setattr(liveness, "BEAT_SECONDS", 0.01)
    written, enough = [], threading.Event()

    class Storage:
        def set_trial_system_attr(self, trial_id: int, key: str, value: object) -> None:
            written.append((trial_id, key, value))
            if len(written) == 3:
                raise OSError("gone for a moment")
            if len(written) > 6:
                enough.set()

    with Heartbeat(Storage(), 7):
        assert enough.wait(10)
    n = len(written)
    assert written[0] == (7, OWNER, owner())
    assert [value for _, key, value in written[1:6] if key == BEAT] == [1, 2, 3, 4, 5]
    time.sleep(0.05)
    assert len(written) == n
