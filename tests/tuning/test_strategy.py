from __future__ import annotations

import optuna
import pytest

import permgrad as pg
from permgrad.tuning import strategy
from permgrad.tuning.strategy import PRUNERS, first_comparison, make_pruner, make_sampler


def run(storage, n_trials: int, sampler: str = "tpe", random_state: int = 0, bests: list | None = None) -> list[dict]:
    """Ask for trials of a smooth function in a study that is opened anew, as after a restart."""
    study = optuna.create_study(
        storage=storage, study_name="s", load_if_exists=True, sampler=make_sampler(sampler, random_state)
    )
    for _ in range(n_trials):
        trial = study.ask()
        x, n = trial.suggest_float("x", -1, 1), trial.suggest_int("n", 1, 100)
        study.tell(trial, x**2 + n / 100)
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("sampler", ["tpe", "random", "nsgaii"])
def test_a_study_stopped_twice_is_suggested_what_one_that_ran_through_is(sampler):
    through = run(optuna.storages.InMemoryStorage(), 24, sampler)
    storage = optuna.storages.InMemoryStorage()
    for n in (5, 12, 7):
        stopped = run(storage, n, sampler)
    assert stopped == through
    assert len({params["x"] for params in through}) == 24  # nothing is suggested twice
    assert run(optuna.storages.InMemoryStorage(), 24, sampler, random_state=1) != through


def test_a_sampler_seeded_once_would_repeat_itself():
    """The fault that seeding each trial by its number avoids."""
    storage = optuna.storages.InMemoryStorage()
    for _ in range(2):
        study = optuna.create_study(
            storage=storage, study_name="s", load_if_exists=True, sampler=optuna.samplers.TPESampler(seed=0)
        )
        for _ in range(3):
            trial = study.ask()
            study.tell(trial, trial.suggest_float("x", -1, 1))
    values = [trial.params["x"] for trial in study.trials]
    assert values[:3] == values[3:]


def test_tpe_learns_through_the_wrapper():
    values = [params["x"] ** 2 + params["n"] / 100 for params in run(optuna.storages.InMemoryStorage(), 60)]
    assert sum(values[-20:]) / 20 < 0.5 * sum(values[:10]) / 10


@pytest.mark.parametrize(
    ("epochs", "steps", "first"),
    [
        (70, 197, 4),  # a sixteenth
        (70, 50, 10),  # 500 steps
        (70, 11, 17),  # the learning rate's peak
        (20, 19, 5),
        (200, 200, 12),
        (2, 1, 1),
    ],
)
def test_when_trials_are_first_compared(epochs, steps, first):
    assert first_comparison(epochs, steps) == first


def test_successive_halving_stops_a_worse_trial_at_the_first_comparison():
    study = optuna.create_study(pruner=make_pruner("halving", 70, 197))
    good = study.ask()
    for epoch in range(70):
        good.report(1.0, epoch)
        assert not good.should_prune()
    study.tell(good, 1.0)
    bad = study.ask()
    stopped = []
    for epoch in range(70):
        bad.report(2.0, epoch)
        stopped.append(bad.should_prune())
    assert stopped.index(True) == 4


@pytest.mark.parametrize("name", PRUNERS)
def test_every_pruner_can_be_had_for_few_epochs(name):
    assert isinstance(make_pruner(name, 5, 3), optuna.pruners.BasePruner)


def test_unknown_names_and_missing_packages_are_refused(monkeypatch):
    with pytest.raises(pg.PermGradError, match="sampler must be one of 'tpe'"):
        make_sampler("tpee", 0)
    with pytest.raises(pg.PermGradError, match="pruner must be one of 'halving'"):
        make_pruner("half", 10, 10)
    monkeypatch.setattr(strategy, "find_spec", lambda name: None)
    with pytest.raises(pg.PermGradError, match="needs the package torch; pip install torch"):
        make_sampler("gp", 0)
