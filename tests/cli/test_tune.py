from __future__ import annotations

import inspect
from types import SimpleNamespace

import click
import pytest

import permgrad as pg
from permgrad.cli.check import check as check_command
from permgrad.cli.evaluate import evaluate as evaluate_command
from permgrad.cli.rank import rank as rank_command
from permgrad.cli.tune import read_range
from permgrad.cli.tune import tune as tune_command

TUNE = inspect.signature(pg.tune).parameters


@pytest.fixture
def asked(monkeypatch, command):
    """Run `permgrad tune iris` with options up to the call of `tune`; return that call's arguments."""
    calls = []

    def record(table, space, **arguments):
        calls.append(SimpleNamespace(table=table, space=space, **arguments))
        raise pg.PermGradError("recorded")

    monkeypatch.setattr("permgrad.tuning.api.tune", record)
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*options: str) -> SimpleNamespace:
        assert command("tune", "iris", *options).code == 2
        return calls[-1]

    return run


def test_options_reach_the_arguments_of_their_names(asked):
    given = [
        "--n-trials",
        "4",
        "--n-workers",
        "2",
        "--metric",
        "loss",
        "--metric",
        "parameters",
        "--study-name",
        "mine",
    ]
    given += ["--ranges", "base_filters=8,16", "--ranges", "optimizer=adam", "--epochs", "3", "--no-unique"]
    given += ["--constraints", "parameters=5e4", "--constraints", "auc=0.8", "--terminate", "10"]
    call = asked(*given, "--class-weight", "balanced", "--preset", "default", "--image-size", "wide")
    assert (call.constraints, call.terminate) == ({"parameters": 50_000, "auc": 0.8}, 10)
    assert (call.n_trials, call.n_workers, call.metric, call.study_name) == (4, 2, ("loss", "parameters"), "mine")
    assert call.ranges == {"base_filters": [8, 16], "optimizer": ["adam"]}
    expected = {"layout": "tinto", "unique": False, "epochs": 3, "precision": "auto", "class_weight": "balanced"}
    assert call.settings == {**expected, "preset": "default", "image_size": "wide"}


def test_without_options_the_functions_defaults_hold(asked):
    call = vars(asked())
    given = {name: value or None for name, value in call.items() if name not in ("table", "settings", "verbose")}
    assert given == {name: TUNE[name].default or None for name in given}
    assert call["settings"] == {"layout": "tinto", "unique": True, "precision": "auto"}


def test_options_are_the_names_of_arguments_and_each_has_its_help():
    """What has no argument of its own is of the table, or chooses among what `rank` does."""
    known = {*TUNE, *inspect.signature(pg.evaluate_ranking).parameters}
    known |= {*inspect.signature(pg.HybridClassifier.rank_features).parameters}
    known |= {*inspect.signature(pg.HybridClassifier).parameters}
    known |= {*inspect.signature(pg.Table.from_file).parameters, *inspect.signature(pg.Table).parameters}
    known |= {*inspect.signature(pg.rank_recipe).parameters}
    known |= {"target", "task", "overwrite", "results", "model", "timeout", "tolerance", "evaluate", "evaluate_timeout"}
    known |= {"probes", "stream", "workers", "shard", "by"}
    for command in (tune_command, rank_command, evaluate_command, check_command):
        assert {parameter.name for parameter in command.params} <= known
        options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
        assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("base_filters=8,32", ("base_filters", [8, 32])),
        ("lr=1e-4,0.01", ("lr", [1e-4, 0.01])),
        ("optimizer=adam", ("optimizer", ["adam"])),
    ],
)
def test_ranges_are_read(text, pair):
    assert read_range(text) == pair


@pytest.mark.parametrize("text", ["lr", "lr=", "=1,2"])
def test_what_is_no_range_is_one_error(text, command):
    refused = command("tune", "iris", "--ranges", text)
    assert refused.code == 2
    assert f"must be NAME=LOW,HIGH or NAME=CHOICE,CHOICE, got '{text}'" in refused.stderr


def test_what_is_no_limit_is_one_error(command):
    refused = command("tune", "iris", "--constraints", "parameters=few")
    assert refused.code == 2
    assert "--constraints" in refused.stderr
    assert "must be NAME=NUMBER, got 'parameters=few'" in refused.stderr


def test_class_weights_need_classes(csv, command):
    refused = command("tune", csv, "--target", "c", "--class-weight", "balanced")
    assert refused.code == 2
    assert "--class-weight is for classification" in refused.stderr
