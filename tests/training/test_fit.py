from __future__ import annotations

import gc
import math

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import NAME, batches_in_graph, keras, released_graphs
from permgrad.training.config import TrainingConfig, choose_precision
from permgrad.training.fit import Batches, fit_network
from permgrad.training.schedules import one_cycle_rate

pytestmark = pytest.mark.backend


def test_one_cycle_by_hand():
    """40 epochs, peak 0.01: 10 epochs up from 1e-5, then half a cosine, at its middle after 15 more."""
    config = TrainingConfig(epochs=40, learning_rate=0.01)
    rates = [one_cycle_rate(epoch, config) for epoch in range(40)]
    assert rates[0] == 1e-5
    assert rates[5] == pytest.approx((1e-5 + 0.01) / 2)
    assert rates[10] == 0.01
    assert rates[25] == pytest.approx(0.005)
    assert rates[39] == pytest.approx(0.005 * (1 + math.cos(math.pi * 29 / 30)))
    assert one_cycle_rate(0, TrainingConfig(epochs=1)) > 0


def test_a_constant_rate_has_no_warmup(rng):
    """Patience counts from the first epoch on."""
    X = rng.normal(size=(64, 2)).astype(np.float32)
    y = X.sum(axis=1)
    config = TrainingConfig(learning_rate=0.1, schedule="constant", epochs=30, patience=4)
    history, kept = fit_network(linear_model(), (X, y), (X, -y), config, task="regression")
    assert set(history["learning_rate"]) == {np.float32(0.1)}
    assert (kept, len(history["loss"])) == (1, 5)


def test_batches_hold_every_row_once_in_an_order_of_their_own():
    X, y = np.arange(10.0)[:, None], np.arange(10)
    orders = []
    for _ in range(2):
        batches = Batches(X, y, 2.0 * y, batch_size=4, random_state=1)
        for _epoch in range(2):
            parts = [batches[i] for i in range(len(batches))]
            assert [len(part[0]) for part in parts] == [4, 4, 2]
            orders.append(np.concatenate([part[1] for part in parts]).tolist())
            np.testing.assert_array_equal(np.concatenate([part[2] for part in parts]), 2 * np.array(orders[-1]))
            batches.on_epoch_end()
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert orders[0] == orders[2] != orders[1] == orders[3]


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_batches_of_the_graph_are_those_of_python(drop_last, weighted, rng):
    """Order for order, row for row; JAX takes those of Python."""
    X, y = rng.normal(size=(11, 3)).astype(np.float32), np.arange(11)
    arrays = (X, y, np.linspace(0, 1, 11).astype(np.float32))[: 3 if weighted else 2]
    settings = {"batch_size": 4, "random_state": 5, "drop_last": drop_last}
    plain, other = Batches(*arrays, **settings), Batches(*arrays, **settings)
    with released_graphs():
        found = batches_in_graph(X, arrays[1:], lambda: other.order, 4, len(other))
        if NAME != "tensorflow":
            assert found is None
            return
        epochs = []
        for _ in range(3):
            epochs.append(list(found.as_numpy_iterator()))
            other.on_epoch_end()
    assert len(found) == len(plain) == (2 if drop_last else 3)
    for epoch in epochs:
        expected = [plain[i] for i in range(len(plain))]
        assert len(epoch) == len(expected)
        for batch, by_hand in zip(epoch, expected, strict=True):
            assert len(batch) == len(by_hand) == len(arrays)
            for ours, theirs in zip(batch, by_hand, strict=True):
                np.testing.assert_array_equal(ours, theirs)
                assert ours.dtype == theirs.dtype
        plain.on_epoch_end()


