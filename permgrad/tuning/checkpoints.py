"""Trained networks of a study's best trials: each complete or absent, the others removed."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from permgrad.data.table import Table
from permgrad.directories import new_directory
from permgrad.errors import PermGradError
from permgrad.estimators.loading import load
from permgrad.estimators.saving import write_estimator
from permgrad.tuning._liveness import OWNER, machine
from permgrad.tuning.constraints import is_feasible

LOSS = "val_loss"
"""Trial attribute: the validation loss that its network must give again."""
TOLERANCE = {"float32": 1e-4, "mixed": 1e-2}
NUMBERED = re.compile(r"\.?trial_(\d+)")


def place(directory: Path, number: int) -> Path:
    """Return where the network of trial `number` is kept."""
    return directory / f"trial_{number:04d}"


def write(directory: Path, number: int, estimator: Any) -> None:
    """Keep the fitted `estimator` of trial `number`, whole or not at all."""
    with new_directory(place(directory, number), overwrite=True) as staging:
        write_estimator(estimator, staging)


def best_trials(study: optuna.Study, n: int) -> list[FrozenTrial]:
    """Return the `n` best complete trials, best first; those beyond a constraint are not among them.

    With two objectives: the whole Pareto front (trials that no other is at least as good as in both objectives and
    better in one), by the first objective.
    """
    if len(study.directions) > 1:
        return sorted(study.best_trials, key=lambda trial: (_to_minimize(study, trial.values[0]), trial.number))
    return best_of(study, study.get_trials(deepcopy=False), n)


def best_of(study: optuna.Study, trials: Iterable[FrozenTrial], n: int) -> list[FrozenTrial]:
    """Return the `n` best by the first objective, best first, of those trials that are complete and feasible."""
    able = [trial for trial in trials if trial.state == TrialState.COMPLETE and is_feasible(trial)]
    return sorted(able, key=lambda trial: (_to_minimize(study, trial.values[0]), trial.number))[:n]


def _to_minimize(study: optuna.Study, value: float) -> float:
    return -value if study.directions[0] == StudyDirection.MAXIMIZE else value


def worth_keeping(study: optuna.Study, values: list[float], n: int) -> bool:
    """Tell whether a trial about to complete with `values` will be among the `n` best."""
    if len(values) > 1:
        return True  # removed again by `keep_best` if another trial beats it
    best = best_trials(study, n)
    return len(best) < n or _to_minimize(study, values[0]) < _to_minimize(study, best[-1].values[0])


def keep_best(directory: Path, study: optuna.Study, n: int) -> None:
    """Remove the networks, whole and begun, of every trial that has ended and is not among the `n` best."""
    if not directory.is_dir():
        return
    paths = list(directory.iterdir())  # before the trials: one that begins meanwhile is then not among them
    trials = study.get_trials(deepcopy=False)
    kept = {trial.number for trial in best_trials(study, n)}
    running = {trial.number for trial in trials if not trial.state.is_finished()}
    for path in paths:
        named = NUMBERED.match(path.name)
        if not named or int(named[1]) in running:
            continue
        if int(named[1]) not in kept or path.name.startswith("."):
            shutil.rmtree(path, ignore_errors=True)  # another process may be removing it too


def read(directory: Path, trial: FrozenTrial, val: Table) -> Any:
    """Load the network of `trial` and check that it gives the stored validation loss again.

    Parameters
    ----------
    directory : Path
    trial : FrozenTrial
    val : Table
        The study's validation rows.

    Raises
    ------
    ElsewhereError
        If the network is not here.
    PermGradError
        If it gives another loss.
    """
    path = place(directory, trial.number)
    if not path.is_dir():
        raise ElsewhereError(_absent(trial, path))
    estimator = load(path)
    stored, loss = trial.user_attrs[LOSS], estimator.loss(val)
    mixed = any(layer.dtype_policy.name.startswith("mixed") for layer in estimator.network_.layers)
    tolerance = TOLERANCE["mixed" if mixed else "float32"]
    if not math.isclose(stored, loss, rel_tol=tolerance, abs_tol=tolerance * 1e-2):
        raise PermGradError(
            f"the network at {path} gives a validation loss of {loss:.6g}, its trial {trial.number} stored"
            f" {stored:.6g}: the file has changed; restore it, or tune again in another directory"
        )
    return estimator


class ElsewhereError(PermGradError):
    """The network of a trial is not in this directory."""


def _absent(trial: FrozenTrial, path: Path) -> str:
    by = trial.system_attrs.get(OWNER, {}).get("machine", machine())
    if by == machine():
        return f"the network of trial {trial.number}, the best, is not at {path}; was it moved, or is `out` another?"
    return (
        f"trial {trial.number}, the best, ran on {by.split('/')[0]}, which holds its network; for the ranking, run the"
        f" same command there, or copy its {path.name} to {path} (machines that share the directory need neither)"
    )
