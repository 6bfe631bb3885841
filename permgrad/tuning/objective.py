"""One trial: suggest a network, train it, score it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from optuna.exceptions import TrialPruned
from optuna.trial import Trial

from permgrad.backend import keras
from permgrad.data.table import Table
from permgrad.errors import PermGradError, listing
from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
from permgrad.metrics.calibration import expected_calibration_error
from permgrad.metrics.jackknife import jackknife_error
from permgrad.metrics.paired import mean_and_error
from permgrad.metrics.scores import HIGHER_IS_BETTER, classification_scores, regression_scores, scores
from permgrad.tuning.constraints import (
    CALIBRATION_ERROR,
    PARAMETERS,
    SECONDS,
    EndBeyond,
    n_parameters,
    set_constraints,
)
from permgrad.tuning.ranges import Narrowed
from permgrad.tuning.study import ERROR


@dataclass(frozen=True)
class Objective:
    """What a trial is to minimise or maximise, on which rows, with which settings.

    Attributes
    ----------
    train, val : Table
    space : Narrowed
    metrics : tuple of str
        One or two of "loss", "parameters" and the names of `permgrad.metrics.scores.scores`, on validation rows.
    settings : dict
        Of the estimator, where the space does not decide; a preset goes before the space's.
    constraints : dict of float
        Name → limit, see `set_constraints`.
    """

    train: Table
    val: Table
    space: Narrowed
    metrics: tuple[str, ...] = ("loss",)
    settings: dict[str, Any] = field(default_factory=dict)
    constraints: dict[str, float] = field(default_factory=dict)

    @property
    def pruned_by(self) -> str | None:
        """Metric that the pruner follows: none with two objectives, where Optuna knows no pruning."""
        metric = self.metrics[0]
        return None if len(self.metrics) > 1 or metric == PARAMETERS else metric

    def estimator(self, trial: Any) -> HybridClassifier | HybridRegressor:
        """Suggest this trial's estimator.

        Raises
        ------
        PermGradError
            If the space gives a setting that the estimator does not have, or makes losses incomparable.
        """
        kind = HybridClassifier if self.train.task == "classification" else HybridRegressor
        config = self.space(trial)
        known = kind().get_params()
        unknown = sorted(set(config) - set(known)) if isinstance(config, dict) else [type(config).__name__]
        if unknown:
            raise SpaceError(
                f"a space must return a dict of {kind.__name__}'s settings, got {listing(unknown)}; they are"
                f" {listing(known, 30)}"
            )
        if "class_weight" in config and "loss" in self.metrics:
            raise SpaceError(
                "losses under different class weights do not compare; give another metric, such as log_loss"
            )
        preset = {name: self.settings[name] for name in ("preset",) if name in self.settings}
        return kind(**{**self.settings, **config, **preset})


class SpaceError(PermGradError):
    """A space that no trial can succeed with."""


def direction(metric: str) -> Literal["minimize", "maximize"]:
    """Return "maximize" or "minimize"."""
    return "maximize" if metric in HIGHER_IS_BETTER else "minimize"


class EpochLog(keras.callbacks.Callback):
    """Keeps what each epoch gave, also of a fit that ends early; scores the validation rows where pruning needs it."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective
        self.estimator: Any = None
        self.epochs: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Note it down, and put the score where the pruning callback looks for it."""
        logs = {} if logs is None else logs
        metric = self.objective.pruned_by
        if metric and metric != "loss":
            logs[f"val_{metric}"] = scores(self.estimator, self.objective.val)[metric]
        self.epochs.append({name: float(value) for name, value in logs.items()})


def evaluate(
    objective: Objective, trial: Trial, log: EpochLog, callbacks: Sequence[Any] = ()
) -> tuple[HybridClassifier | HybridRegressor, list[float]]:
    """Train the network that `trial` suggests, and give `trial` its scores, size and time.

    Returns
    -------
    estimator
        Fitted, with the weights of its best epoch by validation loss.
    values : list of float
        One for each metric, on the validation rows.

    Raises
    ------
    optuna.TrialPruned
        If the pruner stops it, or a constraint; `log` then has its epochs all the same.
    """
    from optuna_integration import KerasPruningCallback  # imports TensorFlow, which `backend` keeps quiet

    trial.set_user_attr("epochs", 0)
    log.estimator = estimator = objective.estimator(trial)
    pruning = [KerasPruningCallback(trial, f"val_{objective.pruned_by}")] if objective.pruned_by else []
    limits = [EndBeyond(trial, objective.constraints, log)] if objective.constraints else []
    began = time.monotonic()
    try:
        estimator.fit(objective.train, validation_data=objective.val, callbacks=[log, *limits, *pruning, *callbacks])
        trial.set_user_attr("kept_epoch", estimator.kept_epoch_)
    except TrialPruned:
        if log.epochs:
            _note_scores(objective, trial, estimator, time.monotonic() - began)  # of its last epoch
        else:
            trial.set_user_attr(PARAMETERS, n_parameters(estimator))
        raise
    finally:
        trial.set_user_attr("epochs", len(log.epochs))
        trial.set_user_attr(SECONDS, round(time.monotonic() - began, 1))
    reached = _note_scores(objective, trial, estimator, time.monotonic() - began)
    values = [reached[name] for name in objective.metrics]
    told = {name: reached.get(name, np.nan) for name in (*objective.metrics, *objective.constraints)}
    if not np.isfinite(list(told.values())).all():
        raise PermGradError(f"{' and '.join(told)} came out as {list(told.values())}, not as finite numbers")
    error = standard_error(objective, estimator)
    if np.isfinite(error):
        trial.set_user_attr(ERROR, error)
    return estimator, values


def _note_scores(objective: Objective, trial: Trial, estimator: Any, seconds: float) -> dict[str, float]:
    """Give `trial` its network's size, loss and scores on the validation rows, and constraints; return them all."""
    val = objective.val
    reached = {"loss": estimator.loss(val), **scores(estimator, val)}
    if CALIBRATION_ERROR in objective.constraints:
        y = np.searchsorted(estimator.classes_, np.asarray(val.y))
        p = estimator.predict_proba(val.X)
        reached[CALIBRATION_ERROR] = expected_calibration_error(y, p, sample_weight=val.weights)
    for name, value in reached.items():
        trial.set_user_attr(f"val_{name}", value)
    size = n_parameters(estimator)
    trial.set_user_attr(PARAMETERS, size)
    reached |= {PARAMETERS: float(size), SECONDS: seconds}
    set_constraints(trial, objective.constraints, reached)
    return reached


def standard_error(objective: Objective, estimator: Any) -> float:
    """Return the standard error of the first objective, over the validation rows; 0 of a network's size.

    NaN where there are fewer than two rows, or a score is not defined on a part of them.
    """
    metric, val = objective.metrics[0], objective.val
    weights, groups = (None if known is None else np.asarray(known) for known in (val.weights, val.groups))
    if metric == PARAMETERS:
        return 0.0
    if metric == "loss":
        return mean_and_error(estimator.row_losses(val), weights, groups)[1]
    y = np.asarray(val.y)
    if val.task == "regression":
        y, predicted = np.asarray(y, float), estimator.predict(val.X)
        return jackknife_error(
            lambda rows: regression_scores(y[rows], predicted[rows], _some(weights, rows))[metric],
            np.zeros(len(y)),
            groups,
        )
    classes, p = estimator.classes_, estimator.predict_proba(val.X)
    return jackknife_error(
        lambda rows: classification_scores(y[rows], p[rows], classes, _some(weights, rows)).get(metric, np.nan),
        y,
        groups,
    )


def _some(weights: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if weights is None else weights[rows]
