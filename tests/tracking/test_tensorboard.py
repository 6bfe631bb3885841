"""Event files, read back by TensorBoard's own reader."""

from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.tracking.record import record_of
from tests.tracking.conftest import HISTORY

pytest.importorskip("tensorboard", reason="pip install 'permgrad[tensorboard]'")


def events_of(directory):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(directory), size_guidance={"tensors": 0}).Reload()


def written(directory):
    """Return an event directory's values: name → [(step, array), ...]."""
    from tensorboard.util.tensor_util import make_ndarray

    events = events_of(directory)
    names = events.Tags()["tensors"]
    return {name: [(event.step, make_ndarray(event.tensor_proto)) for event in events.Tensors(name)] for name in names}


def settings(directory):
    """Return the settings that the view of hyperparameters shows."""
    from tensorboard.plugins.hparams.metadata import SESSION_START_INFO_TAG, parse_session_start_info_plugin_data

    content = events_of(directory).SummaryMetadata(SESSION_START_INFO_TAG).plugin_data.content
    known = parse_session_start_info_plugin_data(content).hparams
    return {name: known[name].number_value for name in known}


def points(values):
    return [(step, pytest.approx(float(value))) for step, value in values]


def test_curves_scores_ranking_and_pictures_are_there(ranked, command, tmp_path):
    done = command("export", ranked, "--tensorboard", tmp_path / "runs" / "mine")
    assert (done.code, done.stdout) == (0, f"to look at it: tensorboard --logdir {tmp_path / 'runs'}\n"), done.stderr
    found = written(tmp_path / "runs" / "mine")
    assert points(found["test_auc"]) == [(0, 0.75)]
    for name, values in HISTORY.items():
        assert points(found[f"epoch_{name}"]) == list(enumerate(values, 1))
    text = found["ranking"][0][1].item().decode()
    assert text.splitlines()[:3] == ["| feature | score |", "| --- | --- |", r"| a\|b | 0.1 |"]
    assert found["pictures/ranking"][0][1][2].startswith(b"\x89PNG")
    assert "exists already" in command("export", ranked, "--tensorboard", tmp_path / "runs" / "mine").stderr
    again = command("export", ranked, "--tensorboard", tmp_path / "runs" / "mine", "--overwrite")
    assert again.code == 0, again.stderr


def test_each_trial_is_a_run_with_its_settings(studied, tmp_path):
    pg.log_to_tensorboard(studied, tmp_path / "logs")
    for trial in record_of(studied).trials:
        directory = tmp_path / "logs" / trial.name.replace(" ", "_")
        found = written(directory)
        assert points(found["epoch_val_loss"]) == list(enumerate(trial.curves["epoch_val_loss"], 1))
        assert points(found["val_loss"]) == [(0, trial.scores["val_loss"])]
        assert settings(directory) == {"x": pytest.approx(trial.params["x"])}


def test_where_to_must_be_said(ranked, command):
    refused = command("export", ranked)
    assert refused.code == 2
    assert "give --mlflow EXPERIMENT, --tensorboard DIR, or both" in refused.stderr


def test_curves_of_several_networks_are_kept_apart(tmp_path):
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    network.compile("sgd", "mse")
    watch = pg.TensorBoard(tmp_path / "log")
    for epochs in (3, 2):  # one callback, given to one training after the other, as estimators do
        network.fit(np.ones((4, 1)), np.ones(4), epochs=epochs, verbose=0, callbacks=[watch])
    steps = [[step for step, _ in written(tmp_path / "log" / f"network_{n}" / "train")["epoch_loss"]] for n in (1, 2)]
    assert steps == [[0, 1, 2], [0, 1]]
