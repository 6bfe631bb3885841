"""A grid as an Optuna study: each combination is a trial, which the dashboard shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

import permgrad as pg
from permgrad.tuning.storage import open_storage
from permgrad.tuning.study import DIED, FAILURE, SETTINGS, open_study, quiet_optuna


class AskedGrid(optuna.samplers.GridSampler):
    """A grid whose trials are asked for one by one: there is no loop that it could stop."""

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        """Do nothing."""


def search(
    out: Path,
    name: str,
    space: Mapping[str, list[Any]],
    settings: Mapping[str, Any],
    train: Callable[[dict[str, Any]], Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Train every combination that has no result yet, each as a trial of a study in ``study.db``.

    Parameters
    ----------
    out : path
        One process at a time works here: a trial that runs is one whose process died. It is marked as failed, and its
        combination tried again.
    name : str
        Of the study.
    space : mapping of str to list
        Name → values.
    settings : mapping
        What results depend on beside the combination. With others, or another space, the study is begun anew: what was
        trained before is a cached step, and only told to it.
    train : callable
        One combination → ``history`` (rows with ``epoch`` and ``val_auc``), ``auc`` and ``step_seconds``. If it raises
        `PermGradError`, as where a training diverges, the trial fails with that reason, and is not tried again.

    Returns
    -------
    list of dict
        What `train` gives of each combination, with ``params``, in the order of the grid, but for those that failed.

    Raises
    ------
    PermGradError
        If all failed, with the last one's reason.
    """
    study = _open(out, name, {"metric": ["auc"], **settings, "space": space})
    study.sampler = AskedGrid(space, seed=0)
    distributions: Any = {key: CategoricalDistribution(values) for key, values in space.items()}
    combinations = [dict(zip(space, values, strict=True)) for values in product(*space.values())]
    while missing := _missing(study, combinations):
        if study.sampler.is_exhausted(study):  # the sampler takes what failed for done
            study.enqueue_trial(missing[0])
        trial = study.ask(distributions)
        try:
            training = train(trial.params)
        except pg.PermGradError as error:
            trial.set_user_attr(FAILURE, str(error))
            study.tell(trial, state=TrialState.FAIL)
            continue
        for row in training["history"]:
            trial.report(row["val_auc"], int(row["epoch"]))
        trial.set_user_attr("loss", training["history"][-1]["loss"])
        trial.set_user_attr("seconds", training["step_seconds"])
        study.tell(trial, training["auc"])
    failures = _failures(study)
    sound = [each for each in combinations if each not in [params for params, _ in failures]]
    if not sound:
        raise pg.PermGradError(f"every combination of {name} failed; the last: {failures[-1][1]}")
    return [{"params": each, **train(each)} for each in sound]


def _open(out: Path, name: str, settings: dict[str, Any]) -> optuna.Study:
    """Open the study, or begin it anew where it was of other settings; mark what died."""
    storage = open_storage(f"sqlite:///{out / 'study.db'}")
    with quiet_optuna():
        for known in optuna.get_all_study_summaries(storage):
            if known.study_name == name and known.user_attrs.get(SETTINGS) != settings:
                optuna.delete_study(study_name=name, storage=storage)
        study = open_study(storage, name, settings, ["maximize"])
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        storage.set_trial_user_attr(trial._trial_id, FAILURE, DIED)
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _missing(study: optuna.Study, combinations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the combinations without a result."""
    complete = [trial.params for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
    failed = [params for params, _ in _failures(study)]
    return [each for each in combinations if each not in complete and each not in failed]


def _failures(study: optuna.Study) -> list[tuple[dict[str, Any], str]]:
    """Return combinations that failed of themselves, with the reason; not those whose process died."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
    return [(trial.params, trial.user_attrs[FAILURE]) for trial in trials if trial.user_attrs.get(FAILURE) != DIED]
