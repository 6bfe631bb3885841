"""One trial: suggest a network, train it, score it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from optuna.exceptions import TrialPruned
from optuna.trial import Trial
from optuna_integration import KerasPruningCallback

from permgrad.backend import keras
from permgrad.data.table import Table
from permgrad.errors import PermGradError, listing
from permgrad.estimators.hybrid import HybridClassifier, HybridRegressor
from permgrad.metrics.scores import HIGHER_IS_BETTER, scores
from permgrad.tuning.ranges import Narrowed

PARAMETERS = "parameters"


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
    """

    train: Table
    val: Table
    space: Narrowed
    metrics: tuple[str, ...] = ("loss",)
    settings: dict[str, Any] = field(default_factory=dict)

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
        If the pruner stops it; `log` then has its epochs all the same.
    """
    trial.set_user_attr("epochs", 0)
    log.estimator = estimator = objective.estimator(trial)
    pruning = [KerasPruningCallback(trial, f"val_{objective.pruned_by}")] if objective.pruned_by else []
    began = time.monotonic()
    try:
        estimator.fit(objective.train, validation_data=objective.val, callbacks=[log, *pruning, *callbacks])
        trial.set_user_attr("kept_epoch", estimator.kept_epoch_)
    except TrialPruned:
        _note_scores(objective, trial, estimator)  # of its last epoch
        raise
    finally:
        trial.set_user_attr("epochs", len(log.epochs))
        trial.set_user_attr("seconds", round(time.monotonic() - began, 1))
    reached = _note_scores(objective, trial, estimator)
    values = [reached[name] for name in objective.metrics]
    if not np.isfinite(values).all():
        raise PermGradError(f"{' and '.join(objective.metrics)} came out as {values}, not as finite numbers")
    return estimator, values


def _note_scores(objective: Objective, trial: Trial, estimator: Any) -> dict[str, float]:
    """Give `trial` its network's size, loss and scores on the validation rows; return them all."""
    val = objective.val
    reached = {"loss": estimator.loss(val), **scores(estimator, val)}
    size = sum(network.count_params() for network in estimator.networks_)
    trial.set_user_attr(PARAMETERS, size)
    for name, value in reached.items():
        trial.set_user_attr(f"val_{name}", value)
    return {**reached, PARAMETERS: float(size)}
