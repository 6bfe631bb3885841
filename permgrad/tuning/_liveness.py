"""Which running trials are dead, whatever the storage.

Optuna's own heartbeat exists for SQL databases alone, and its grace period must pass before a restart
on the same machine may go on. Here a trial says which process runs it, and counts up while it does.
Another process of the same machine sees at once that it is gone; on other machines, the count
that stands still tells. No machine's clock is compared with another's.
"""

from __future__ import annotations

import os
import platform
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import psutil
from optuna.trial import FrozenTrial

OWNER, BEAT = "permgrad:owner", "permgrad:beat"
BEAT_SECONDS = 20.0
SILENT_SECONDS = 120.0
CLOCK_STEP = 5.0
"""A process's beginning is reckoned from the wall clock, which may be set by so many seconds meanwhile."""


def machine() -> str:
    """Name this machine and process namespace: within it, a process number means one process."""
    if Path("/proc/self/ns/pid").exists():  # Linux, in a container or not
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()}/{boot}/{os.readlink('/proc/self/ns/pid')}"
    return f"{platform.node()}/{uuid.getnode():x}"


def owner() -> dict[str, Any]:
    """Name this process, for all time: numbers are used again, so the time it began goes with it."""
    return {"machine": machine(), "pid": os.getpid(), "began": psutil.Process().create_time()}


class Heartbeat:
    """Counts up in a trial's attributes while the block runs."""

    def __init__(self, storage: Any, trial_id: int) -> None:
        self.storage, self.trial_id = storage, trial_id
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._beat, daemon=True, name="permgrad-heartbeat")

    def __enter__(self) -> Heartbeat:
        self.storage.set_trial_system_attr(self.trial_id, OWNER, owner())
        self.thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stopped.set()
        self.thread.join()

    def _beat(self) -> None:
        count = 0
        while not self.stopped.wait(BEAT_SECONDS):
            count += 1
            try:
                self.storage.set_trial_system_attr(self.trial_id, BEAT, count)
            except Exception:  # noqa: S112 - a storage out of reach now may be back at the next beat
                continue


class Watch:
    """Remembers since when each trial's count has stood still."""

    def __init__(self) -> None:
        self._here = machine()
        self._counts: dict[int, tuple[Any, float]] = {}

    def is_dead(self, trial: FrozenTrial) -> bool:
        """Tell whether the process that runs `trial` is gone, or has been silent for two minutes."""
        by = trial.system_attrs.get(OWNER)
        if by and by["machine"] == self._here and not _runs(by):
            return True
        count, now = trial.system_attrs.get(BEAT), time.monotonic()
        before, since = self._counts.get(trial.number, (None, now))
        if trial.number not in self._counts or before != count:
            self._counts[trial.number] = (count, now)
            return False
        return now - since > SILENT_SECONDS


def _runs(process: dict[str, Any]) -> bool:
    try:
        current = psutil.Process(process["pid"])
        return current.status() != psutil.STATUS_ZOMBIE and abs(current.create_time() - process["began"]) < CLOCK_STEP
    except psutil.NoSuchProcess:
        return False
