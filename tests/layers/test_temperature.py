"""Calibration: a temperature that was planted is found, as far as there are rows to tell."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from permgrad.backend import keras
from permgrad.layers.temperature import Temperature, fit_temperature

numpy = keras.ops.convert_to_numpy


def drawn(n_rows: int, sharpened: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return what a network says whose logits are `sharpened` times the true ones, and classes drawn by the true."""
    logits = rng.normal(size=(n_rows, 3)) * 1.5
    true = softmax(logits, axis=1)
    target = (rng.random((n_rows, 1)) > true.cumsum(axis=1)).sum(axis=1)
    return softmax(sharpened * logits, axis=1), target


def plain_best(probabilities: np.ndarray, target: np.ndarray, weight: np.ndarray) -> float:
    """Try 4,000 temperatures."""
    logits, best = np.log(probabilities), (np.inf, 0.0)
    for temperature in np.geomspace(0.11, 9, 4000):
        p = softmax(logits / temperature, axis=1)[np.arange(len(target)), target]
        surprise = -(weight * np.log(p)).sum() + np.log(temperature) ** 2 / (2 * 0.5**2)
        best = min(best, (surprise, temperature))
    return best[1]


@pytest.mark.parametrize("sharpened", [3.0, 0.5])
def test_what_was_planted_is_recovered(sharpened, rng):
    found = fit_temperature(*drawn(5000, sharpened, rng))
    assert found == pytest.approx(sharpened, rel=0.05)


def test_it_is_the_best_of_a_plain_search(rng):
    p, y = drawn(60, 2.0, rng)
    weight = rng.uniform(0, 3, 60)
    assert fit_temperature(p, y, weight) == pytest.approx(plain_best(p, y, weight), rel=2e-3)
    assert fit_temperature(p, y) == pytest.approx(plain_best(p, y, np.ones(60)), rel=2e-3)
    twice = fit_temperature(np.repeat(p, 2, axis=0), np.repeat(y, 2))
    assert twice == pytest.approx(fit_temperature(p, y, np.full(60, 2.0)), rel=1e-3)


def test_few_rows_alone_change_little():
    """Five rows that a network was right about, though never sure: alone they ask for a temperature of 0."""
    p, y = np.tile([0.6, 0.4], (5, 1)), np.zeros(5, int)
    assert 0.6 < fit_temperature(p, y) < 1
    assert fit_temperature(np.tile(p, (100, 1)), np.zeros(500, int)) < 0.3
    assert fit_temperature(p[:0], y[:0]) == pytest.approx(1, abs=1e-3)


def test_a_network_that_was_certain_and_wrong_stays_finite():
    p, y = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, 1])
    assert 1 < fit_temperature(p, y) <= 10


@pytest.mark.backend
def test_logits_are_divided_and_saved(rng, tmp_path):
    rows = keras.Input((3,))
    layer = Temperature(name="temperature")
    model = keras.Model(rows, layer(rows))
    z = rng.normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_array_equal(model.predict(z, verbose=0), z)
    layer.temperature.assign(2.5)
    np.testing.assert_allclose(model.predict(z, verbose=0), z / 2.5, rtol=1e-6)
    assert layer.trainable_weights == []
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(loaded.predict(z, verbose=0), model.predict(z, verbose=0))
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
