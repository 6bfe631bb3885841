"""Limits on what a trial measures: a trial beyond one is never the best, and ends as soon as that is known."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from optuna.exceptions import TrialPruned
from optuna.trial import FrozenTrial, Trial

from permgrad.backend import keras
from permgrad.errors import PermGradError, listing
from permgrad.metrics.scores import HIGHER_IS_BETTER, SCORES

if TYPE_CHECKING:
    from permgrad.tuning.objective import EpochLog

LOSS, PARAMETERS, SECONDS, CALIBRATION_ERROR = "loss", "parameters", "seconds", "calibration_error"


def check_constraints(constraints: Mapping[str, float] | None, task: str) -> dict[str, float]:
    """Return limits by name, as floats.

    Raises
    ------
    PermGradError
        If one is of nothing that is measured, or no finite number.
    """
    of_classes = (CALIBRATION_ERROR,) if task == "classification" else ()
    known = (PARAMETERS, SECONDS, LOSS, *of_classes, *SCORES[task])
    limits = dict(constraints or {})
    unknown = sorted(set(limits) - set(known))
    if unknown:
        raise PermGradError(f"constraints may be of {listing(known, 20)} for {task}, got {listing(unknown)}")
    for name, limit in limits.items():
        if isinstance(limit, bool) or not isinstance(limit, (int, float)) or not math.isfinite(limit):
            raise PermGradError(f"the constraint of {name} must be a finite number, got {limit!r}")
    return {name: float(limit) for name, limit in limits.items()}


def set_constraints(trial: Trial, constraints: Mapping[str, float], measured: Mapping[str, float]) -> None:
    """Tell Optuna by how much each measure is beyond its limit; 0 or less is within.

    A score that is better when higher must be at least its limit, all else at most.
    """
    for name, limit in constraints.items():
        if name in measured and math.isfinite(measured[name]) and name not in trial.constraints:
            beyond = measured[name] - limit
            trial.set_constraint(name, -beyond if name in HIGHER_IS_BETTER else beyond)


def is_feasible(trial: FrozenTrial | Trial) -> bool:
    """Tell whether a trial keeps within all limits."""
    return all(beyond <= 0 for beyond in trial.constraints.values())


def told(constraints: Mapping[str, float]) -> str:
    """Return limits as they are read: ``parameters <= 5000``."""
    return ", ".join(f"{name} {'>=' if name in HIGHER_IS_BETTER else '<='} {x:g}" for name, x in constraints.items())


class EndBeyond(keras.callbacks.Callback):
    """End a trial whose network is too large before its first epoch, one that takes too long after an epoch."""

    def __init__(self, trial: Trial, constraints: Mapping[str, float], log: EpochLog) -> None:
        super().__init__()
        self.trial, self.constraints, self.log = trial, constraints, log
        self.began = time.monotonic()

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Compare the size; of several networks, that of those that are there."""
        self._end_if_beyond({PARAMETERS: n_parameters(self.log.estimator)})

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Compare the time."""
        self._end_if_beyond({SECONDS: time.monotonic() - self.began})

    def _end_if_beyond(self, measured: dict[str, float]) -> None:
        (name, value), *_ = measured.items()
        if value > self.constraints.get(name, math.inf):
            set_constraints(self.trial, self.constraints, measured)
            raise TrialPruned(f"{name} {value:g}")


def n_parameters(estimator: Any) -> int:
    """Return the number of weights of an estimator's networks."""
    return sum(network.count_params() for network in estimator.networks_)
