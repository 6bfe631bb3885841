"""One process that runs trials of a study until the total is met."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.artifacts import FileSystemArtifactStore
from optuna.trial import Trial, TrialState

from permgrad.backend import keras
from permgrad.errors import PermGradError
from permgrad.tuning import checkpoints
from permgrad.tuning._job import Job
from permgrad.tuning._liveness import Heartbeat, Watch
from permgrad.tuning._notes import note_trial
from permgrad.tuning.constraints import is_feasible
from permgrad.tuning.objective import EpochLog, SpaceError, evaluate
from permgrad.tuning.study import FAILURE, INTERRUPTED, claim, finished, give_back, recover_dead
from permgrad.tuning.terminator import reason_to_end

WAIT_SECONDS = 1.0
MAX_FAILURES = 5
"""Trials in a row that may fail in one process before it gives up."""
MAX_REASON = 300
ENDED_ELSEWHERE = optuna.exceptions.UpdateFinishedTrialError
"""What a storage raises when another process has ended the trial that runs here."""


@dataclass
class Worker:
    """Runs trials one after the other.

    Attributes
    ----------
    job : Job
    say : callable
        Takes one line about a trial that failed or is tried again.
    on_progress : callable
        Takes what goes on, after each epoch and each trial.
    """

    job: Job
    say: Callable[[str], None] = lambda line: None
    on_progress: Callable[[str], None] = lambda line: None
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Run trials until the study has its total or may end, or the time is over.

        Raises
        ------
        PermGradError
            If trial after trial fails, or the space is no space.
        KeyboardInterrupt
            Passed on; the trial that ran is queued again.
        """
        job = self.job
        self.study, self.storage = job.open()
        self.watch = Watch()
        while not job.is_late:
            for number in recover_dead(self.study, self.storage, self.watch):
                self.say(f"trial {number} had died with its process")
            if len(finished(self.study)) >= job.n_trials or self._may_end():
                break
            trial = claim(self.study, job.n_trials)
            if trial is None:
                self.on_progress("waiting for trials that run elsewhere")
                time.sleep(WAIT_SECONDS)
            else:
                self._run_trial(trial)
        checkpoints.keep_best(job.networks, self.study, job.keep)

    def _may_end(self) -> bool:
        reason = None if self.job.terminate is None else reason_to_end(self.study, self.job.terminate)
        if reason:
            self.say(reason)
        return reason is not None

    def _run_trial(self, trial: Trial) -> None:
        try:
            with Heartbeat(self.storage, trial._trial_id):
                state, values = self._outcome(trial)
                self._tell(trial, state, values)
        except ENDED_ELSEWHERE:
            self.say(f"trial {trial.number} was taken for dead and is tried again; its outcome here is dropped")
            return
        except BaseException as error:  # Ctrl-C, a lost storage, a mistake of ours: another run is to have this trial
            reason = INTERRUPTED if isinstance(error, (KeyboardInterrupt, SpaceError)) else _reason(error)
            give_back(self.study, self.storage, self.study.trials[trial.number], reason)
            raise
        finally:
            keras.utils.clear_session(free_memory=False)
            gc.collect()
        checkpoints.keep_best(self.job.networks, self.study, self.job.keep)
        self.on_progress(f"trial {trial.number} {state.name.lower()}")
        if len(self.failures) >= MAX_FAILURES:
            raise PermGradError(f"{MAX_FAILURES} trials in a row failed; the last: {self.failures[-1]}")

    def _outcome(self, trial: Trial) -> tuple[TrialState, list[float] | None]:
        """Run the trial; whatever goes wrong in it is written down and is its outcome."""
        objective, job = self.job.objective, self.job
        log = EpochLog(objective)
        values = None
        try:
            with suppress(optuna.TrialPruned):  # by the pruner, or by the space itself
                estimator, values = evaluate(objective, trial, log, [self._epochs(trial)])
            note_trial(trial, log, FileSystemArtifactStore(job.artifacts))
            if values is not None and is_feasible(trial) and checkpoints.worth_keeping(self.study, values, job.keep):
                checkpoints.write(job.networks, trial.number, estimator)
        except (SpaceError, ENDED_ELSEWHERE, optuna.exceptions.StorageInternalError):
            raise
        except Exception as error:
            return self._failed(trial, error), None
        self.failures.clear()
        return TrialState.PRUNED if values is None else TrialState.COMPLETE, values

    def _failed(self, trial: Trial, error: Exception) -> TrialState:
        reason = _reason(error)
        trial.set_user_attr(FAILURE, reason)
        self.failures.append(f"trial {trial.number}, {reason}")
        self.say(f"trial {trial.number} failed: {reason}")
        return TrialState.FAIL

    def _tell(self, trial: Trial, state: TrialState, values: list[float] | None) -> None:
        try:
            self.study.tell(trial, values, state=state)
        except ValueError as error:
            if self.study.trials[trial.number].state == TrialState.RUNNING:
                raise
            raise ENDED_ELSEWHERE(str(error)) from error

    def _epochs(self, trial: Trial) -> Any:
        epochs = self.job.epochs
        return keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs: self.on_progress(f"trial {trial.number}, epoch {epoch + 1} of {epochs}")
        )


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip() or 'no message'}".splitlines()[0][:MAX_REASON]
