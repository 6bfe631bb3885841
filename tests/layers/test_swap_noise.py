"""Swap noise: what is swapped, with whom, how often; nothing in prediction."""

from __future__ import annotations

import numpy as np
import pytest

import permgrad as pg
from permgrad.backend import keras
from permgrad.layers.swap_noise import SwapNoise

pytestmark = pytest.mark.backend


def numpy(x) -> np.ndarray:
    return keras.ops.convert_to_numpy(x)


def test_values_of_a_bundle_are_swapped_together_with_the_row_before():
    """Row i holds i everywhere; bundle 3 is columns 0 and 2, bundle 0 column 3; column 1 is never swapped."""
    n_rows, rate = 4000, 0.6
    layer = SwapNoise([3, -1, 3, 0], rate, random_state=1)
    X = np.repeat(np.arange(n_rows, dtype=np.float32)[:, None], 4, axis=1)
    np.testing.assert_array_equal(numpy(layer(X, training=False)), X)
    swapped = numpy(layer(X, training=True)) != X
    np.testing.assert_array_equal(numpy(layer(X, training=True))[:, 1], X[:, 1])
    np.testing.assert_array_equal(swapped[:, 0], swapped[:, 2])
    for which, expected in (
        (swapped[:, 0], rate / 2),
        (swapped[:, 3], rate / 2),
        (swapped[:, [0, 3]].all(1), rate**2 / 3),
    ):
        assert abs(which.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / n_rows)
    again = numpy(layer(X, training=True))
    assert (again != X).any()
    np.testing.assert_array_equal(again[again != X], np.roll(X, 1, axis=0)[again != X])


def test_it_is_nothing_to_what_permutes_columns_and_survives_saving(rng, tmp_path):
    rows = keras.Input((3,))
    model = keras.Model(rows, keras.layers.Dense(2)(SwapNoise([0, -1, 1], 0.3, random_state=4, name="swap")(rows)))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    X = rng.normal(size=(9, 3)).astype(np.float32)
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    layer = loaded.get_layer("swap")
    assert layer.get_config() == model.get_layer("swap").get_config()
    np.testing.assert_array_equal(layer.columnwise_scale(), 1)
    np.testing.assert_array_equal(layer.of_columns(X[:, [2, 0]], np.array([2, 0])), X[:, [2, 0]])


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_rates_that_cannot_be(rate):
    with pytest.raises(pg.PermGradError, match="between 0 and 1"):
        SwapNoise([0], rate)
