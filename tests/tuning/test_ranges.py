from __future__ import annotations

import cloudpickle
import optuna
import pytest

import permgrad as pg
from permgrad.tuning.ranges import narrowed
from permgrad.tuning.spaces import SPACES


def suggested(space, n: int = 40) -> list[optuna.Trial]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    trials = [study.ask() for _ in range(n)]
    for trial in trials:
        space(trial)
    return trials


def test_narrowed_parameters_alone_are_narrower():
    ranges = {"base_filters": (8, 16), "lr": (1e-3, 2e-3), "optimizer": ["adam"]}
    space = cloudpickle.loads(cloudpickle.dumps(narrowed(SPACES["hybrid"], ranges)))  # as workers get it
    trials, free = suggested(space), suggested(SPACES["hybrid"])
    assert {trial.params["base_filters"] for trial in trials} == set(range(8, 17))
    assert all(1e-3 <= trial.params["lr"] <= 2e-3 for trial in trials)
    assert {trial.params["optimizer"] for trial in trials} == {"adam"}
    before, now = ({**a.distributions, **b.distributions} for a, b in (free[:2], trials[:2]))
    same = set(before) & set(now) - set(ranges)
    assert {name: before[name] for name in same} == {name: now[name] for name in same}


def test_what_depends_on_another_parameter_may_be_narrowed():
    deepest = [trial.params["dense_units_3"] for trial in suggested(narrowed(SPACES["mlp"], {"dense_units_3": (8, 9)}))
               if "dense_units_3" in trial.params]  # fmt: skip
    assert set(deepest) == {8, 9}


def test_first_trials_keep_what_lies_within():
    within = narrowed(SPACES["mlp"], {"dense_units_0": (8, 100), "lr": (1e-4, 1e-2), "optimizer": ["adamw"]})
    first = {"dense_units_0": 128, "dense_units_1": 64, "lr": 1e-3, "optimizer": "adam"}
    assert within.within(first) == {"dense_units_1": 64, "lr": 1e-3}


@pytest.mark.parametrize(("sizes", "stays"), [([1, 32], False), ([32, 16], True)])
def test_numbers_to_choose_from_are_no_interval(sizes, stays):
    within = narrowed(SPACES["batch_ensemble"], {"ensemble_size": sizes})
    assert ("ensemble_size" in within.within({"ensemble_size": 16})) == stays


def test_without_ranges_a_space_gets_the_trial_itself():
    assert narrowed(lambda trial: trial, {})(trial := object()) is trial


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        (
            {"filters": (8, 16)},
            r"the space has no parameter 'filters'; it has 'base_filters', 'comb",
        ),
        ({"base_filters": (4, 16)}, "base_filters must have its lowest and highest value, within 8 and 256, got 4, 16"),
        ({"base_filters": (16, 8)}, "got 16, 8"),
        ({"base_filters": (8,)}, "got 8"),
        ({"base_filters": ("a", "b")}, "got 'a', 'b'"),
        ({"optimizer": ["sgd"]}, "optimizer must be some of 'adam', 'adamw', got 'sgd'"),
    ],
)
def test_ranges_out_of_the_space_are_one_error(ranges, message):
    with pytest.raises(pg.PermGradError, match=message):
        narrowed(SPACES["hybrid"], ranges)
