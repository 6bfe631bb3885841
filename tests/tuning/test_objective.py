"""One trial with a real network."""

from __future__ import annotations

import numpy as np
import optuna
import pandas as pd
import pytest

import permgrad as pg
from permgrad.metrics.scores import scores
from permgrad.tuning.api import _settings
from permgrad.tuning.objective import EpochLog, Objective, _note_scores, evaluate
from permgrad.tuning.ranges import narrowed
from permgrad.tuning.spaces import as_space
from tests.tuning.conftest import small_space
from tests.tuning.stub import StubEstimator


def objective(table: pg.Table, metric: str, space=small_space) -> Objective:
    train, val, _ = table.split()
    return Objective(train, val, narrowed(space, {}), (metric,), {"epochs": 3})


def ask(direction: str = "minimize", pruner: optuna.pruners.BasePruner | None = None) -> optuna.Trial:
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.create_study(direction=direction, sampler=sampler, pruner=pruner).ask()


@pytest.fixture(scope="module")
def line() -> pg.Table:
    rng = np.random.default_rng(1)
    X = pd.DataFrame(rng.normal(size=(120, 3)), columns=list("xvw"))
    return pg.Table(X, (100 * X.x + rng.normal(size=120)).rename("y"), name="line")


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["balanced_accuracy", "r2"])
def test_a_score_is_that_of_the_kept_epoch_which_the_pruner_saw(table, line, metric):
    data = line if metric == "r2" else table
    ours, trial = objective(data, metric), ask("maximize")
    estimator, values = evaluate(ours, trial, EpochLog(ours))
    assert values == [scores(estimator, ours.val)[metric]]
    curve = trial.study.trials[0].intermediate_values
    assert len(curve) == 3
    assert curve[trial.user_attrs["kept_epoch"] - 1] == pytest.approx(values[0], rel=1e-6)


def test_a_pruner_stops_training(table):
    ours, trial = objective(table, "loss"), ask(pruner=optuna.pruners.ThresholdPruner(upper=-1.0))
    log = EpochLog(ours)
    with pytest.raises(optuna.TrialPruned):
        evaluate(ours, trial, log)
    assert trial.user_attrs["epochs"] == len(log.epochs) == 1
    assert trial.user_attrs["val_loss"] == pytest.approx(log.epochs[0]["val_loss"], rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"branches": ("image",), "n_conv_layers": 6, "image_size": 8}, "6 convolution blocks halve the image"),
        (
            {"branches": ("tabular",), "learning_rate": 1e30, "optimizer": "adamw", "weight_decay": 1e30},
            "training diverged",
        ),
    ],
)
def test_an_impossible_network_and_a_loss_that_is_no_number_are_errors(table, config, message):
    ours = objective(table, "loss", lambda trial: config)
    with pytest.raises(pg.PermGradError, match=message):
        evaluate(ours, ask(), EpochLog(ours))


def test_a_preset_that_is_asked_for_goes_before_the_spaces(table):
    """Else the space's, and of a space of one's own the estimator's default."""
    train, val, _ = table.split()

    def estimator(space: str, given: dict):
        spaces = {"own": lambda trial: {"branches": ("tabular",)}, "own preset": lambda trial: {"preset": "fast"}}
        settings = _settings(given, table, 3)
        return Objective(train, val, narrowed(as_space(spaces.get(space, space)), {}), ("loss",), settings).estimator(
            ask()
        )

    assert estimator("hybrid", {}).preset == "published"
    assert estimator("hybrid", {"preset": "default"}).preset == "default"
    assert estimator("hybrid", {"preset": "default"}).dense_units is not None  # what is tuned is the space's
    assert estimator("own", {}).preset == "default"
    assert estimator("own", {"preset": "best"}).preset == "best"
    assert estimator("own preset", {}).preset == "fast"
    assert "preset" not in _settings({}, table, 3)
    assert _settings({"preset": "fast"}, table, 3)["preset"] == "fast"


def test_the_size_of_several_networks_is_that_of_all(table):
    ours, trial, estimator = objective(table, "parameters"), ask(), StubEstimator(0.3)
    estimator.networks_ = estimator.networks_ * 2
    assert _note_scores(ours, trial, estimator, 1.0)["parameters"] == 2 * 30 == trial.user_attrs["parameters"]