@pytest.mark.backend
def test_both_ways_of_batches_train_the_same_network(rng, monkeypatch):
    """Keras begins the one once more than the other."""
    X, y = rng.normal(size=(50, 2)).astype(np.float32), rng.normal(size=50)
    config, trained = TrainingConfig(batch_size=8, epochs=3, schedule="constant", keep="last"), []
    for most in (2**28, 0):
        monkeypatch.setattr("permgrad.training.fit.MOST_COPIED", most)
        trained.append(linear_model())
        fit_network(trained[-1], (X, y), None, config, task="regression")
    for a, b in zip(*(model.get_weights() for model in trained), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def linear_model() -> keras.Model:
    rows = keras.Input((2,))
    return keras.Model(rows, keras.layers.Dense(1, kernel_initializer="zeros")(rows))


def test_best_epoch_is_kept(rng):
    """Validation rows contradict the training rows: the longer it trains, the worse they get."""
    X = rng.normal(size=(64, 2)).astype(np.float32)
    y = X.sum(axis=1)
    model = linear_model()
    config = TrainingConfig(learning_rate=0.1, epochs=30, patience=4)
    history, kept = fit_network(model, (X, y), (X, -y), config, task="regression")
    rate_at_peak = int(np.argmax(history["learning_rate"]))
    assert rate_at_peak == 7
    best = rate_at_peak + int(np.argmin(history["val_loss"][rate_at_peak:]))
    assert kept == best + 1
    assert len(history["val_loss"]) == kept + 4
    error = np.mean((model.predict(X, verbose=0)[:, 0] + y) ** 2) / np.var(y)
    assert error == pytest.approx(history["val_loss"][best], rel=1e-4)


def test_loss_is_free_of_the_targets_unit(rng):
    X = rng.normal(size=(64, 2)).astype(np.float32)
    losses = []
    for unit in (1.0, 1e4):
        rows = keras.Input((2,))
        output = keras.layers.Rescaling(unit)(keras.layers.Dense(1, kernel_initializer="zeros")(rows))
        config = TrainingConfig(epochs=3, learning_rate=0.01)
        losses.append(
            fit_network(keras.Model(rows, output), (X, unit * X[:, 0]), None, config, task="regression")[0]["loss"]
        )
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


def test_divergence_is_reported():
    X = np.array([[np.nan, 1.0], [1.0, 2.0]], np.float32)
    with pytest.raises(pg.PermGradError, match="training diverged"):
        fit_network(linear_model(), (X, X[:, 1]), None, TrainingConfig(epochs=3), task="regression")


def test_divergence_after_the_first_epoch(rng):
    """Where the last epoch's weights are kept, they are no numbers; the best epoch's are sound."""
    X = rng.normal(size=(64, 2)).astype(np.float32)
    spoil = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: epoch == 1 and spoil.model.layers[-1].kernel.assign(np.full((2, 1), np.nan))
    )
    last, best = (TrainingConfig(epochs=4, keep=keep, schedule="constant") for keep in ("last", "best"))
    given = {"task": "regression", "callbacks": [spoil]}
    with pytest.raises(pg.PermGradError, match="training diverged"):
        fit_network(linear_model(), (X, X[:, 1]), None, last, **given)
    assert len(fit_network(linear_model(), (X, X[:, 1]), None, best, **given)[0]["loss"]) == 3


def test_precision_without_an_accelerator(monkeypatch):
    monkeypatch.setattr("permgrad.training.config.has_accelerator", lambda: False)
    assert choose_precision("auto") == "float32"
    monkeypatch.setattr("permgrad.training.config.has_accelerator", lambda: True)
    assert choose_precision("auto") == "mixed_float16"


@pytest.mark.slow
def test_mixed_float16_scales_its_loss(rng):
    X = rng.normal(size=(64, 2)).astype(np.float32)
    rows = keras.Input((2,))
    hidden = keras.layers.Dense(8, "relu", dtype="mixed_float16")(rows)
    model = keras.Model(rows, keras.layers.Dense(1, dtype="float32")(hidden))
    history, _ = fit_network(
        model, (X, X[:, 0]), None, TrainingConfig(epochs=20, learning_rate=0.05), task="regression"
    )
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert history["loss"][-1] < 0.5 * history["loss"][0]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="how TensorFlow traces")
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_step_is_traced_once(rng, task, monkeypatch):
    """A step that makes variables, of the optimizer or of a metric, would be traced a second time."""
    traced = []
    step = keras.Model.train_step

    def counted(model, data):
        traced.append(data)
        return step(model, data)

    monkeypatch.setattr(keras.Model, "train_step", counted)
    rows = keras.Input((2,))
    outputs = 2 if task == "classification" else 1
    model = keras.Model(rows, keras.layers.Dense(outputs, "softmax" if outputs > 1 else None)(rows))
    X = rng.normal(size=(64, 2)).astype(np.float32)
    fit_network(model, (X, (X[:, 0] > 0).astype(int)), None, TrainingConfig(epochs=2, batch_size=16), task=task)
    assert len(traced) == 1


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="what TensorFlow keeps")
def test_rows_are_let_go_after_training(rng):
    """TensorFlow keeps the functions that read batches, and by them the whole table; those of others stay."""
    import tensorflow as tf

    others = tf.data.Dataset.from_generator(lambda: iter([1, 2]), output_types=tf.int32)
    rows = keras.Input((2,))
    model = keras.Model(rows, keras.layers.Dense(1)(rows))
    X = rng.normal(size=(64, 2)).astype(np.float32)
    fit_network(model, (X, X[:, 0]), (X, X[:, 0]), TrainingConfig(epochs=1), task="regression")
    gc.collect()
    assert not any(isinstance(kept, Batches) for kept in gc.get_objects())
    assert [int(value) for value in others] == [1, 2]
