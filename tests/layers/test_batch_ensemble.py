from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

import permgrad as pg
from permgrad.backend import keras
from permgrad.layers.batch_ensemble import (
    EnsembleDense,
    EnsembleHeads,
    EnsembleMean,
    ensemble_accuracy,
    ensemble_mae,
    mean_over_ensemble,
)
from permgrad.training.config import TrainingConfig
from permgrad.training.fit import fit_network

pytestmark = pytest.mark.backend

L = keras.layers


def numbers(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("shape", [(5, 4), (5, 3, 4)], ids=["shared", "own"])
def test_each_member_is_a_dense_layer_of_its_own(shape, rng):
    layer = EnsembleDense(6, 3, activation="relu", spread=True)
    x = rng.normal(size=shape).astype(np.float32)
    layer(x)
    weights = [rng.normal(size=w.shape) for w in layer.get_weights()]
    layer.set_weights(weights)
    W, r, s, b = weights
    found = numbers(layer(x))
    assert found.shape == (5, 3, 6)
    for i in range(3):
        own = L.Dense(6, activation="relu")
        own.build((None, 4))
        own.set_weights([r[i][:, None] * W * s[i], b[i]])  # BatchEnsemble: W times the outer product of r and s
        np.testing.assert_allclose(found[:, i], numbers(own(x if x.ndim == 2 else x[:, i])), atol=1e-5)


def test_networks_start_apart_in_the_first_layer_alone():
    first, later = EnsembleDense(6, 8, spread=True, random_state=1), EnsembleDense(6, 8, random_state=1)
    for layer in (first, later):
        layer.build((None, 5))
    assert set(np.unique(numbers(first.scale_in))) == {-1, 1}
    assert set(np.unique(numbers(later.scale_in))) == {1}
    assert set(np.unique(numbers(first.scale_out))) == {1}
    assert first.count_params() == 5 * 6 + 8 * (5 + 6 + 6)


@pytest.mark.parametrize("shape", [(5, 4), (5, 3, 4)], ids=["shared", "own"])
def test_heads_share_nothing(shape, rng):
    layer = EnsembleHeads(2, 3)
    x = rng.normal(size=shape).astype(np.float32)
    found = numbers(layer(x))
    W, b = layer.get_weights()
    for i in range(3):
        np.testing.assert_allclose(found[:, i], (x if x.ndim == 2 else x[:, i]) @ W[i] + b[i], atol=1e-5)


def test_the_mean_of_probabilities_is_what_a_softmax_behind_gives(rng):
    z = (10 * rng.normal(size=(5, 3, 4))).astype(np.float32)
    mean = EnsembleMean("probabilities")
    found = softmax(numbers(mean(z, training=False)), axis=1)
    np.testing.assert_allclose(found, softmax(z, axis=2).mean(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(numbers(mean(z, training=True)), z)
    np.testing.assert_allclose(numbers(EnsembleMean("values")(z)), z.mean(axis=1), rtol=1e-5)


def test_a_measure_of_an_ensemble_is_the_mean_of_their_own(rng):
    y, p = rng.random(5).astype(np.float32), rng.random((5, 3, 1)).astype(np.float32)
    squared, wrong = (lambda y, p: (p[..., 0] - y) ** 2), np.abs(p[:, :, 0] - y[:, None])
    np.testing.assert_allclose(numbers(mean_over_ensemble(squared, y, p)), (wrong**2).mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(numbers(mean_over_ensemble(squared, y[:, None], p[:, 0])), wrong[:, 0] ** 2, rtol=1e-5)
    np.testing.assert_allclose(numbers(ensemble_mae(y, p)), wrong.mean(axis=1), rtol=1e-5)
    shares = np.array([[[0.1, 0.9], [0.6, 0.4]], [[0.7, 0.3], [0.8, 0.2]]], np.float32)
    right = numbers(ensemble_accuracy(np.array([1, 0], np.int32), shares))
    assert right.tolist() == [0.5, 1]


def two_networks(n_out: int) -> tuple[keras.Model, keras.Model, keras.Model]:
    """A batch ensemble of two networks, and each network as a plain network with the same weights."""
    rows = keras.Input((4,))
    hidden, heads = (
        EnsembleDense(5, 2, activation="tanh", spread=True, random_state=1),
        EnsembleHeads(n_out, 2, random_state=2),
    )
    z = EnsembleMean("probabilities" if n_out > 1 else "values")(heads(hidden(rows)))
    model = keras.Model(rows, L.Softmax()(z) if n_out > 1 else z)
    networks = []
    W, r, s, b = hidden.get_weights()
    V, c = heads.get_weights()
    for i in range(2):
        x = L.Dense(n_out)(L.Dense(5, activation="tanh")(rows))
        network = keras.Model(rows, L.Softmax()(x) if n_out > 1 else x)
        network.set_weights([r[i][:, None] * W * s[i], b[i], V[i], c[i]])
        networks.append(network)
    return model, *networks


@pytest.mark.slow
@pytest.mark.parametrize("n_out", [1, 3])
def test_training_minimises_the_mean_of_the_networks_losses(n_out, rng):
    """The first epoch's loss of one batch is that of untrained networks, on average; predicting, their mean's."""
    X = rng.normal(size=(40, 4)).astype(np.float32)
    y = rng.integers(0, 3, 40) if n_out > 1 else rng.normal(size=40).astype(np.float32)
    model, *networks = two_networks(n_out)
    predictions = [network.predict(X, verbose=0) for network in networks]
    np.testing.assert_allclose(model.predict(X, verbose=0), np.mean(predictions, axis=0), rtol=1e-4, atol=1e-6)

    def loss(p: np.ndarray) -> float:
        rows = -np.log(p[np.arange(40), y]) if n_out > 1 else (p[:, 0] - y) ** 2 / y.var()
        return float(rows.mean())

    config = TrainingConfig(learning_rate=1e-12, schedule="constant", batch_size=40, epochs=1)
    task = "classification" if n_out > 1 else "regression"
    history, _ = fit_network(model, (X, y), (X, y), config, task=task)
    assert history["loss"][0] == pytest.approx(np.mean([loss(p) for p in predictions]), rel=1e-4)
    assert history["val_loss"][0] == pytest.approx(loss(np.mean(predictions, axis=0)), rel=1e-4)
    assert history["loss"][0] > history["val_loss"][0]  # disagreement costs the networks, not their mean


def test_weights_of_rows_reach_each_network(rng):
    X, y = rng.normal(size=(40, 4)).astype(np.float32), rng.integers(0, 3, 40)
    model, *networks = two_networks(3)
    weight = np.array([1.0, 5.0, 0.5], np.float32)
    rows = np.mean([-np.log(network.predict(X, verbose=0)[np.arange(40), y]) for network in networks], axis=0)
    config = TrainingConfig(learning_rate=1e-12, schedule="constant", batch_size=40, epochs=1)
    history, _ = fit_network(model, (X, y, weight[y]), None, config, task="classification")
    assert history["loss"][0] == pytest.approx(float(np.mean(rows * weight[y])), rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("n_out", [1, 3])
def test_trained_networks_can_be_cloned(n_out, rng, tmp_path):
    """Keras rebuilds the loss and metric of a compiled network from their settings."""
    X = rng.normal(size=(40, 4)).astype(np.float32)
    y = rng.integers(0, 3, 40) if n_out > 1 else X[:, 0]
    model = two_networks(n_out)[0]
    fit_network(model, (X, y), (X, y), TrainingConfig(epochs=1), task="classification" if n_out > 1 else "regression")
    model.save(tmp_path / "m.keras")
    for copy in (keras.models.clone_model(model), keras.models.load_model(tmp_path / "m.keras")):
        copy.set_weights(model.get_weights())
        np.testing.assert_array_equal(copy.predict(X, verbose=0), model.predict(X, verbose=0))


def test_networks_survive_saving(rng, tmp_path):
    model = two_networks(3)[0]
    X = rng.normal(size=(9, 4)).astype(np.float32)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    assert [layer.get_config() for layer in loaded.layers] == [layer.get_config() for layer in model.layers]


def test_bad_sizes():
    with pytest.raises(pg.PermGradError, match="units and ensemble_size must be at least 1, got 4 and 0"):
        EnsembleDense(4, 0)
    with pytest.raises(pg.PermGradError, match="of must be 'values' or 'probabilities', got 'odds'"):
        EnsembleMean("odds")
