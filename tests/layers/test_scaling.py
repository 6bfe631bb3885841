"""Columns standardised: two values, one value, far values; alone, and saved. `MinMaxScale` is in test_layers.py."""

from __future__ import annotations

import numpy as np
import pytest

from permgrad.backend import keras
from permgrad.layers.scaling import Standardise

pytestmark = pytest.mark.backend

numpy = keras.ops.convert_to_numpy


def fitted(X: np.ndarray, **keywords) -> Standardise:
    layer = Standardise(**keywords)
    layer.build((None, X.shape[1]))
    layer.adapt(X)
    return layer


def test_standardised_by_hand():
    """Columns: 1, 2, 3, 6 (mean 3, deviation √3.5); 5 or 9, which become 0 and 1; always 4."""
    X = np.array([[1, 5, 4], [2, 9, 4], [3, 9, 4], [6, 9, 4]], np.float32)
    layer = fitted(X)
    scaled = numpy(layer(X))
    root = np.sqrt(3.5)
    np.testing.assert_allclose(scaled[:, 0], [-2 / root, -1 / root, 0, 3 / root], rtol=1e-6)
    np.testing.assert_array_equal(scaled[:, 1], [0, 1, 1, 1])
    np.testing.assert_array_equal(scaled[:, 2], 0)
    assert scaled.dtype == np.float32
    other = numpy(layer(np.array([[3.0 + root, 7.0, 6.0]], np.float32)))
    np.testing.assert_allclose(other, [[1, 0.5, 2]], rtol=1e-6)
    np.testing.assert_allclose(numpy(layer.origin), [3, 5, 4])


def test_far_values_are_clipped_at_eight_deviations():
    layer = fitted(np.array([[0, 0], [1, 1], [2, 1]], np.float32))
    deviation = np.sqrt(2 / 3)
    rows = np.array([[1 + 7.9 * deviation, 7.9], [1 + 8.1 * deviation, 8.1], [-1e9, -1e9]], np.float32)
    np.testing.assert_allclose(numpy(layer(rows)), [[7.9, 7.9], [8, 8], [-8, -8]], rtol=1e-5)


def test_large_offsets_are_not_blurred(rng):
    """Means are of float64 sums: 100,000 rows of about 1000 would drift in float32."""
    X = (1000 + rng.normal(size=(100_000, 1))).astype(np.float32)
    scaled = numpy(fitted(X)(X)).astype(float)
    assert abs(scaled.mean()) < 1e-3
    assert scaled.std() == pytest.approx(1, abs=1e-3)


def test_columns_alone_are_as_in_the_whole(rng):
    X = np.column_stack(
        [rng.normal(size=(40, 2)) * 5, rng.random(40) < 0.3, np.full(40, 3), rng.lognormal(size=40) * 9]
    )
    X = X.astype(np.float32)
    layer = fitted(X[:20])
    columns = np.array([4, 2, 0])
    np.testing.assert_array_equal(numpy(layer.of_columns(X[:, columns], columns)), numpy(layer(X))[:, columns])


def test_it_survives_saving(rng, tmp_path):
    rows = keras.Input((3,))
    layer = Standardise(name="scale")
    model = keras.Model(rows, layer(rows))
    X = (7 + 5 * rng.normal(size=(30, 3))).astype(np.float32)
    layer.adapt(X)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.get_layer("scale").get_config() == layer.get_config()
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    assert abs(model.predict(X, verbose=0).mean()) < 1e-5
