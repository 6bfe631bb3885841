"""The grid as an Optuna study: each combination is a trial, which the dashboard shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from permgrad.tuning.storage import open_storage
from permgrad.tuning.study import DIED, FAILURE, open_study, quiet_optuna

NAME = "histopathology grid"


class AskedGrid(optuna.samplers.GridSampler):
    """A grid whose trials are asked for one by one: there is no loop that it could stop."""

    def after_trial(self, study: Any, trial: Any, state: Any, values: Any) -> None:
        """Do nothing."""


def search(
    out: Path,
    space: Mapping[str, list[Any]],
    settings: dict[str, Any],
    train: Callable[[dict[str, Any]], Mapping[str, Any]],
) -> None:
    """Train every combination that has no result yet, each as a trial of the study in ``study.db``.

    Parameters
    ----------
    out : path
        One process at a time works here: a trial that runs is one whose process died. It is marked as failed, and its
        combination tried again.
    space : mapping of str to list
        Name → values.
    settings : dict
        What every resumption must share.
    train : callable
        One combination → its unit: ``history`` (rows with ``epoch`` and ``val_auc``), ``auc`` and ``seconds``.
    """
    storage = open_storage(f"sqlite:///{out / 'study.db'}")
    with quiet_optuna():
        study = open_study(storage, NAME, {"metric": ["auc"], **settings}, ["maximize"])
    study.sampler = AskedGrid(space, seed=0)
    distributions: Any = {name: CategoricalDistribution(values) for name, values in space.items()}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        storage.set_trial_user_attr(trial._trial_id, FAILURE, DIED)
        study.tell(trial.number, state=TrialState.FAIL)
    while missing := _missing(study, space):
        if study.sampler.is_exhausted(study):  # the sampler takes what failed for done
            study.enqueue_trial(missing[0])
        trial = study.ask(distributions)
        unit = train(trial.params)
        for row in unit["history"]:
            trial.report(row["val_auc"], int(row["epoch"]))
        for name in ("loss", "seconds"):
            trial.set_user_attr(name, sum(row[name] for row in unit["history"][-1 if name == "loss" else 0 :]))
        study.tell(trial, unit["auc"])


def _missing(study: optuna.Study, space: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """Return the combinations without a result."""
    done = [trial.params for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))]
    names = list(space)
    grid: list[dict[str, Any]] = [{}]
    for name in names:
        grid = [{**cell, name: value} for cell in grid for value in space[name]]
    return [cell for cell in grid if cell not in done]
