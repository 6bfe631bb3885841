"""An Optuna study that knows what it is of, and hands out exactly as many trials as were asked for."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from permgrad.errors import PermGradError
from permgrad.tuning._liveness import Watch

SETTINGS = "permgrad"
"""Study attribute that holds the settings every resumption must share."""
FAILURE = "failure"
"""Trial attribute that says why a trial failed."""
ERROR = "standard_error"
"""Trial attribute: standard error, over the validation rows, of its (first) value."""
DIED = "its process died"
INTERRUPTED = "interrupted"
DEATHS = "permgrad:deaths"
MAX_DEATHS = 3
"""A trial whose process died or broke down this often is not tried again: it may well be what does it."""
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def open_study(storage: Any, name: str, settings: dict[str, Any], directions: Sequence[Any]) -> optuna.Study:
    """Create the study, or join it where it exists with the same settings.

    Raises
    ------
    PermGradError
        If the study has trials under other settings (the message names each difference), or is not permgrad's.
    """
    try:
        study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    except optuna.exceptions.DuplicatedStudyError:
        study = optuna.load_study(storage=storage, study_name=name)
    known = study.user_attrs.get(SETTINGS)
    if known is None and not study.get_trials(deepcopy=False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([f"validation {metric}" for metric in settings["metric"]])
        study.set_user_attr(SETTINGS, settings)
        known = study.user_attrs[SETTINGS]  # another process may have been there in between
    if known is None:
        raise PermGradError(f"permgrad did not create study {name!r}; choose another name")
    differences = list(_differences(known, settings))
    if differences and not living(study, (*FINISHED, TrialState.RUNNING)):
        optuna.delete_study(study_name=name, storage=storage)  # nothing came of it yet: a mistake may be mended
        return open_study(storage, name, settings, directions)
    if differences:
        raise PermGradError(
            f"study {name!r} was created differently: {'; '.join(differences)}. Choose another name (and directory),"
            " or use the study's own table and settings"
        )
    return study


def _differences(known: dict[str, Any], now: dict[str, Any], path: str = "") -> Any:
    for key in sorted({*known, *now}):
        before, after, where = known.get(key), now.get(key), f"{path}{key}"
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{where} ")
        elif before != after:
            yield f"{where} was {_shown(before)}, is {_shown(after)}"


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


def claim(study: optuna.Study, n_trials: int) -> Trial | None:
    """Ask for a trial, unless as many as were wanted are finished or running.

    Processes that ask at one moment could together exceed the total. A trial's number is given by the
    storage, to one process alone: of the trials that did not fail, the first `n_trials` count, and who got
    a later number gives it back.
    """
    if len(living(study, (*FINISHED, TrialState.RUNNING))) >= n_trials:
        return None
    trial = study.ask()
    earlier = [other for other in living(study) if other.number < trial.number]
    if len(earlier) < n_trials:
        return trial
    trial.set_user_attr(FAILURE, "not begun: the total was met")
    study.tell(trial, state=TrialState.FAIL)
    return None


def living(study: optuna.Study, states: tuple[TrialState, ...] | None = None) -> list[FrozenTrial]:
    """Return the trials that did not fail, or those in `states`."""
    trials = study.get_trials(deepcopy=False, states=states)
    return trials if states else [trial for trial in trials if trial.state != TrialState.FAIL]


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that count: complete or pruned."""
    return living(study, FINISHED)


def recover_dead(study: optuna.Study, storage: Any, watch: Watch) -> list[int]:
    """Mark running trials whose process is gone as failed, queue each again; return their numbers."""
    dead = [trial for trial in living(study, (TrialState.RUNNING,)) if watch.is_dead(trial)]
    return [trial.number for trial in dead if give_back(study, storage, trial, DIED)]


def give_back(study: optuna.Study, storage: Any, trial: FrozenTrial, reason: str) -> bool:
    """Mark a running trial as failed for `reason` and queue its suggestions for another try.

    Returns
    -------
    bool
        False where another process was faster.
    """
    try:
        storage.set_trial_user_attr(trial._trial_id, FAILURE, reason)
        study.tell(trial.number, state=TrialState.FAIL)
    except (optuna.exceptions.UpdateFinishedTrialError, ValueError):
        return False
    _queue_again(study, trial, reason)
    return True


def queue_forgotten(study: optuna.Study) -> None:
    """Queue trials whose process died, and whose finder died before it could queue them."""
    trials = study.get_trials(deepcopy=False)
    queued = {number for trial in trials for number in trial.system_attrs.get("retry_history", [])}
    for trial in trials:
        reason = trial.user_attrs.get(FAILURE)
        if trial.state == TrialState.FAIL and reason in (DIED, INTERRUPTED) and trial.number not in queued:
            _queue_again(study, trial, reason)


def _queue_again(study: optuna.Study, trial: FrozenTrial, reason: str) -> None:
    """Add a waiting trial with the suggestions of one that was lost, as Optuna's RetryHeartbeatStaleTrialCallback."""
    history = [*trial.system_attrs.get("retry_history", []), trial.number]
    deaths = trial.system_attrs.get(DEATHS, 0) + (reason != INTERRUPTED)
    fixed = {key: value for key, value in trial.system_attrs.items() if key == "fixed_params"}  # of `enqueue_trial`
    if deaths >= MAX_DEATHS:
        return
    study.add_trial(
        optuna.create_trial(
            state=TrialState.WAITING,
            params=trial.params,
            distributions=trial.distributions,
            system_attrs={**fixed, "failed_trial": history[0], "retry_history": history, DEATHS: deaths},
        )
    )


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's own line for each trial off the terminal: the progress bar says it."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
