from __future__ import annotations

from dataclasses import fields
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import permgrad as pg
from permgrad.models.hybrid import HybridConfig
from permgrad.training.config import TrainingConfig
from permgrad.tuning.spaces import FIRST, SPACES, as_space, describe

UNITS = IntDistribution(8, 256)
DENSE = {"n_dense_layers": IntDistribution(1, 4), **{f"dense_units_{i}": UNITS for i in range(4)}}
CONVOLUTIONS = {"n_conv_layers": IntDistribution(1, 4), "base_filters": IntDistribution(8, 256)}
TRAINING = {
    "dropout": FloatDistribution(0.1, 0.4),
    "lr": FloatDistribution(1e-5, 1e-2, log=True),
    "optimizer": CategoricalDistribution(["adam", "adamw"]),
    "weight_decay": FloatDistribution(1e-6, 1e-3, log=True),
}
PUBLISHED = {
    "hybrid": {**DENSE, **CONVOLUTIONS, **{f"combined_dense_units_{i}": UNITS for i in range(4)}, **TRAINING},
    "mlp": {**DENSE, **TRAINING},
    "cnn": {**DENSE, **CONVOLUTIONS, **TRAINING},
}


def suggested(name: str, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial(params)
    trial = study.ask()
    return SPACES[name](trial), trial.distributions


@pytest.mark.parametrize("name", PUBLISHED)
def test_ranges_are_the_published_ones(name):
    _, distributions = suggested(name, {"n_dense_layers": 4, "optimizer": "adamw"})
    assert distributions == PUBLISHED[name]
    _, distributions = suggested(name, {"n_dense_layers": 1, "optimizer": "adam"})
    assert "dense_units_1" not in distributions
    assert "weight_decay" not in distributions


@pytest.mark.parametrize(
    ("name", "branches", "dense", "head"),
    [
        ("hybrid", ("tabular", "image"), (10, 20), (30, 40)),
        ("mlp", ("tabular",), (10, 20), ()),
        ("cnn", ("image",), None, (10, 20)),
    ],
)
def test_suggestions_become_the_network_that_was_published(name, branches, dense, head):
    params = {
        "n_dense_layers": 2,
        "dense_units_0": 10,
        "dense_units_1": 20,
        "combined_dense_units_0": 30,
        "combined_dense_units_1": 40,
        "n_conv_layers": 3,
        "base_filters": 9,
        "dropout": 0.3,
        "lr": 1e-3,
        "optimizer": "adamw",
        "weight_decay": 1e-5,
    }
    config, _ = suggested(name, params)
    assert (config["branches"], config.get("dense_units"), config["head_units"]) == (branches, dense, head)
    assert config["batch_size"] == 32
    assert (config["dropout"], config["learning_rate"], config["weight_decay"]) == (0.3, 1e-3, 1e-5)
    assert ("image" not in branches) or (config["n_conv_layers"], config["base_filters"]) == (3, 9)
    pg.HybridClassifier(**config)


@pytest.mark.parametrize("embedding", ["none", "piecewise", "periodic"])
def test_a_batch_ensemble_is_suggested(embedding):
    params = {"embedding": embedding, "ensemble_size": 8, "n_dense_layers": 3, "dense_units": 96, "embedding_size": 5}
    config, distributions = suggested("batch_ensemble", params)
    assert (config["embedding"], config["ensemble_size"]) == (embedding, 8)
    assert (config["dense_units"], config["head_units"]) == ((96, 96, 96), (96,))
    assert config.get("embedding_size") == (None if embedding == "none" else 5)
    assert ("embedding_size" in distributions) == (embedding != "none")
    assert (config["optimizer"], config["schedule"], config["batch_norm"]) == ("adamw", "constant", False)
    pg.HybridRegressor(**config)


@pytest.mark.parametrize("kind", [pg.HybridClassifier, pg.HybridRegressor])
@pytest.mark.parametrize("name", SPACES)
def test_what_a_space_leaves_open_is_as_published(name, kind):
    """The estimator's network and training, as they were before there were presets."""
    for params in FIRST[SPACES[name]]:
        config, _ = suggested(name, params)
        assert config["preset"] == "published"
        model = kind(**config, epochs=9, random_state=5)
        network, training = model._configs(1000, 5)
        given = [
            {f.name: config[f.name] for f in fields(of) if f.name in config} for of in (HybridConfig, TrainingConfig)
        ]
        assert network == HybridConfig(**given[0], random_state=5)
        assert training == TrainingConfig(**given[1], epochs=9, random_state=5)
        open_ = {name: model.settings()[name] for name in ("image_size", "screening", "n_networks")}
        assert open_ == {"image_size": "wide", "screening": False, "n_networks": 1}


@pytest.mark.parametrize("name", SPACES)
def test_the_first_trials_lie_in_the_space(name):
    for first in FIRST[SPACES[name]]:
        _, distributions = suggested(name, first)
        assert set(first) == set(distributions)
        assert all(
            distributions[key]._contains(distributions[key].to_internal_repr(value)) for key, value in first.items()
        )


def test_a_function_in_a_file_is_a_space(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def wide(trial):\n    return {'dense_units': (512,)}\nnumber = 3\n")
    space = as_space(f"{path}:wide")
    assert space(None) == {"dense_units": (512,)}
    assert describe(space)["name"] == "wide"
    other = tmp_path / "other.py"
    other.write_text("def wide(trial):\n    return {'dense_units': (1024,)}\n")
    assert describe(as_space(f"{other}:wide")) != describe(space)
    with pytest.raises(pg.PermGradError, match="no function 'number'"):
        as_space(f"{path}:number")


def test_lambdas_are_told_apart_by_what_they_do_and_not_by_their_line():
    one, same = [lambda trial: {"dense_units": (3,)}, 1][0], lambda trial: {"dense_units": (3,)}  # fmt: skip
    other = lambda trial: {"dense_units": (4,)}  # noqa: E731
    assert describe(one) == describe(same) != describe(other)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("hybird", "must be one of 'hybrid', 'mlp', 'cnn', 'batch_ensemble'"),
        ("nowhere.py:space", "no file nowhere.py"),
        ("no_such_module:space", "cannot import"),
        ("json:no_such_function", "no function 'no_such_function'"),
    ],
)
def test_what_is_no_space_is_refused(given, message):
    with pytest.raises(pg.PermGradError, match=message):
        as_space(given)
