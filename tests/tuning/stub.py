"""Trials without networks: a loss in closed form, in place of training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna

import permgrad as pg
from permgrad.tuning._directory import begin, check_directory
from permgrad.tuning._job import Job
from permgrad.tuning._progress import Progress
from permgrad.tuning.api import run_trials
from permgrad.tuning.objective import Objective
from permgrad.tuning.ranges import narrowed
from permgrad.tuning.study import quiet_optuna

EPOCHS = 4
SPREAD = 0.1
"""Rows' losses are so far from their mean."""


def stub_space(trial: Any) -> dict[str, Any]:
    """One number, whose best value is 0.3."""
    return {"x": trial.suggest_float("x", 0, 1)}


class StubEstimator:
    """Its loss after epoch e (from 0) is |x − 0.3| + 1 / (e + 1); its size is 100 x, so that the two conflict."""

    classes_ = np.array(["high", "low"])

    def __init__(self, x: float) -> None:
        self.x = x
        self.networks_ = [SimpleNamespace(count_params=lambda: round(100 * x))]
        self.epoch = 0

    def fit(self, X: Any, y: Any = None, *, validation_data: Any, callbacks: list[Any]) -> None:
        for callback in callbacks:
            callback.on_train_begin()
        for self.epoch in range(EPOCHS):
            for callback in callbacks:
                callback.on_epoch_end(self.epoch, {"loss": 0.0, "val_loss": self.loss(X, y)})
        self.kept_epoch_ = EPOCHS

    def loss(self, X: Any, y: Any = None) -> float:
        return abs(self.x - 0.3) + 1 / (self.epoch + 1)

    def row_losses(self, X: Any, y: Any = None) -> np.ndarray:
        return self.loss(X) + SPREAD * np.resize([-1.0, 1.0], len(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        return np.tile([0.6, 0.4], (len(X), 1))


@dataclass(frozen=True)
class StubObjective(Objective):
    """Suggests `StubEstimator`."""

    def estimator(self, trial: Any) -> Any:
        return StubEstimator(**self.space(trial))


def stub_job(
    table: pg.Table,
    directory: Path,
    space: Callable[[Any], Any] = stub_space,
    n_trials: int = 3,
    metrics: tuple[str, ...] = ("loss",),
    url: str | None = None,
    objective: type[Objective] = StubObjective,
    constraints: dict[str, float] | None = None,
    **changes: Any,
) -> Job:
    train, val, _ = table.split()
    settings = {
        "url": url or f"sqlite:///{directory / 'study.db'}",
        "name": "small",
        "identity": {"metric": list(metrics), "split_random_state": 42, "constraints": constraints or {}},
        "deadline": None,
        "sampler": "random",
        "pruner": "none",
        "random_state": 0,
        "keep": 3,
    }
    ours = objective(train, val, narrowed(space, {}), metrics, {"epochs": EPOCHS}, constraints or {})
    return Job(directory=directory, objective=ours, n_trials=n_trials, **{**settings, **changes})


def run(job: Job) -> optuna.Study:
    """Do what `tune` does before it writes results."""
    check_directory(job)
    with quiet_optuna(), Progress(begin(job), job.n_trials, False) as progress:
        run_trials(job, progress)
    return progress.study
