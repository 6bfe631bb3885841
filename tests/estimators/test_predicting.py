"""A network's outputs for a table's rows: as Keras's own, in calls of few sizes, whose compilation is not repeated."""

import numpy as np
import pytest

from permgrad.backend import keras
from permgrad.estimators import _predicting
from permgrad.estimators._predicting import SIZES, predicted_by

traced: list[int] = []


class Counting(keras.layers.Layer):
    """Does nothing, and notes how many rows it was compiled for."""

    def call(self, x):
        traced.append(x.shape[0])
        return x


@pytest.fixture
def network():
    rows = keras.Input((3,))
    keras.utils.set_random_seed(0)
    return keras.Model(rows, keras.layers.Dense(2, "softmax")(Counting()(rows)))


@pytest.mark.backend
@pytest.mark.parametrize("n_rows", [1, 32, 33, 1024, 2500])
def test_outputs_are_those_of_keras_row_by_row(network, rng, n_rows):
    rows = rng.normal(size=(n_rows, 3)).astype(np.float32)
    predicted = predicted_by(network, rows)
    assert predicted.shape == (n_rows, 2)
    assert predicted.dtype == np.float32
    np.testing.assert_allclose(predicted, network.predict(rows, verbose=0), rtol=1e-5, atol=1e-6)


@pytest.mark.backend
def test_each_size_of_a_call_is_compiled_once(network, rng):
    rows = rng.normal(size=(3000, 3)).astype(np.float32)
    traced.clear()
    for n_rows in (3000, 2999, 1, 2, 40, 1025, 3000):
        predicted_by(network, rows[:n_rows])
    assert sorted(traced) == sorted(SIZES)


@pytest.mark.backend
def test_predicts_by_the_weights_as_they_are(network, rng):
    rows = rng.normal(size=(5, 3)).astype(np.float32)
    before = predicted_by(network, rows)
    network.layers[-1].kernel.assign(-network.layers[-1].kernel)
    np.testing.assert_allclose(predicted_by(network, rows), before[:, ::-1], atol=1e-6)


def test_blocks_are_put_together_in_order(network, rng, monkeypatch):
    rows = rng.normal(size=(50, 3)).astype(np.float32)
    expected = predicted_by(network, rows)
    monkeypatch.setattr(_predicting, "PREDICT_ROWS", 7)
    np.testing.assert_allclose(predicted_by(network, rows), expected, atol=1e-6)
