"""The L1 penalty: hand-computed steps, the same as a term of the loss, under mixed precision, saved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from permgrad.backend import fused, keras
from permgrad.models.wide import WideConfig, build_wide_mlp
from permgrad.training import optimizers as penalty
from permgrad.training.batches import Batches
from permgrad.training.config import TrainingConfig
from permgrad.training.fit import fit_network
from permgrad.training.optimizers import AdamL2, PenalisedAdam, mean_absolute_weight, penalised
from permgrad.training.weight_statistics import weight_statistics

pytestmark = pytest.mark.backend

ops = keras.ops


@pytest.fixture
def rows(rng):
    y = rng.integers(0, 3, 96)
    return (rng.normal(size=(96, 12)) + np.eye(12)[y]).astype(np.float32), y


def network(rows, **changes):
    return build_wide_mlp(WideConfig(**{"hidden_units": (16, 8, 4), "random_state": 3, **changes}), rows[0], 3)


def loss_with_penalty(model, l1):
    """The penalty as the published code writes it: a term of the loss."""
    weights = penalised(model.trainable_variables)
    n = sum(int(np.prod(weight.shape)) for weight in weights)

    def loss(y_true, y_pred):
        total = sum(ops.sum(ops.abs(weight)) for weight in weights)
        return ops.mean(keras.losses.sparse_categorical_crossentropy(y_true, y_pred)) + l1 * total / n

    return loss


def test_one_step_is_the_one_that_adam_takes_of_the_sum():
    """Adam's first step is its rate against the gradient's sign: 0.3 - 0.5 * 3 / 2 < 0 turns the first weight's."""
    kernel = keras.Variable([2.0, -1.0], name="kernel")
    bias = keras.Variable([2.0], name="bias")
    optimizer = PenalisedAdam(0.1, l1=3.0)
    optimizer.apply([ops.convert_to_tensor([-0.3, 0.3]), ops.convert_to_tensor([-0.3])], [kernel, bias])
    # per weight 3 / 2 * sign(w): gradients are 1.2 and -1.2; the bias keeps its -0.3
    np.testing.assert_allclose(ops.convert_to_numpy(kernel), [1.9, -0.9], rtol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(bias), [2.1], rtol=1e-5)


@pytest.mark.slow
def test_training_is_that_of_a_penalty_in_the_loss(rows, monkeypatch):
    """Ten epochs, weight by weight, against the slow way; no update fused, and all of them."""
    config = TrainingConfig(l1=50.0, l2=1e-2, schedule="constant", keep="last", epochs=10, learning_rate=2e-3)
    slow = network(rows)
    slow.compile(AdamL2(2e-3, l2=1e-2), loss_with_penalty(slow, 50.0))
    slow.fit(Batches(*rows, batch_size=32, random_state=0), epochs=10, shuffle=False, verbose=0)
    fused_ones = []
    monkeypatch.setattr(penalty, "fused", lambda step: fused_ones.append(step) or fused(step))
    for fused_from in (10**9, 1):
        monkeypatch.setattr(penalty, "FUSED_FROM", fused_from)
        fast = network(rows)
        fit_network(fast, rows, None, config, task="classification")
        for a, b in zip(fast.get_weights(), slow.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=4e-3)
        assert bool(fused_ones) == (fused_from == 1)
    free = network(rows)
    fit_network(free, rows, None, replace(config, l1=0.0), task="classification")
    assert mean_absolute_weight(fast) < 0.8 * mean_absolute_weight(free)


@pytest.mark.slow
def test_mixed_precision_shrinks_weights_as_float32_does(rows, monkeypatch):
    monkeypatch.setattr(penalty, "FUSED_FROM", 100)  # as the weights of a wide layer are
    config = TrainingConfig(l1=50.0, schedule="constant", keep="last", epochs=10, learning_rate=2e-3)
    plain, *mixed = (network(rows, precision=name) for name in ("float32", "mixed_float16", "mixed_bfloat16"))
    for model in (plain, *mixed):
        fit_network(model, rows, None, config, task="classification")
    for model in mixed:
        assert mean_absolute_weight(model) == pytest.approx(mean_absolute_weight(plain), rel=0.02)


@pytest.mark.slow
def test_it_is_saved_with_the_network(rows, tmp_path):
    model = network(rows)
    config = TrainingConfig(l1=2.0, l2=0.5, schedule="constant", keep="last", epochs=1)
    fit_network(model, rows, None, config, task="classification")
    model.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    assert (loaded.optimizer.l1, loaded.optimizer.l2) == (2.0, 0.5)
    np.testing.assert_array_equal(loaded.predict(rows[0], verbose=0), model.predict(rows[0], verbose=0))


def test_statistics_are_those_of_all_weights_at_once(rows):
    model = network(rows)
    model.get_layer("hidden_1").kernel.assign(np.full((16, 8), 5e-6, np.float32))
    every = np.concatenate([np.ravel(ops.convert_to_numpy(w)) for w in penalised(model.trainable_variables)])
    found = weight_statistics(model, n_sampled=100, random_state=1)
    assert found["n"] == len(every) == 12 * 16 + 16 * 8 + 8 * 4 + 4 * 3 + 16 + 8
    assert found["zeros"] == (np.abs(every) < 1e-5).sum() >= 128
    for key, value in {
        "minimum": every.min(),
        "maximum": every.max(),
        "std": every.std(),
        "mean": every.mean(),
    }.items():
        assert found[key] == pytest.approx(float(value), rel=1e-5, abs=1e-8)
    assert found["mean_absolute"] == pytest.approx(mean_absolute_weight(model), rel=1e-5)
    assert len(found["sample"]) == 100
    assert np.isin(found["sample"], every).all()
    assert len(weight_statistics(model, n_sampled=10**6)["sample"]) == len(every)


def test_the_last_batch_may_be_left_out(rows):
    X, y = rows[0][:70], rows[1][:70]
    assert [len(Batches(X, y, batch_size=32, random_state=0, drop_last=drop)) for drop in (False, True)] == [3, 2]
    assert len(Batches(X[:9], y[:9], batch_size=32, random_state=0, drop_last=True)) == 1
